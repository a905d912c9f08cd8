"""What goes wrong with an appliance when its faults strike, and what stays right all the same."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import threading
from base64 import b64encode
from collections import Counter

import pytest

from ds3tool.errors import UsageError
from ds3tool.simulator import ApplianceSettings, Fault, FaultRate, Faults, ManualClock, parse_rates
from ds3tool.simulator.faults import NAMES
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer

# A lost connection is one of these, by chance of the moment.
LOST = (ConnectionError, http.client.HTTPException, OSError)
DATA = bytes(range(256)) * 10


def faulty(build: Build, *rates: str, **settings: object) -> Bench:
    """An appliance whose bucket is there before anything goes wrong with it."""
    bench = build(**{"blob_size": 1000, "chunk_size": 2000, **settings})
    bench.appliance.faults.apply(parse_rates(rates))
    return bench


def struck(bench: Bench, fault: Fault) -> int:
    return bench.appliance.faults.struck(fault)


def blobs_of(answer: Answer) -> list[tuple[str, int, int]]:
    return [
        (one.attrib["Name"], int(one.attrib["Offset"]), int(one.attrib["Length"])) for one in answer.xml.iter("Object")
    ]


def put_job(bench: Bench, contents: dict[str, bytes]) -> str:
    """Put objects while nothing goes wrong, and see them on tape."""
    job = bench.wire.put_all("b", contents)
    bench.until_persisted()
    return job


# Rates and seeds.


def test_the_same_seed_strikes_the_same_events() -> None:
    """What is struck, how often it came and the seed decide; neither order nor other faults do."""
    rates = (FaultRate(Fault.SLOW, 0.3), FaultRate(Fault.STALL, 0.3))
    subjects = [f"GET /b/{number}" for number in range(200)]

    def drawn(order: list[str], seed: int) -> dict[tuple[str, int], bool]:
        faults, seen, found = Faults(rates, seed=seed), Counter[str](), {}
        for subject in order:
            found[subject, seen[subject]] = faults.strike(Fault.SLOW, subject) is not None
            seen[subject] += 1
        return found

    first = drawn(subjects * 3, 7)
    # Two subjects may share a counter, and then take turns: with so few it must be rare.
    again = drawn([subject for subject in reversed(subjects) for _ in range(3)], 7)
    assert sum(first[event] != again[event] for event in first) <= 6
    assert drawn(subjects * 3, 7) == first
    assert drawn(subjects * 3, 8) != first


def test_a_rate_is_the_share_that_is_struck() -> None:
    """Of many events about the rate's share is struck and counted; of rate 0 none, of rate 1 all."""
    for rate in (0.0, 0.05, 0.5, 1.0):
        faults = Faults([FaultRate(Fault.SLOW, rate)], seed=3)
        count = sum(faults.strike(Fault.SLOW, f"GET /{number}") is not None for number in range(4000))
        assert count == faults.struck("slow")
        assert abs(count / 4000 - rate) < 0.02
    assert not Faults([FaultRate(Fault.SLOW, 0.0)]).active


def test_most_is_the_number_of_strikes() -> None:
    """Threads that strike at once do not strike more often than `most`; then nothing does."""
    faults = Faults([FaultRate(Fault.SLOW, 1.0, 5)])
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.extend(filter(None, (faults.strike(Fault.SLOW, "x") for _ in range(50)))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), faults.struck("slow")) == (5, 5)


def test_rates_are_read_from_words() -> None:
    """NAME=RATE, several in one word or in many, with a number of times behind a colon; the last of a name counts."""
    read = parse_rates(["slow=0.5, stall=1:2", "slow=0.1", ""])
    assert read == (FaultRate(Fault.SLOW, 0.1), FaultRate(Fault.STALL, 1.0, 2))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slow", "does not say how often"),
        ("slow=", "no rate"),
        ("slow=often", "no rate"),
        ("slow=1.5", "the rate of slow is 1.5"),
        ("slow=nan", "the rate of slow is nan"),
        ("slow=1:x", "no rate"),
        ("slow=1:-1", "-1 times"),
        ("shy=1", "no fault 'shy'"),
    ],
)
def test_what_is_no_rate_is_refused(text: str, told: str) -> None:
    """The mistake is named, with a way out where that is not plain."""
    with pytest.raises(UsageError, match=told):
        parse_rates([text])


def test_every_fault_says_what_it_does_and_what_it_exposes() -> None:
    """Names are unique words that a command line takes; sentences are one line."""
    assert len(set(NAMES)) == len(Fault)
    for fault in Fault:
        assert fault.replace("-", "").isalnum()
        assert not fault.what[0].islower()
        assert fault.exposes
        assert "\n" not in fault.what + fault.exposes


def test_a_change_of_rates_is_seen_at_once(build: Build) -> None:
    """A running appliance does as its rates say now; what they do not name stays; clear ends all of it."""
    bench = faulty(build, "busy-503=1")
    assert bench.wire.ask("GET", "/b").status == 503
    bench.appliance.faults.set("slow", 1.0)
    assert bench.wire.ask("GET", "/b").status == 503
    bench.appliance.faults.clear()
    assert bench.wire.ask("GET", "/b").status == 200
    assert not bench.appliance.faults.active
    states = {state.fault: state for state in bench.appliance.faults.states()}
    assert states[Fault.BUSY_503].struck == 2
    assert set(states) == set(Fault)


# In place of an answer.


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ("busy-503", 503, "0"),
        ("busy-503-no-header", 503, None),
        ("redirect-307", 307, None),
        ("error-500", 500, None),
        ("html-error", 502, None),
        ("clock-skew", 403, None),
    ],
)
def test_a_refusal_out_of_nowhere(build: Build, fault: str, status: int, retry_after: str | None) -> None:
    """It has the status of its fault; with the fault gone the same request is answered."""
    bench = faulty(build)
    put_job(bench, {"x": DATA[:500]})
    bench.appliance.faults.set(fault, 1.0)
    refused = bench.wire.ask("GET", "/b/x")
    assert (refused.status, refused.headers.get("retry-after")) == (status, retry_after)
    assert "location" not in refused.headers
    bench.appliance.faults.clear()
    assert bench.wire.ask("GET", "/b/x").body == DATA[:500]


def test_the_page_of_a_proxy_is_not_the_appliances(build: Build) -> None:
    """502 is a page, without the header that every answer of the appliance has."""
    bench = faulty(build, "html-error=1")
    page = bench.wire.ask("GET", "/b")
    assert page.headers["content-type"] == "text/html"
    assert b"<html>" in page.body
    assert "x-amz-request-id" not in page.headers


def test_a_skewed_clock_shows_in_the_refusal(build: Build) -> None:
    """The 403 names the clock, and its own Date is an hour ahead."""
    clock = ManualClock(1_000_000_000.0)
    bench = build(clock)
    bench.appliance.faults.set("clock-skew", 1.0)
    refused = bench.wire.ask("GET", "/b")
    assert (refused.status, refused.code) == (403, "RequestTimeTooSkewed")
    assert "Client clock" in refused.message
    assert refused.headers["date"] == "Sun, 09 Sep 2001 02:46:40 GMT"


@pytest.mark.parametrize("fault", ["error-500", "html-error"])
def test_half_of_the_errors_are_of_requests_that_were_carried_out(build: Build, fault: str) -> None:
    """A bucket is there after some of them and not after others; nobody can tell by the answer."""
    bench = faulty(build, f"{fault}=1")
    for number in range(40):
        assert bench.wire.ask("PUT", f"/bucket-{number}").status in (500, 502)
    bench.appliance.faults.clear()
    made = sum(bench.wire.ask("HEAD", f"/bucket-{number}").status == 200 for number in range(40))
    assert 8 < made < 32


# Connections.


def test_a_reset_before_the_reply_carries_nothing_out(build: Build) -> None:
    """The connection is lost, and the request was not carried out."""
    bench = faulty(build, "reset-before-reply=1")
    with pytest.raises(LOST):
        bench.wire.ask("PUT", "/another")
    bench.appliance.faults.clear()
    bench.wire.close()
    assert bench.wire.ask("HEAD", "/another").status == 404


def test_a_lost_reply_is_of_a_request_that_was_carried_out(build: Build) -> None:
    """A job is there, a blob is stored and a blob counts as read, though no answer came; what changes nothing is not
    struck.
    """
    bench = faulty(build)
    faults = bench.appliance.faults
    faults.set("lost-reply", 1.0)
    with pytest.raises(LOST):
        bench.wire.start_put("b", {"x": 500})
    bench.wire.close()
    (job,) = bench.appliance.machine.jobs.active.values()
    assert bench.wire.job(job.id).attrib["CachedSizeInBytes"] == "0"
    with pytest.raises(LOST):
        bench.wire.put_blob("b", "x", job.id, 0, DATA[:500])
    bench.wire.close()
    bench.until_persisted()
    faults.clear()
    assert bench.wire.ask("GET", "/b/x").body == DATA[:500]
    reading = bench.wire.start_get("b", ["x"]).xml.attrib["JobId"]
    faults.set("lost-reply", 1.0)
    with pytest.raises(LOST):
        bench.wire.get_blob("b", "x", reading, 0)
    bench.wire.close()
    bench.until(lambda: not bench.appliance.machine.jobs.active)
    assert bench.wire.job(reading).attrib["Status"] == "COMPLETED"
    assert struck(bench, Fault.LOST_REPLY) == 3


@pytest.mark.parametrize("fault", ["short-get", "reset-in-body"])
def test_a_body_that_breaks_off_does_not_count_as_read(build: Build, fault: str) -> None:
    """The head promises all, less comes, and the job still waits for the blob."""
    bench = faulty(build)
    put_job(bench, {"x": DATA[:900]})
    job = bench.wire.start_get("b", ["x"]).xml.attrib["JobId"]
    bench.appliance.faults.set(fault, 1.0)
    with pytest.raises(LOST):
        bench.wire.get_blob("b", "x", job, 0)
    bench.wire.close()
    bench.appliance.faults.clear()
    assert [name for name, *_ in blobs_of(bench.wire.ready(job))] == ["x"]
    assert bench.wire.get_blob("b", "x", job, 0).body == DATA[:900]


def test_a_short_get_ends_as_if_all_were_well(build: Build) -> None:
    """A part of the bytes comes, right as far as it goes, and then the end of the connection, not an error."""
    bench = faulty(build)
    put_job(bench, {"x": DATA[:900]})
    bench.appliance.faults.set("short-get", 1.0)
    with pytest.raises(http.client.IncompleteRead) as caught:
        bench.wire.ask("GET", "/b/x")
    assert DATA.startswith(caught.value.partial)
    assert len(caught.value.partial) < 900


def test_a_put_that_is_reset_in_its_body_stores_nothing(build: Build) -> None:
    """The blob can be sent again, and is then whole."""
    bench = faulty(build)
    job = bench.wire.start_put("b", {"x": 900}).xml.attrib["JobId"]
    bench.appliance.faults.set("reset-in-body", 1.0)
    with pytest.raises(LOST):
        bench.wire.put_blob("b", "x", job, 0, DATA[:900])
    bench.appliance.faults.clear()
    bench.wire.close()
    assert bench.wire.job(job).attrib["CachedSizeInBytes"] == "0"
    assert bench.wire.put_blob("b", "x", job, 0, DATA[:900]).status == 200
    bench.until_persisted()
    assert bench.wire.ask("GET", "/b/x").body == DATA[:900]


@pytest.mark.parametrize("seed", range(6))
def test_a_stall_ends_with_the_client_or_with_the_appliances_clock(build: Build, seed: int) -> None:
    """Nothing is heard until the time of a stall is over on the appliance's clock; then the connection is closed.

    Whether the request was carried out differs; a blob is stored whole or not at all.
    """
    clock = ManualClock()
    bench = build(clock, seed=seed, blob_size=1000, stall=100.0)
    job = bench.wire.start_put("b", {"x": 900}).xml.attrib["JobId"]
    bench.appliance.faults.set("stall", 1.0, most=1)
    ended = threading.Event()

    def put() -> None:
        with contextlib.suppress(*LOST):
            bench.wire.put_blob("b", "x", job, 0, DATA[:900])
        ended.set()

    thread = threading.Thread(target=put)
    thread.start()
    assert not ended.wait(0.1)
    while not ended.wait(0.02):
        clock.advance(101.0)
    thread.join()
    bench.wire.close()
    assert bench.wire.put_blob("b", "x", job, 0, DATA[:900]).status in (200, 404, 410)
    assert bench.wire.ask("GET", "/b/x").body == DATA[:900]


def test_slow_bodies_are_whole(build: Build) -> None:
    """What trickles in or out is what was sent, byte for byte, whatever its size."""
    bench = faulty(build, "slow=1", blob_size=1_000_000, chunk_size=4_000_000)
    contents = {str(size): (DATA * 400)[:size] for size in (0, 1, 19, 21, 999, 300_000)}
    bench.wire.put_all("b", contents)
    for name, data in contents.items():
        assert bench.wire.ask("GET", f"/b/{name}").body == data
    assert struck(bench, Fault.SLOW) > 8


# Bytes.


def test_one_bit_of_what_is_got_is_wrong(build: Build) -> None:
    """Exactly one bit differs, the digest beside it is that of the right bytes, and the next one is right."""
    bench = faulty(build)
    put_job(bench, {"x": DATA[:900], "empty": b""})
    bench.appliance.faults.set("corrupt-get", 1.0, most=1)
    assert bench.wire.ask("GET", "/b/empty").body == b""
    got = bench.wire.ask("GET", "/b/x")
    assert _bits_apart(got.body, DATA[:900]) == 1
    assert got.headers["content-md5"] == b64encode(hashlib.md5(DATA[:900]).digest()).decode()
    assert bench.wire.ask("GET", "/b/x").body == DATA[:900]


@pytest.mark.parametrize("size", [900, 300_000, 3_000_000])
def test_one_bit_of_what_is_put_is_wrong(build: Build, size: int) -> None:
    """With a digest it is refused and nothing is stored; without one it is stored, and the digest of it echoed."""
    bench = faulty(build, blob_size=4_000_000, chunk_size=8_000_000)
    data = (DATA * (size // len(DATA) + 1))[:size]
    job = bench.wire.start_put("b", {"x": size, "y": size}).xml.attrib["JobId"]
    bench.appliance.faults.set("corrupt-put", 1.0)
    right = b64encode(hashlib.md5(data).digest()).decode()
    refused = bench.wire.put_blob("b", "x", job, 0, data, Content_MD5=right)
    assert (refused.status, refused.code) == (400, "BadDigest")
    stored = bench.wire.put_blob("b", "y", job, 0, data)
    assert stored.status == 200
    assert stored.headers["content-md5"] != right
    bench.appliance.faults.clear()
    assert bench.wire.put_blob("b", "x", job, 0, data, Content_MD5=right).status == 200
    bench.until_persisted()
    assert bench.wire.ask("GET", "/b/x").body == data
    assert _bits_apart(bench.wire.ask("GET", "/b/y").body, data) == 1


def test_a_blob_that_is_there_is_not_spoiled_by_a_second_put(build: Build) -> None:
    """What was acknowledged stays right: the spoiled repetition is refused."""
    bench = faulty(build)
    job = bench.wire.start_put("b", {"x": 900, "y": 10}).xml.attrib["JobId"]
    assert bench.wire.put_blob("b", "x", job, 0, DATA[:900]).status == 200
    bench.appliance.faults.set("corrupt-put", 1.0)
    assert bench.wire.put_blob("b", "x", job, 0, DATA[:900]).status == 400
    bench.appliance.faults.clear()
    assert bench.wire.ask("GET", "/b/x").body == DATA[:900]


@pytest.mark.parametrize("unchecked", [False, True])
def test_a_bit_that_changed_on_tape_is_found_when_it_is_loaded(build: Build, unchecked: bool) -> None:
    """The appliance finds it and refuses the blob; where it does not look, wrong bytes come with the right digest."""
    bench = faulty(build, "corrupt-media=1")
    put_job(bench, {"x": DATA[:900], "empty": b""})
    assert struck(bench, Fault.CORRUPT_MEDIA) == 1
    assert bench.wire.ask("GET", "/b/x").body == DATA[:900]  # the cache has what was put
    bench.reclaim()
    if unchecked:
        bench.appliance.faults.set("unchecked-load", 1.0)
    job = bench.wire.start_get("b", ["x"]).xml.attrib["JobId"]
    bench.until(
        lambda: all(
            chunk.ready for each in bench.appliance.machine.jobs.readers.values() for chunk in each.chunks.values()
        )
    )
    got = bench.wire.get_blob("b", "x", job, 0)
    if unchecked:
        assert got.status == 200
        assert got.headers["content-md5"] == b64encode(hashlib.md5(DATA[:900]).digest()).decode()
        assert _bits_apart(got.body, DATA[:900]) == 1
    else:
        assert (got.status, got.code) == (400, "BadDigest")
        assert b"damaged" in got.body
    assert struck(bench, Fault.UNCHECKED_LOAD) == unchecked


def test_one_good_copy_is_enough(build: Build) -> None:
    """Of two copies on tape one is spoiled: the other is loaded."""
    bench = faulty(build, "corrupt-media=1:1", copies=2)
    put_job(bench, {"x": DATA[:900]})
    bench.reclaim()
    job = bench.wire.start_get("b", ["x"]).xml.attrib["JobId"]
    readers = bench.appliance.machine.jobs.readers
    bench.until(lambda: all(chunk.ready for each in readers.values() for chunk in each.chunks.values()))
    assert bench.wire.get_blob("b", "x", job, 0).body == DATA[:900]


def _bits_apart(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


# Room, chunks, nodes.


def test_a_full_cache_is_a_wait(build: Build) -> None:
    """No chunk is offered, a blob is told to come again, an object without a job that there is no room; then all go."""
    bench = faulty(build, "cache-full=1")
    created = bench.wire.start_put("b", {"x": 900, "y": 2500})
    job = created.xml.attrib["JobId"]
    ready = bench.wire.ready(job)
    assert (ready.status, blobs_of(ready)) == (200, [])
    assert "retry-after" in ready.headers
    assert bench.wire.put_blob("b", "x", job, 0, DATA[:900]).status == 307
    assert bench.wire.ask("PUT", "/b/z", DATA).status == 503
    bench.appliance.faults.clear()
    assert sorted(blobs_of(bench.wire.ready(job))) == sorted(blobs_of(created))


def test_chunks_come_in_any_order_and_some_of_them_later(build: Build) -> None:
    """Each answer has some of the ready chunks, in an order of its own; in time every blob is offered."""
    bench = faulty(build, "chunk-out-of-order=1")
    created = bench.wire.start_put("b", {f"{number}": 1000 for number in range(20)})
    job = created.xml.attrib["JobId"]
    expected = blobs_of(created)
    answers = [blobs_of(bench.wire.ready(job)) for _ in range(30)]
    assert any(answer != sorted(answer, key=expected.index) for answer in answers)
    assert any(len(answer) < len(expected) for answer in answers)
    assert all(answer and set(answer) <= set(expected) for answer in answers)
    assert set(itertools.chain(*answers)) == set(expected)


def test_chunks_come_twice_and_again(build: Build) -> None:
    """Each is told twice in one answer, and once more as it was in the one before."""
    bench = faulty(build, "chunk-twice=1")
    job = bench.wire.start_put("b", {"x": 2000, "y": 2000}).xml.attrib["JobId"]
    first = bench.wire.ready(job)
    assert Counter(blobs_of(first)).most_common()[-1][1] == 2
    assert bench.wire.put_blob("b", "x", job, 0, DATA[:1000]).status == 200
    again = bench.wire.ready(job)
    told = {
        one.get("InCache") for one in again.xml.iter("Object") if (one.get("Name"), one.get("Offset")) == ("x", "0")
    }
    assert told == {"true", "false"}


def test_another_node_has_the_chunks(build: Build) -> None:
    """The chunks' node is one that was not there before and cannot be reached; the connection is closed."""
    bench = faulty(build)
    created = bench.wire.start_put("b", {"x": 2000})
    job = created.xml.attrib["JobId"]
    before = {one.get("NodeId") for one in bench.wire.ready(job).xml.iter("Objects")}
    bench.appliance.faults.set("node-change", 1.0)
    changed = bench.wire.ready(job)
    now = {one.get("NodeId") for one in changed.xml.iter("Objects")}
    assert not before & now
    listed = {one.get("Id"): one.get("HttpPort") for one in changed.xml.iter("Node")}
    assert all(listed[node] == "1" for node in now)
    assert changed.headers["connection"] == "close"
    assert bench.wire.put_blob("b", "x", job, 0, DATA[:1000]).status == 200


# Jobs that end.


@pytest.mark.parametrize("fault", ["job-cancelled", "job-expired"])
def test_a_job_ends_at_some_point_of_its_progress(build: Build, fault: str) -> None:
    """Which point, the seed says; the record tells a person's doing from the idle timer's; other jobs go on."""
    ended_at = []
    for seed in range(6):
        bench = faulty(build, f"{fault}=1:1", seed=seed, persist_delay=3600.0)
        job = bench.wire.start_put("b", {str(number): 1000 for number in range(10)}).xml.attrib["JobId"]
        statuses = [bench.wire.put_blob("b", str(n), job, 0, DATA[:1000]).status for n in range(10)]
        received = statuses.count(200)
        assert statuses == [200] * received + [410] * (10 - received)
        ended_at.append(received)
        assert bench.wire.ready(job).status == 404
        timed_out = bench.wire.ask("GET", "/_rest_/canceled_job?canceled_due_to_timeout=true").body
        assert (job.encode() in timed_out) is (fault == "job-expired")
        assert bench.wire.job(job).attrib["Status"] == "CANCELED"
        assert bench.appliance.faults.struck(fault) == 1
        bench.wire.put_all("b", {"other": DATA[:10]})
    assert len(set(ended_at)) > 2


def test_a_job_that_may_not_be_cleaned_up_does_not_expire(build: Build) -> None:
    """Nor is a protected one cancelled."""
    bench = faulty(build, "job-expired=1,job-cancelled=1")
    kept = "&dead_job_cleanup_allowed=false&protected=true"
    bench.wire.put_all("b", {"x": DATA[:900]}, kept)
    bench.until_persisted()
    assert bench.wire.ask("GET", "/b/x").body == DATA[:900]


def test_a_share_of_jobs_ends(build: Build) -> None:
    """The rate is one of jobs, not of requests: of many small jobs about half comes through."""
    bench = faulty(build, "job-cancelled=0.5")
    for number in range(40):
        job = bench.wire.start_put("b", {f"{number}/{blob}": 100 for blob in range(3)}).xml.attrib["JobId"]
        for blob in range(3):
            bench.wire.put_blob("b", f"{number}/{blob}", job, 0, DATA[:100])
        bench.wire.ready(job)
    assert 8 < struck(bench, Fault.JOB_CANCELLED) < 32


def test_rates_are_frozen_in_the_settings(build: Build) -> None:
    """An appliance begins with the rates of its settings, and its own changes do not reach them."""
    settings = ApplianceSettings(faults=parse_rates(["busy-503=1"]), seed=1)
    bench = build(bucket=None, faults=settings.faults)
    assert bench.wire.ask("GET", "/").status == 503
    bench.appliance.faults.clear()
    assert bench.appliance.settings.faults == settings.faults == (FaultRate(Fault.BUSY_503, 1.0),)
