"""Credentials for a feed's files are fresh when they are used, asked for by one thread, and never shown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ds3tool.aws.failures import far_side
from ds3tool.aws.session import AwsSettings
from ds3tool.clock import ManualClock
from ds3tool.errors import Ds3Error, FarSideDeniedError, FarSideUnreachableError
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.credentials import FeedCredentials
from ds3tool.lotame.model import FeedUpdates, S3Credentials
from ds3tool.simulator.lotame.service import LotameSimulator, LotameSimulatorSettings, SimulatedFeed

LIFE = timedelta(hours=1)


class Desk:
    """Gives credentials that live an hour by a clock, numbered, and fails when it is told to."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked = 0
        self.failure: Ds3Error | None = None
        self.gives_none = False

    def __call__(self) -> S3Credentials | None:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        if self.gives_none:
            return None
        now = datetime.fromtimestamp(self.clock.time(), UTC)
        return S3Credentials(f"KEY-{self.asked}", "secret", "token", now + LIFE, now)


@pytest.fixture
def desk(clock: ManualClock) -> Desk:
    return Desk(clock)


@pytest.fixture
def held(desk: Desk, clock: ManualClock) -> FeedCredentials:
    return FeedCredentials(desk, clock=clock)


def test_they_are_asked_for_when_they_are_first_needed(held: FeedCredentials, desk: Desk) -> None:
    """Nothing is asked before; afterwards the same ones serve."""
    assert desk.asked == 0
    assert held.current() is held.current()
    assert desk.asked == 1


def test_those_of_an_answer_serve_first(desk: Desk, clock: ManualClock) -> None:
    """What came with the list of files need not be asked for again."""
    first = desk()
    assert FeedCredentials(desk, first=first, clock=clock).current() is first
    assert desk.asked == 1


@pytest.mark.parametrize(("share", "key"), [(0.79, "KEY-1"), (0.8, "KEY-2"), (1.5, "KEY-2")])
def test_they_are_renewed_at_four_fifths_of_their_life(
    held: FeedCredentials, clock: ManualClock, share: float, key: str
) -> None:
    """Earlier the old ones serve; from then on new ones do."""
    held.current()
    clock.advance(LIFE.total_seconds() * share)
    assert held.current().access_key_id == key


def test_old_ones_serve_while_they_live_and_lotame_is_away(
    held: FeedCredentials, desk: Desk, clock: ManualClock
) -> None:
    """Who cannot ask goes on with what still lives, asks again after a minute, and fails only once it is over."""
    first = held.current()
    clock.advance(LIFE.total_seconds() * 0.9)
    desk.failure = FarSideUnreachableError("away")
    assert held.current() is first
    assert held.current() is first
    assert desk.asked == 2
    clock.advance(61)
    assert held.current() is first
    assert desk.asked == 3
    clock.advance(600)
    with pytest.raises(FarSideUnreachableError, match="away"):
        held.current()
    desk.failure = None
    assert held.current().access_key_id == "KEY-5"


def test_refused_ones_are_renewed_once_for_all(held: FeedCredentials, desk: Desk) -> None:
    """Two threads that failed with the same ones get the same new ones."""
    first = held.current()
    second = held.renew(first)
    assert second != first
    assert held.renew(first) is second
    assert held.current() is second
    assert desk.asked == 2


def test_none_at_all_is_a_matter_of_rights(held: FeedCredentials, desk: Desk) -> None:
    """An answer without credentials leaves nothing to read with: exit 6."""
    desk.gives_none = True
    with pytest.raises(FarSideDeniedError, match="gives no credentials"):
        held.current()


def test_dead_on_arrival_points_at_the_clock(held: FeedCredentials, clock: ManualClock) -> None:
    """Credentials that are over when they come mean that a clock is wrong."""
    late = S3Credentials("K", "s", "t", datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    assert late.life == timedelta(0)
    with pytest.raises(FarSideDeniedError, match="over since 2020-01-01") as failure:
        FeedCredentials(lambda: late, clock=clock).current()
    assert "clock" in (failure.value.hint or "")


def run_at_once(count: int, work: Callable[[], object]) -> list[object]:
    """Run `work` in so many threads; return what each returned or raised."""
    outcomes: list[object] = []

    def one() -> None:
        try:
            outcomes.append(work())
        except Ds3Error as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


class SlowDesk(Desk):
    """Answers only once so many threads are about to wait for it."""

    def __init__(self, clock: ManualClock, count: int) -> None:
        super().__init__(clock)
        self.here = threading.Barrier(count)
        self.may_answer = threading.Event()

    def __call__(self) -> S3Credentials | None:
        assert self.may_answer.wait(60)
        return super().__call__()


def test_one_asks_while_the_others_wait(clock: ManualClock) -> None:
    """Eight threads in need make one question, and all have its answer."""
    desk = SlowDesk(clock, 8)
    held = FeedCredentials(desk, clock=clock)

    def work() -> S3Credentials:
        if desk.here.wait(60) == 0:
            desk.may_answer.set()
        return held.current()

    outcomes = run_at_once(8, work)
    assert len({id(one) for one in outcomes}) == 1
    assert desk.asked == 1


class GatedLock:
    """A lock that tells when so many wait for it: what a thread sees before it waits is then seen."""

    def __init__(self, waiting: int, everybody: threading.Event) -> None:
        self._lock = threading.Lock()
        self._count = threading.Lock()
        self._left = waiting
        self._everybody = everybody

    def __enter__(self) -> None:
        with self._count:
            self._left -= 1
            if self._left == 0:
                self._everybody.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_those_who_waited_in_vain_do_not_ask_one_after_the_other(clock: ManualClock) -> None:
    """A failure that takes minutes is had once, and not once for each thread; whoever comes later asks anew."""
    desk = SlowDesk(clock, 8)
    desk.failure = FarSideUnreachableError("away")
    held = FeedCredentials(desk, clock=clock)
    held._lock = GatedLock(8, desk.may_answer)  # type: ignore[assignment]  # tells when all of them wait
    outcomes = run_at_once(8, held.current)
    assert [str(one) for one in outcomes] == ["away"] * 8
    assert desk.asked == 1
    desk.failure = None
    assert held.current().access_key_id == "KEY-2"


# -- in boto3 ---------------------------------------------------------------------------------------------------------


class Reader:
    """Reads one feed's files from simulated Lotame through boto3."""

    def __init__(self, lotame: LotameSimulator, client: LotameClient, clock: ManualClock, feed_id: int = 9001) -> None:
        self.lotame, self.asking = lotame, client
        updates = client.updates(feed_id)
        feed = updates.feed(feed_id)
        assert feed is not None
        self.feed: FeedUpdates = feed
        self.credentials = FeedCredentials(
            lambda: client.updates(feed_id).credentials, first=updates.credentials, clock=clock
        )
        self.s3 = self.credentials.client(AwsSettings(endpoint=lotame.s3_endpoint), connections=8)

    def place(self, number: int = 0) -> dict[str, str]:
        place = self.feed.where(self.feed.files[number])
        return {"Bucket": place.bucket, "Key": place.key}

    def get(self, number: int = 0) -> bytes:
        with far_side("S3"):
            data: bytes = self.s3.get_object(**self.place(number))["Body"].read()
        return data

    def stored(self, number: int = 0) -> bytes:
        return self.lotame.stored(self.feed.feed_id, self.feed.files[number]).data


@pytest.fixture
def reader(lotame: LotameSimulator, client: LotameClient, clock: ManualClock) -> Reader:
    return Reader(lotame, client, clock)


def test_files_are_read_with_the_feeds_credentials(
    reader: Reader, lotame: LotameSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the environment, whatever they are, have no part in it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert reader.get() == reader.stored()
    assert [one.status for one in lotame.asked("s3")] == [200]
    assert lotame.credentials.issued == 1


def test_expired_ones_are_renewed_inside_a_request(reader: Reader, lotame: LotameSimulator) -> None:
    """A token that is over before its time is noticed by S3's word, and the same request goes on with a new one."""
    reader.get()
    lotame.credentials.expire_all()
    assert reader.get() == reader.stored()
    assert [one.status for one in lotame.asked("s3")] == [200, 400, 200]
    assert lotame.credentials.issued == 2


def test_a_head_that_cannot_say_why_is_renewed_too(reader: Reader, lotame: LotameSimulator) -> None:
    """The answer to a HEAD is a bare 400; it is tried with new credentials before it counts."""
    lotame.credentials.expire_all()
    assert reader.s3.head_object(**reader.place())["ContentLength"] == len(reader.stored())
    assert lotame.credentials.issued == 2
    assert [one.status for one in lotame.asked("s3")] == [400, 200]


def test_unknown_ones_are_renewed(reader: Reader, lotame: LotameSimulator) -> None:
    """Credentials that S3 has forgotten are as good as expired ones."""
    with LotameSimulator(LotameSimulatorSettings(clock=lotame.clock, seed=7)) as other:
        reader.s3 = reader.credentials.client(AwsSettings(endpoint=other.s3_endpoint))
        with pytest.raises(FarSideDeniedError, match="InvalidAccessKeyId"):
            reader.get()
        assert [one.status for one in other.asked("s3")] == [403] * 5


def test_trying_ends(reader: Reader, lotame: LotameSimulator) -> None:
    """Where new ones are over at once as well, it is a failure by name, and no circle."""
    lotame.faults.set("s3-expired", 1.0)
    with pytest.raises(FarSideDeniedError, match="ExpiredToken"):
        reader.get()
    assert [one.status for one in lotame.asked("s3")] == [400] * 5


def test_time_passes_in_the_middle_of_a_run(reader: Reader, lotame: LotameSimulator, clock: ManualClock) -> None:
    """At four fifths of their life new ones are there, so S3 never has to refuse."""
    for number in range(6):
        assert reader.get(number) == reader.stored(number)
        clock.advance(1000)
    assert [one.status for one in lotame.asked("s3")] == [200] * 6
    assert lotame.credentials.issued == 2


def test_a_run_of_many_files_outlives_credentials_of_few_requests(
    client: LotameClient, clock: ManualClock, lotame: LotameSimulator
) -> None:
    """Eight threads read sixty files, though each set of credentials serves for twenty requests."""
    lotame.add_feed(SimulatedFeed(77, files_per_hour=20, lines=1))
    lotame.credentials.requests = 20
    reader = Reader(lotame, client, clock, 77)
    numbers = iter(range(60))
    lock = threading.Lock()
    right: list[bool] = []

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            right.append(reader.get(number) == reader.stored(number))

    assert run_at_once(8, work) == [None] * 8
    assert right == [True] * 60
    assert lotame.credentials.issued == 3


def test_a_head_that_is_refused_for_ever_is_a_matter_of_credentials(reader: Reader, lotame: LotameSimulator) -> None:
    """Trying ends as for a GET, with the same word and exit code, though no answer said why."""
    lotame.faults.set("s3-expired", 1.0)
    with pytest.raises(FarSideDeniedError, match="ExpiredToken"), far_side("S3"):
        reader.s3.head_object(**reader.place())
    assert [one.status for one in lotame.asked("s3") if one.path.endswith(".gz")] == [400] * 5


def test_a_request_that_is_always_late_gets_its_turn(reader: Reader, lotame: LotameSimulator) -> None:
    """While others use up what there is before it comes to it, a request goes on trying with the next."""
    left = iter(range(9))
    before = reader.credentials.current

    def late() -> S3Credentials:
        now = before()
        if next(left, None) is not None:  # others were quicker: theirs are over, and the next are here
            lotame.credentials.expire_all()
            reader.credentials.renew(now)
        return now

    reader.credentials.current = late  # type: ignore[method-assign]  # what a slow thread would see
    assert reader.get() == reader.stored()
    assert [one.status for one in lotame.asked("s3")] == [400] * 9 + [200]


def test_what_lotame_says_while_renewing_comes_out(reader: Reader, lotame: LotameSimulator) -> None:
    """A token that Lotame does not take any more ends the request with that, and not with S3's word."""
    lotame.credentials.expire_all()
    lotame.faults.set("api-401", 1.0)
    with pytest.raises(FarSideDeniedError, match="Lotame does not take the token"):
        reader.get()


@pytest.mark.parametrize("call", ["get_object", "head_object"])
def test_another_region_is_found(reader: Reader, lotame: LotameSimulator, call: str) -> None:
    """A bucket that is in another region than was thought is read there, also where a bare 400 is all that is said."""
    reader.s3 = reader.credentials.client(AwsSettings(endpoint=lotame.s3_endpoint, region="eu-west-1"))
    assert getattr(reader.s3, call)(**reader.place())["ContentLength"] == len(reader.stored())
    assert [one.status for one in lotame.asked("s3")] == [400, 200]


def test_other_refusals_are_let_be(reader: Reader, lotame: LotameSimulator) -> None:
    """A file that is gone is gone, whoever asks."""
    lotame.remove(9001, reader.feed.files[0])
    with pytest.raises(Ds3Error, match="NoSuchKey"):
        reader.get()
    assert lotame.credentials.issued == 1


def test_presigned_addresses_hold_them_as_well(reader: Reader) -> None:
    """What signs a link signs it with what is right then."""
    url = reader.s3.generate_presigned_url("get_object", Params=reader.place())
    assert reader.credentials.current().access_key_id in url


def test_they_are_in_no_log(reader: Reader, lotame: LotameSimulator, caplog: pytest.LogCaptureFixture) -> None:
    """Renewing is told without telling secrets."""
    caplog.set_level(logging.DEBUG, logger="ds3tool")
    lotame.credentials.expire_all()
    reader.get()
    now = reader.credentials.current()
    assert "new credentials" in caplog.text
    assert now.session_token not in caplog.text
    assert now.secret_access_key not in caplog.text
