"""Lotame is asked rightly, and what it answers is told apart: each shape has its sentence, exit code and way out."""

from __future__ import annotations

import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideForbiddenError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    ProtocolError,
    ProxyRefusedError,
    TlsError,
)
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.model import S3Location, WebLocation
from ds3tool.lotame.settings import LotameSettings
from ds3tool.simulator.lotame.service import LotameSimulator, LotameSimulatorSettings, SimulatedFeed
from tests.lotame.answering import http, saying
from tests.lotame.conftest import NOW
from tests.lotame.test_answers import updates_of

MOMENT = datetime.fromtimestamp(NOW, UTC)


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_feeds_are_told_with_their_types_and_mapping_files(client: LotameClient) -> None:
    """A feed's number, types, and the place of its mapping file, in S3 or on the web, come as values."""
    first, second, third = client.feeds()
    assert (first.id, first.client_id, first.type, first.profile_type) == (9001, 4321, "client", "cookie")
    assert first.mapping == S3Location("lotame-firehose.example", "export/v=2.1/4321/meta/behaviors.json.gz")
    assert isinstance(second.mapping, WebLocation)
    assert second.mapping.name == "behaviors.json.gz"
    assert third.id == 9003


def test_updates_name_files_and_credentials(client: LotameClient, lotame: LotameSimulator) -> None:
    """All that is new in a feed comes with its place and credentials that live as long as Lotame says."""
    updates = client.updates(9001)
    feed = updates.feed(9001)
    assert feed is not None
    assert list(feed.files) == lotame.files(9001)
    assert len(feed.files) == 6
    place = feed.where(feed.files[0])
    assert (place.bucket, place.key) == ("lotame-firehose.example", f"export/v=2.1/4321/na/cookie/{feed.files[0]}")
    assert (feed.region, feed.profile_type) == ("na", "cookie")
    assert updates.credentials is not None
    assert updates.credentials.life == timedelta(hours=1)
    assert updates.at == MOMENT
    assert updates.feed(9002) is None


def test_a_feed_without_news_has_no_location(client: LotameClient) -> None:
    """`files: []` without `location` is an answer, and no error."""
    feed = client.updates(9003).feed(9003)
    assert feed is not None
    assert (feed.files, feed.location, feed.region) == ((), None, None)
    assert feed.mapping is not None


@pytest.mark.parametrize(
    ("since", "sent"),
    [
        (None, None),
        (datetime.fromtimestamp(0, UTC), "0"),
        (datetime(2026, 1, 1, 1, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=1))), "1767227400"),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), "-1"),
    ],
)
def test_since_is_really_sent(
    client: LotameClient, lotame: LotameSimulator, since: datetime | None, sent: str | None
) -> None:
    """Whole seconds since 1970 in UTC, rounded down, and 0 as well; only None sends nothing."""
    updates = client.updates(9001, since)
    asked = lotame.asked("api")[-1].parameters
    assert dict(asked) == {"client_id": "4321", "feed_id": "9001", **({} if sent is None else {"since": sent})}
    assert updates.since == (None if sent is None else datetime.fromtimestamp(int(sent), UTC))


def test_since_narrows_the_answer(client: LotameClient, lotame: LotameSimulator, clock: ManualClock) -> None:
    """Only what has appeared since comes back."""
    before = client.updates(9001).at
    old = lotame.files(9001)
    clock.advance(2 * 3600)
    feed = client.updates(9001, before).feed(9001)
    assert feed is not None
    assert len(feed.files) == 4
    assert not set(feed.files) & set(old)


def test_a_moment_without_its_zone_is_refused(client: LotameClient) -> None:
    """A bare time could mean any hour."""
    with pytest.raises(ValueError, match="zone"):
        client.updates(9001, datetime(2026, 1, 1))


def test_feeds_share_no_parameters(client: LotameClient, lotame: LotameSimulator) -> None:
    """What was asked of one feed is not left behind in the next question."""
    client.updates(9001, MOMENT)
    client.updates()
    client.feeds()
    assert [dict(one.parameters) for one in lotame.asked("api")[1:]] == [{"client_id": "4321"}] * 2


def test_one_answer_may_cover_all_feeds(client: LotameClient) -> None:
    """Without a feed's number all are told."""
    assert [feed.feed_id for feed in client.updates().feeds] == [9001, 9002, 9003]


def test_both_headers_go_with_each_question(client: LotameClient, lotame: LotameSimulator) -> None:
    """Token and access key are in headers, and nowhere else."""
    client.feeds()
    client.updates(9002)
    for one in lotame.asked("api"):
        assert (one.headers["x-lotame-token"], one.headers["x-lotame-access"]) == (lotame.token, lotame.access)
        assert lotame.token not in one.path + str(dict(one.parameters))


def test_odd_values_are_encoded() -> None:
    """A client's id of any printable letters arrives as it is."""
    odd = "a&b=c/d?e+f%41#"
    with LotameSimulator(LotameSimulatorSettings(client_id=odd)) as simulator:
        told = LotameSettings(simulator.token, simulator.access, odd, simulator.base_url)
        with LotameClient(told) as client:
            assert len(client.feeds()) == 3
        assert simulator.asked("api")[0].parameters == {"client_id": odd}


def test_the_answers_moment_is_the_earlier_of_two_clocks(lotame: LotameSimulator, settings: LotameSettings) -> None:
    """Whichever clock is ahead, no file can have appeared before the moment and be missing from the answer."""
    for ahead in (-7200.0, 7200.0):
        with LotameClient(settings, clock=ManualClock(NOW + ahead)) as client:
            assert client.updates(9001).at == MOMENT + timedelta(seconds=min(0.0, ahead))


def test_an_answer_without_its_time_says_so(client: LotameClient, settings: LotameSettings) -> None:
    """Where no Date came with an answer, nobody takes our clock for Lotame's."""
    assert client.updates(9001).is_dated
    for date, is_dated in (("Age: 1", False), ("Date: soon", False), ("Date: Thu, 01 Jan 2026 00:00:00 GMT", True)):
        answer = http("200 OK", b'{"feeds": []}', date, "Content-Type: application/json")
        with saying(answer) as url, LotameClient(replace(settings, base_url=url)) as asking:
            assert asking.updates(9001).is_dated == is_dated


# -- what goes wrong --------------------------------------------------------------------------------------------------

SHAPES: list[tuple[str, type[Ds3Error], int, str, str]] = [
    ("api-401", FarSideDeniedError, 6, r"does not take the token.*\(401\): The token has expired", "LOTAME_TOKEN"),
    ("api-403-json", FarSideDeniedError, 6, r"\(403\): The access key is not valid", "LOTAME_ACCESS"),
    ("api-403-html", FarSideForbiddenError, 6, "refused .403. with a web page: by a proxy or firewall", "curl"),
    (
        "api-redirect",
        FarSideError,
        1,
        r"redirects \(302\) to https://login.example.invalid/sso, which is not followed",
        "LOTAME_BASE_URL",
    ),
    ("api-429", FarSideUnreachableError, 7, r"too often \(429\), and wants 7 seconds of rest", "later"),
    ("api-500", FarSideUnreachableError, 7, r"Lotame fails \(500\)", "later"),
    ("api-no-feeds", ProtocolError, 1, "has no `feeds`; it says: The service is in maintenance", "changed"),
    ("api-truncated", ProtocolError, 1, "breaks off", "on the way"),
    ("api-html-200", ProtocolError, 1, "a web page and status 200", "sign in"),
    ("api-wrong-types", ProtocolError, 1, "`feeds` is a text, not a list", "changed"),
    ("api-cut", FarSideUnreachableError, 7, "broke off before the answer was whole", "again"),
    ("api-no-answer", FarSideUnreachableError, 7, "broke off before the answer was whole", "again"),
]


@pytest.mark.parametrize(("fault", "kind", "exit_code", "sentence", "way_out"), SHAPES)
@pytest.mark.parametrize("call", ["feeds", "updates"])
def test_each_shape_of_a_bad_answer_has_its_sentence(
    client: LotameClient,
    lotame: LotameSimulator,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    kind: type[Ds3Error],
    exit_code: int,
    sentence: str,
    way_out: str,
    call: str,
) -> None:
    """Where it lasts, each is an error of its own kind with its own way out, and tells no secret."""
    caplog.set_level(logging.DEBUG)
    lotame.faults.set(fault, 1.0)
    with pytest.raises(Ds3Error, match=sentence) as failure:
        getattr(client, call)()
    assert type(failure.value) is kind
    assert failure.value.exit_code == exit_code
    assert way_out in (failure.value.hint or "")
    told = f"{failure.value} {failure.value.hint} {caplog.text}"
    assert not any(secret in told for secret in (lotame.token, lotame.access, "SECRET-TICKET"))


@pytest.mark.parametrize("fault", ["api-429", "api-500", "api-truncated", "api-cut", "api-no-answer"])
def test_what_passes_is_asked_again(
    client: LotameClient, lotame: LotameSimulator, clock: ManualClock, fault: str
) -> None:
    """A trouble that comes twice and goes is no failure; 429 is waited for just as long as it wishes."""
    lotame.faults.once(fault, 2)
    assert len(client.feeds()) == 3
    assert lotame.faults.struck(fault) == 2
    if fault == "api-429":
        assert clock.waits == [7.0, 7.0]


@pytest.mark.parametrize("fault", ["api-401", "api-403-json", "api-403-html", "api-redirect", "api-html-200"])
def test_what_does_not_pass_is_asked_once(client: LotameClient, lotame: LotameSimulator, fault: str) -> None:
    """Nobody hammers at a door that is shut."""
    lotame.faults.set(fault, 1.0)
    with pytest.raises(Ds3Error):
        client.feeds()
    assert len(lotame.asked()) == 1


def test_waiting_is_bounded(lotame: LotameSimulator, settings: LotameSettings, clock: ManualClock) -> None:
    """All waits together stay within what was allowed, and whoever listens is told of each."""
    lotame.faults.set("api-500", 1.0)
    told: list[tuple[Ds3Error, float]] = []
    with (
        LotameClient(settings, clock=clock, max_retry_seconds=100, on_wait=lambda *one: told.append(one)) as client,
        pytest.raises(FarSideUnreachableError),
    ):
        client.feeds()
    assert 30 < sum(clock.waits) <= 100
    assert [seconds for _, seconds in told] == clock.waits


def test_a_wish_beyond_the_bound_is_told_at_once(clock: ManualClock) -> None:
    """Who wants more rest than there is time for is not waited for, and the sentence says how much it wanted."""
    with LotameSimulator(LotameSimulatorSettings(clock=clock, retry_after=86_400)) as simulator:
        simulator.faults.set("api-429", 1.0)
        told = LotameSettings(simulator.token, simulator.access, "4321", simulator.base_url)
        with LotameClient(told, clock=clock) as client, pytest.raises(FarSideUnreachableError, match="86400 seconds"):
            client.feeds()
    assert clock.waits == []


def test_a_run_that_is_stopped_waits_no_more(lotame: LotameSimulator, settings: LotameSettings) -> None:
    """A signal ends the wait for Lotame, with what it waited for."""
    stopped = threading.Event()
    lotame.faults.set("api-429", 1.0)
    with (
        LotameClient(settings, stopped=stopped, on_wait=lambda *_: stopped.set()) as client,
        pytest.raises(FarSideUnreachableError, match="429"),
    ):
        client.feeds()
    assert len(lotame.asked()) == 1


def test_many_may_ask_at_once_without_a_word_of_urllib3(caplog: pytest.LogCaptureFixture) -> None:
    """Threads whose credentials are over at the same time share one client, and nothing is warned of."""
    together = threading.Barrier(4)

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            together.wait(30)  # no connection is free before all are taken
            body = b'{"feeds": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            base = f"http://127.0.0.1:{server.server_address[1]}"
            told = LotameSettings(token="t", access="a", client_id="1", base_url=base)
            with LotameClient(told) as client, ThreadPoolExecutor(4) as pool:
                assert list(pool.map(lambda _: client.feeds(), range(4))) == [()] * 4
        finally:
            server.shutdown()
            serving.join()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")] == []


@pytest.mark.parametrize(
    "wrong", [{"token": "NOT-IT"}, {"access": "NOT-IT"}, {"client_id": "1"}], ids=["token", "access", "client"]
)
def test_wrong_credentials_say_where_they_came_from(settings: LotameSettings, wrong: dict[str, Any]) -> None:
    """The way out names the place of the token, and the sentence repeats no secret even where Lotame does."""
    with LotameClient(replace(settings, **wrong)) as client, pytest.raises(FarSideDeniedError) as failure:
        client.feeds()
    assert failure.value.status == 403
    assert "token from LOTAME_TOKEN" in (failure.value.hint or "")
    assert "NOT-IT" not in failure.value.message


def test_an_unknown_feed_and_a_wrong_path(client: LotameClient, settings: LotameSettings) -> None:
    """What is not there is said to be not there, with how to find what is."""
    with pytest.raises(FarSideNotFoundError, match=r"404.*no feed 1") as failure:
        client.updates(1)
    assert "lotame feeds" in (failure.value.hint or "")
    with (
        LotameClient(replace(settings, base_url=f"{settings.base_url}/3")) as other,
        pytest.raises(FarSideNotFoundError, match="404"),
    ):
        other.feeds()


def test_nobody_answers(settings: LotameSettings, clock: ManualClock) -> None:
    """An address where nobody listens, or that no name server knows, is out of reach: exit 7."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for url, words in ((f"http://127.0.0.1:{port}/2", "refused"), ("http://lotame.invalid/2", "name is not known")):
        with (
            LotameClient(replace(settings, base_url=url), clock=clock, max_retry_seconds=3) as client,
            pytest.raises(FarSideUnreachableError, match=words),
        ):
            client.feeds()
    assert clock.waits


# -- what simulated Lotame does not say: any bytes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (http("401 Unauthorized"), FarSideDeniedError, "401"),
        (http("403 Forbidden"), FarSideForbiddenError, "without a word"),
        (http("407 Proxy Authentication Required"), ProxyRefusedError, "407"),
        (http("418 Teapot", b'{"error": "no\\u0000coffee"}'), FarSideError, "status 418: no coffee"),
        (http("204 No Content"), FarSideError, "status 204"),
        (http("301 Moved"), FarSideError, "a place that it does not name"),
        (http("302 Found", b"", "Location: /elsewhere?key=SECRET"), FarSideError, r"/elsewhere, which"),
        (http("302 Found", b"", "Location: http://[/?SECRET"), FarSideError, "a place that is no address"),
        (http("200 OK"), ProtocolError, "breaks off"),
        (http("200 OK", b'{"feeds": [{"id": NaN}]}'), ProtocolError, "is no JSON"),
        (http("200 OK", b"[]"), ProtocolError, "no JSON object"),
        (http("200 OK", b"{]}"), ProtocolError, "is no JSON"),
        (http("200 OK", b"\xff\xfe{}"), ProtocolError, "is no JSON"),
        (http("200 OK", b"[" * 100_000 + b"]"), ProtocolError, "is no JSON"),
        (http("200 OK", b"garbage", "Content-Encoding: gzip"), FarSideUnreachableError, "compressed answer is damaged"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", FarSideUnreachableError, "broke off"),
        (b"SSH-2.0-OpenSSH\r\n", FarSideUnreachableError, "broke off"),
    ],
    ids=[
        *(
            "401",
            "403",
            "407",
            "418",
            "204",
            "301",
            "302",
            "302-odd",
            "empty",
            "nan",
            "list",
            "broken",
            "no-text",
            "deep",
            "bad-gzip",
        ),
        *("short", "no-http"),
    ],
)
def test_any_other_answer_is_told_apart(
    settings: LotameSettings, clock: ManualClock, answer: bytes, kind: type[Ds3Error], words: str
) -> None:
    """Whatever is sent, the error is one of ours, says what came, and holds no secret."""
    with (
        saying(answer) as url,
        LotameClient(replace(settings, base_url=url), clock=clock, max_retry_seconds=2) as client,
        pytest.raises(Ds3Error, match=words) as failure,
    ):
        client.feeds()
    assert type(failure.value) is kind
    assert "SECRET" not in failure.value.message


def test_a_wish_of_nothing_makes_no_circle(settings: LotameSettings, clock: ManualClock) -> None:
    """Who always answers that no wait is needed is asked at once just once, and then as seldom as anybody."""
    seen: list[bytes] = []
    with (
        saying(http("429 Busy", b"", "Retry-After: 0"), seen=seen) as url,
        LotameClient(replace(settings, base_url=url), clock=clock, max_retry_seconds=60) as client,
        pytest.raises(FarSideUnreachableError),
    ):
        client.feeds()
    assert clock.waits[0] == 0.0
    assert min(clock.waits[1:]) >= 1.0
    assert len(seen) == len(clock.waits) + 1 < 12


def test_a_retry_after_may_be_a_date(settings: LotameSettings, clock: ManualClock) -> None:
    """A moment in Retry-After is measured by the Date beside it, whatever our clock says."""
    headers = ("Date: Thu, 01 Jan 2026 00:00:00 GMT", "Retry-After: Thu, 01 Jan 2026 00:00:40 GMT")
    with (
        saying(http("503 Busy", b"", *headers)) as url,
        LotameClient(replace(settings, base_url=url), clock=clock, max_retry_seconds=100) as client,
        pytest.raises(FarSideUnreachableError),
    ):
        client.feeds()
    assert clock.waits == [40.0, 40.0]


def test_a_certificate_that_nobody_vouches_for_is_refused(settings: LotameSettings, clock: ManualClock) -> None:
    """TLS is checked, and a refused certificate is not asked about again."""
    import ssl

    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, pytest.raises(ssl.SSLError):
                context.wrap_socket(peer, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        with LotameClient(replace(settings, base_url=url), clock=clock) as client, pytest.raises(TlsError):
            client.feeds()
        thread.join()
    assert clock.waits == []


def test_an_answer_about_another_feed_is_refused(settings: LotameSettings) -> None:
    """Files of a feed that was not asked for are not taken for those of the one that was."""
    body = json.dumps(updates_of([{"id": 2, "files": ["a"], "location": "s3://b/p"}])).encode()
    with (
        saying(http("200 OK", body)) as url,
        LotameClient(replace(settings, base_url=url)) as client,
        pytest.raises(ProtocolError, match="asked for feed 1"),
    ):
        client.updates(1)


def test_nothing_shows_a_secret(client: LotameClient, lotame: LotameSimulator) -> None:
    """Settings, credentials and updates can be printed without telling anything."""
    updates = client.updates(9001)
    assert updates.credentials is not None
    shown = f"{client.settings!r} {updates!r} {updates.credentials} {updates.record.decode()}"
    for secret in (
        lotame.token,
        lotame.access,
        updates.credentials.secret_access_key,
        updates.credentials.session_token,
    ):
        assert secret not in shown
    assert "SIGNED" not in repr(WebLocation("https://x.invalid/m?X-Amz-Signature=SIGNED"))


def test_a_plain_address_is_warned_of(settings: LotameSettings, caplog: pytest.LogCaptureFixture) -> None:
    """A token that would travel in the clear is told of; on this machine it does not travel."""
    LotameClient(settings).close()
    assert not caplog.records
    LotameClient(replace(settings, base_url="http://lotame.example/2")).close()
    assert "not encrypted" in caplog.text


def test_many_threads_may_ask_at_once(client: LotameClient, lotame: LotameSimulator) -> None:
    """Each thread has the answer to its own question."""
    for number in range(1, 9):
        lotame.add_feed(SimulatedFeed(number, lines=1))
    wrong: list[object] = []

    def ask(number: int) -> None:
        for _ in range(3):
            feed = client.updates(number).feed(number)
            if feed is None or list(feed.files) != lotame.files(number):
                wrong.append(feed)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
