"""Aggregating jobs: who may join them, how long they wait for more, and puts without a job, which share one."""

from __future__ import annotations

import pytest

from ds3tool.protocol.model import Versioning
from ds3tool.simulator.clock import ManualClock
from tests.simulator.conftest import Bench, Build

AGGREGATING = "&aggregating=true"


def _put(bench: Bench, name: str, parameters: str = AGGREGATING) -> str:
    created = bench.wire.start_put("b", {name: 10}, parameters)
    assert created.status == 200, created
    return created.xml.attrib["JobId"]


def _send(bench: Bench, job: str, name: str) -> None:
    assert bench.wire.put_blob("b", name, job, 0, b"0123456789").status == 200


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def timed(build: Build, clock: ManualClock) -> Bench:
    """An appliance whose time stands still."""
    return build(clock, blob_size=1000, chunk_size=3000)


def test_a_job_that_has_all_waits_for_more(timed: Bench, clock: ManualClock) -> None:
    """Its last blob on tape, an aggregating job is in progress and joined for half an hour, and completed after it."""
    job = _put(timed, "a")
    _send(timed, job, "a")
    active = next(iter(timed.appliance.machine.jobs.active.values()))
    timed.until(lambda: active.completed == 10)
    assert timed.wire.job(job).get("Status") == "IN_PROGRESS"
    assert timed.wire.ready(job).status == 410  # nothing is left for a client
    clock.advance(29 * 60.0)
    assert _put(timed, "c") == job
    assert timed.wire.ready(job).status == 200
    _send(timed, job, "c")
    timed.until(lambda: active.completed == 20)
    assert active.active
    clock.advance(2 * 60.0)
    timed.until(lambda: not active.active)
    shown = timed.wire.job(job)
    assert [shown.get(each) for each in ("Status", "OriginalSizeInBytes")] == ["COMPLETED", "20"]
    assert _put(timed, "d") != job


def test_a_closed_job_ends_with_its_last_blob(bench: Bench) -> None:
    """Closing ends a job that only waited, and lets one that has work end with it; nobody joins either."""
    waiting = _put(bench, "a")
    _send(bench, waiting, "a")
    active = next(iter(bench.appliance.machine.jobs.active.values()))
    bench.until(lambda: active.completed == 10)
    closed = bench.wire.ask("PUT", f"/_rest_/job/{waiting}?close_aggregating_job")
    assert (closed.status, closed.xml.get("Status")) == (200, "COMPLETED")
    working = _put(bench, "c")
    assert working != waiting
    assert bench.wire.ask("PUT", f"/_rest_/job/{working}?close_aggregating_job").xml.get("Status") == "IN_PROGRESS"
    assert _put(bench, "d") != working
    _send(bench, working, "c")
    jobs = bench.appliance.machine.jobs.active
    bench.until(lambda: working not in {job.id for job in jobs.values()})
    assert bench.wire.job(working).get("Status") == "COMPLETED"


@pytest.mark.parametrize(
    "other", ["&aggregating=true&priority=LOW", "&aggregating=false", ""], ids=["priority", "asked not to", "not asked"]
)
def test_a_job_of_another_kind_is_not_joined(bench: Bench, other: str) -> None:
    """Another priority, or no wish to be aggregated, makes its own job; the default priority is the same said aloud."""
    job = _put(bench, "a")
    assert _put(bench, "c", other) != job
    assert _put(bench, "d", "&aggregating=true&priority=NORMAL") == job


def test_gets_are_aggregated_by_their_order(bench: Bench) -> None:
    """A get with the same guarantee joins, one with the other does not; read to its end it waits for more."""
    bench.wire.put_all("b", dict.fromkeys("acde", b"x" * 10))
    bench.until_persisted()
    job = bench.wire.start_get("b", ["a"], parameters=AGGREGATING).xml.attrib["JobId"]
    assert bench.wire.start_get("b", ["c"], order="IN_ORDER", parameters=AGGREGATING).xml.get("JobId") != job
    assert bench.wire.start_get("b", ["d"], parameters=AGGREGATING).xml.get("JobId") == job
    for name in "ad":
        assert bench.wire.get_blob("b", name, job, 0).body == b"x" * 10
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    assert bench.wire.start_get("b", ["e"], parameters=AGGREGATING).xml.get("JobId") == job
    assert [blob.get("Name") for blob in bench.wire.job(job).iter("Object")] == ["e"]
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}").status == 204
    assert bench.wire.job(job).get("Status") == "CANCELED"


def test_the_chunks_of_an_aggregating_put_have_their_room_at_once(build: Build) -> None:
    """They are allocated whatever the window, are not allocated again, and objects that find no room join nothing."""
    bench = build(blob_size=1000, chunk_size=1000, cache_size=10_000)
    created = bench.wire.start_put("b", {f"o{n}": 1000 for n in range(6)}, "&aggregating=true&priority=LOW")
    chunks = list(created.xml.iter("Objects"))
    assert [chunk.get("NodeId") is not None for chunk in chunks] == [True] * 6
    assert bench.wire.ask("PUT", f"/_rest_/job_chunk/{chunks[0].get('ChunkId')}?operation=allocate").status == 404
    refused = bench.wire.start_put("b", {f"p{n}": 1000 for n in range(4)}, "&aggregating=true&priority=LOW")
    assert refused.status == 503
    assert bench.cache_used == 6000
    shown = bench.wire.job(created.xml.attrib["JobId"])
    assert (shown.get("Status"), shown.get("OriginalSizeInBytes")) == ("IN_PROGRESS", "6000")
    assert len(list(shown.iter("Object"))) == 6


def test_a_chunk_of_an_aggregating_job_holds_as_many_blobs_as_the_backend_says(bench: Bench) -> None:
    """MaxAggregatedBlobsPerChunk bounds chunks of aggregating jobs, and no others."""
    machine = bench.appliance.machine
    backend = str(machine.beans.all("DataPathBackend")[0]["Id"])
    machine.beans.update("DataPathBackend", backend, {"MaxAggregatedBlobsPerChunk": 2})
    created = bench.wire.start_put("b", {f"o{n}": 1 for n in range(5)}, AGGREGATING)
    assert [len(list(chunk)) for chunk in created.xml.iter("Objects")] == [2, 2, 1]
    created = bench.wire.start_put("b", {f"p{n}": 1 for n in range(5)})
    assert [len(list(chunk)) for chunk in created.xml.iter("Objects")] == [5]


def test_a_truncated_job_waits_no_more(bench: Bench) -> None:
    """What has come goes to tape, and then the job is COMPLETED at once."""
    job = bench.wire.start_put("b", {"a": 10, "c": 10}, AGGREGATING).xml.attrib["JobId"]
    _send(bench, job, "a")
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}").status == 204
    bench.until_persisted()
    shown = bench.wire.job(job)
    assert [shown.get(each) for each in ("Status", "OriginalSizeInBytes")] == ["COMPLETED", "10"]


def test_a_waiting_job_is_taken_up_after_a_restart(build: Build, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It goes on waiting, and ends when its time is over."""
    clock = ManualClock()
    directory = str(tmp_path_factory.mktemp("state"))
    keys = {"directory": directory, "access_key": "k", "secret_key": "s"}
    bench = build(clock, **keys)
    job = _put(bench, "a")
    _send(bench, job, "a")
    active = next(iter(bench.appliance.machine.jobs.active.values()))
    bench.until(lambda: active.completed == 10)
    bench.appliance.close()
    again = build(clock, bucket=None, **keys)
    assert _put(again, "c") == job
    _send(again, job, "c")
    clock.advance(31 * 60.0)
    again.until_persisted()
    assert again.wire.job(job).get("OriginalSizeInBytes") == "20"


# Puts without a job.


def test_puts_without_a_job_share_one(build: Build, clock: ManualClock) -> None:
    """Until their way to tape begins they share a job and a chunk; then it completes, and the next put has another."""
    bench = build(clock, persist_delay=60.0)
    for name in "acd":
        assert bench.wire.ask("PUT", f"/b/{name}", name.encode() * 10).status == 200
    listed = list(bench.wire.ask("GET", "/_rest_/job").xml.iter("Job"))
    assert [(job.get("Naked"), job.get("Aggregating"), job.get("OriginalSizeInBytes")) for job in listed] == [
        ("true", "true", "30")
    ]
    job = listed[0].attrib["JobId"]
    assert [len(list(chunk)) for chunk in bench.wire.job(job).iter("Objects")] == [3]
    clock.advance(61.0)
    bench.until_persisted()
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    bench.wire.ask("PUT", "/b/e", b"e")
    assert next(bench.wire.ask("GET", "/_rest_/job").xml.iter("Job")).get("JobId") != job


def test_a_chunk_of_puts_without_a_job_is_filled_and_the_next_begun(build: Build, clock: ManualClock) -> None:
    """No chunk grows beyond the size of chunks; what is replaced or deleted meanwhile leaves the job."""
    bench = build(clock, persist_delay=60.0, chunk_size=1000, blob_size=1000, versioning=Versioning.KEEP_LATEST)
    for name in ("a", "c", "d", "a"):
        assert bench.wire.ask("PUT", f"/b/{name}", name.encode() * 400).status == 200
    assert bench.wire.ask("DELETE", "/b/c").status == 204
    (listed,) = bench.wire.ask("GET", "/_rest_/job").xml.iter("Job")
    shown = bench.wire.job(listed.attrib["JobId"])
    assert [[blob.get("Name") for blob in chunk] for chunk in shown.iter("Objects")] == [["d", "a"]]
    assert (shown.get("OriginalSizeInBytes"), bench.cache_used) == ("800", 800)
    clock.advance(61.0)
    bench.until_persisted()
    assert bench.wire.job(listed.attrib["JobId"]).get("CompletedSizeInBytes") == "800"
    bench.reclaim()
    assert bench.cache_used == 0


def test_shared_puts_without_a_job_are_on_tape_after_a_crash(
    build: Build, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An appliance that ends before their way to tape takes them there after its next start."""
    directory = str(tmp_path_factory.mktemp("state"))
    keys = {"directory": directory, "access_key": "k", "secret_key": "s"}
    clock = ManualClock()
    bench = build(clock, persist_delay=60.0, **keys)
    for name in "acd":
        bench.wire.ask("PUT", f"/b/{name}", name.encode() * 10)
    job = next(bench.wire.ask("GET", "/_rest_/job").xml.iter("Job")).attrib["JobId"]
    bench.appliance.close()
    again = build(bucket=None, **keys)
    again.until_persisted()
    shown = again.wire.job(job)
    assert [shown.get(each) for each in ("Status", "OriginalSizeInBytes", "CompletedSizeInBytes")] == [
        "COMPLETED",
        "30",
        "30",
    ]
    again.reclaim()
    assert again.cache_used == 0
