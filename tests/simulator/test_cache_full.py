"""A cache without room: empty lists, 503, 307, windows by priority, and what may be evicted."""

from __future__ import annotations

import threading

import pytest

from ds3tool.simulator.clock import ManualClock
from ds3tool.simulator.quirks import Quirk
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Wire

_HOUR = 3600.0


def _small(build: Build, clock: ManualClock, **settings: object) -> Bench:
    return build(clock, blob_size=1000, chunk_size=1000, cache_size=10_000, persist_delay=_HOUR, **settings)


def test_chunks_are_offered_as_far_as_there_is_room(build: Build) -> None:
    """The rest comes when tape has what the cache holds; an empty list names the seconds to wait."""
    clock = ManualClock()
    bench = _small(build, clock, retry_after=17)
    contents = {f"o{number}": bytes([number]) * 1000 for number in range(12)}
    job = bench.wire.start_put("b", dict.fromkeys(contents, 1000)).xml.attrib["JobId"]
    first = bench.wire.ready(job)
    assert len(first.xml.findall("Objects")) == 8, "85 % of the cache"
    assert all(chunk.get("NodeId") for chunk in first.xml.findall("Objects"))
    assert first.headers["retry-after"] == "17"
    assert bench.wire.send("b", job, contents, first.xml) == 8
    empty = bench.wire.ready(job)
    assert (empty.status, empty.xml.findall("Objects"), empty.headers["retry-after"]) == (200, [], "17")
    clock.advance(_HOUR)
    bench.until(lambda: len(bench.appliance.machine.jobs.to_store) == 0 and _storing(bench) == 0)
    second = bench.wire.ready(job)
    assert len(second.xml.findall("Objects")) == 4
    assert bench.cache_used <= 10_000
    assert bench.wire.send("b", job, contents, second.xml) == 4


def _storing(bench: Bench) -> int:
    return sum(len(job.storing) for job in bench.appliance.machine.jobs.active.values())


def test_an_urgent_job_may_use_the_last_of_the_cache(build: Build) -> None:
    """What others leave free is for URGENT."""
    bench = _small(build, ManualClock())
    normal = bench.wire.start_put("b", {f"n{number}": 1000 for number in range(12)}).xml.attrib["JobId"]
    assert len(bench.wire.ready(normal).xml.findall("Objects")) == 8
    urgent = bench.wire.start_put("b", {f"u{number}": 1000 for number in range(12)}, "&priority=URGENT").xml
    assert len(bench.wire.ready(urgent.attrib["JobId"]).xml.findall("Objects")) == 2


def test_a_low_job_gets_four_chunks_while_the_cache_is_short(build: Build) -> None:
    """Beyond its window a throttled job waits; below the threshold nobody is throttled."""
    bench = build(ManualClock(), blob_size=100, chunk_size=100, cache_size=10_000, persist_delay=_HOUR)
    low = bench.wire.start_put("b", {f"l{number}": 100 for number in range(90)}, "&priority=LOW").xml.attrib["JobId"]
    assert len(bench.wire.ready(low).xml.findall("Objects")) == 73, "72 % of the cache, then the window"
    other = bench.wire.start_put("b", {f"m{number}": 100 for number in range(90)}, "&priority=LOW").xml.attrib["JobId"]
    assert len(bench.wire.ready(other).xml.findall("Objects")) == 4


def test_no_more_chunks_than_preferred_are_offered(build: Build) -> None:
    """And one chunk can be asked for by its id."""
    bench = _small(build, ManualClock())
    created = bench.wire.start_put("b", {f"o{number}": 1000 for number in range(6)}).xml
    job = created.attrib["JobId"]
    target = f"/_rest_/job_chunk?job={job}"
    assert len(bench.wire.ask("GET", f"{target}&preferred_number_of_chunks=2").xml.findall("Objects")) == 2
    last = created.findall("Objects")[-1].attrib["ChunkId"]
    only = bench.wire.ask("GET", f"{target}&job_chunk={last}").xml.findall("Objects")
    assert [chunk.get("ChunkId") for chunk in only] == [last]


def test_one_chunk_is_allocated_or_refused_with_the_time_to_wait(build: Build) -> None:
    """200 with the chunk and its node, twice the same; 503 with Retry-After; 404 when it is done."""
    bench = _small(build, ManualClock(), retry_after=9)
    created = bench.wire.start_put("b", {f"o{number}": 1000 for number in range(9)}).xml
    chunks = [chunk.attrib["ChunkId"] for chunk in created.findall("Objects")]
    for chunk in [*chunks[:8], chunks[0]]:
        reply = bench.wire.ask("PUT", f"/_rest_/job_chunk/{chunk}?operation=allocate")
        assert (reply.status, reply.xml.tag, reply.xml.get("ChunkId")) == (200, "Objects", chunk)
        assert reply.xml.get("NodeId")
    refused = bench.wire.ask("PUT", f"/_rest_/job_chunk/{chunks[8]}?operation=ALLOCATE")
    assert (refused.status, refused.headers["retry-after"]) == (503, "9")
    assert "NodeId" not in bench.wire.ask("GET", f"/_rest_/job_chunk/{chunks[8]}").xml.attrib
    assert bench.wire.put_blob("b", "o0", created.attrib["JobId"], 0, b"x" * 1000).status == 200
    assert bench.wire.ask("PUT", f"/_rest_/job_chunk/{chunks[0]}?operation=allocate").status == 404
    assert bench.wire.ask("PUT", f"/_rest_/job_chunk/{created.get('JobId')}?operation=allocate").status == 404


def test_a_put_without_room_is_told_to_come_again(build: Build) -> None:
    """307 without Location for a blob of a job, 503 for a naked put."""
    bench = _small(build, ManualClock())
    job = bench.wire.start_put("b", {f"o{number}": 1000 for number in range(9)}).xml.attrib["JobId"]
    assert len(bench.wire.ready(job).xml.findall("Objects")) == 8
    reply = bench.wire.put_blob("b", "o8", job, 0, b"x" * 1000)
    assert (reply.status, "location" in reply.headers) == (307, False)
    assert bench.wire.ask("PUT", "/b/naked", b"x" * 1000).status == 503
    assert bench.wire.ask("HEAD", "/b/naked").status == 404


def test_what_has_no_bytes_waits_for_no_room(build: Build) -> None:
    """An empty object is taken while the cache is full, also where the appliance makes it with its job."""
    for quirks in (frozenset[Quirk](), frozenset({Quirk.EMPTY_AT_CREATION})):
        bench = _small(build, ManualClock(), quirks=quirks)
        full = {f"o{number}": 1000 for number in range(8)}
        job = bench.wire.start_put("b", full).xml.attrib["JobId"]
        assert len(bench.wire.ready(job).xml.findall("Objects")) == 8
        created = bench.wire.start_put("b", {"large": 1000, "empty": 0, "folder/": 0})
        assert created.status == 200
        if not quirks:
            for name in ("empty", "folder/"):
                assert bench.wire.put_blob("b", name, created.xml.attrib["JobId"], 0, b"").status == 200
        assert bench.wire.ask("HEAD", "/b/empty").status == bench.wire.ask("HEAD", "/b/folder/").status == 200


def test_a_held_put_goes_through_as_soon_as_there_is_room(build: Build) -> None:
    """The request waits for room before it is sent away."""
    bench = _small(build, ManualClock(), hold=5.0)
    names = {f"o{number}": 1000 for number in range(9)}
    job = bench.wire.start_put("b", names).xml.attrib["JobId"]
    other = bench.wire.start_put("b", {"z": 1000}).xml.attrib["JobId"]
    bench.wire.ready(job)
    statuses: list[int] = []
    late = _second_client(bench)
    thread = threading.Thread(target=lambda: statuses.append(late.put_blob("b", "z", other, 0, b"z" * 1000).status))
    thread.start()
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    thread.join(30)
    late.close()
    assert statuses == [200]


def test_an_appliance_closes_while_a_request_waits_for_room(build: Build) -> None:
    """Whoever waits is sent away; closing does not wait for the clock."""
    bench = _small(build, ManualClock(), hold=3600.0)
    wire = bench.wire
    wire.ready(wire.start_put("b", {f"o{number}": 1000 for number in range(9)}).xml.attrib["JobId"])
    other = wire.start_put("b", {"z": 1000}).xml.attrib["JobId"]
    statuses: list[object] = []
    late = _second_client(bench)

    def put() -> None:
        try:
            statuses.append(late.put_blob("b", "z", other, 0, b"z" * 1000).status)
        except OSError as error:
            statuses.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    closing = threading.Thread(target=bench.appliance.close)
    closing.start()
    closing.join(30)
    thread.join(30)
    late.close()
    assert not closing.is_alive()
    assert statuses == [307] or isinstance(statuses[0], OSError)


def _second_client(bench: Bench) -> Wire:
    return Wire(bench.appliance.endpoint, bench.appliance.access_key, bench.appliance.secret_key, now=bench.wire.now)


def test_only_what_is_on_tape_is_evicted(build: Build) -> None:
    """A reclaim keeps what tape has not, and blobs that a get job was promised."""
    clock = ManualClock()
    bench = _small(build, clock)
    bench.wire.put_all("b", {"stored": b"s" * 1000, "promised": b"p" * 1000})
    clock.advance(_HOUR)
    bench.until_persisted()
    bench.wire.put_all("b", {"fresh": b"f" * 1000})
    job = bench.wire.start_get("b", ["promised"]).xml.attrib["JobId"]
    bench.reclaim()
    assert bench.cache_used == 2000
    assert bench.wire.get_blob("b", "promised", job, 0).body == b"p" * 1000
    assert bench.wire.ask("GET", "/b/fresh").body == b"f" * 1000
    bench.reclaim()
    assert bench.cache_used == 1000


def test_the_cache_state_adds_up(build: Build) -> None:
    """Used, available and locked bytes of the one file system."""
    bench = _small(build, ManualClock())
    bench.wire.put_all("b", {"a": b"x" * 700})
    job = bench.wire.start_put("b", {"c": 300}).xml.attrib["JobId"]
    bench.wire.ready(job)
    state = bench.wire.ask("GET", "/_rest_/cache_state").xml.find("Filesystems")
    assert state is not None
    values = [int(state.findtext(f"{name}CapacityInBytes") or -1) for name in ("Total", "Used", "Available")]
    assert values == [10_000, 1000, 9000]
    assert state.findtext("JobLockedCacheInBytes") == "1000"


@pytest.mark.parametrize("cache", [1, 999, 5000])
def test_blobs_are_cut_so_that_they_fit_the_cache(build: Build, cache: int) -> None:
    """No job waits for ever because its blobs are larger than the cache."""
    bench = build(blob_size=100_000, cache_size=cache)
    created = bench.wire.start_put("b", {"a": 6000 if cache > 1 else 2}).xml
    assert max(int(blob.attrib["Length"]) for blob in created.iter("Object")) <= max(1, cache * 85 // 100)
    assert bench.wire.ready(created.attrib["JobId"]).xml.find("Objects") is not None
