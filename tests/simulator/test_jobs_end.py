"""Cancel, truncate, time-out and deletion: what stays, what goes, and that no room is lost by it."""

from __future__ import annotations

import pytest

from ds3tool.simulator.clock import ManualClock
from tests.simulator.conftest import Bench, Build


def _half_sent(bench: Bench) -> str:
    """Start a job of four objects and send one whole, half of another."""
    wire = bench.wire
    job = wire.start_put("b", {"whole": 1500, "half": 1500, "none": 100, "last": 100}).xml.attrib["JobId"]
    assert wire.put_blob("b", "whole", job, 0, b"w" * 1000).status == 200
    assert wire.put_blob("b", "whole", job, 1000, b"w" * 500).status == 200
    assert wire.put_blob("b", "half", job, 0, b"h" * 1000).status == 200
    wire.ready(job)
    return job


def _names(bench: Bench) -> list[str | None]:
    return [key.text for key in bench.wire.ask("GET", "/b").xml.iter("Key")]


@pytest.mark.parametrize("resource", ["job", "active_job"])
def test_a_cancelled_put_leaves_nothing_behind(build: Build, resource: str) -> None:
    """Objects that are not on tape go, the room is free, the job is CANCELED, a second cancel finds nothing."""
    bench = build(blob_size=1000, chunk_size=3000, persist_delay=3600.0)
    job = _half_sent(bench)
    assert bench.wire.ask("DELETE", f"/_rest_/{resource}/{job}?force").status == 204
    assert _names(bench) == []
    assert bench.cache_used == 0
    assert bench.wire.job(job).get("Status") == "CANCELED"
    assert bench.wire.ask("DELETE", f"/_rest_/{resource}/{job}?force=").status == 404
    assert bench.wire.put_blob("b", "none", job, 0, b"x" * 100).status == 410
    assert bench.wire.ready(job).status == 404
    assert bench.wire.ask("GET", f"/_rest_/canceled_job/{job}").status == 200
    assert bench.wire.ask("GET", f"/_rest_/active_job/{job}").status == 404
    assert bench.wire.put_all("b", {"whole": b"again"})


def test_a_cancelled_put_tells_how_large_it_was(build: Build) -> None:
    """Sizes of a cancelled job are those it had, though its objects are gone; only truncation shrinks them."""
    bench = build(blob_size=1000, chunk_size=1000, persist_delay=3600.0)
    job = _half_sent(bench)
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    shown = bench.wire.job(job)
    assert (shown.get("OriginalSizeInBytes"), shown.get("CachedSizeInBytes")) == ("3200", "2500")
    assert shown.get("CompletedSizeInBytes") == "0"
    record = bench.wire.ask("GET", f"/_rest_/canceled_job/{job}").xml
    assert (record.findtext("OriginalSizeInBytes"), record.findtext("CachedSizeInBytes")) == ("3200", "2500")


def test_jobs_that_have_ended_are_listed_with_full_details_only(bench: Bench) -> None:
    """The plain list holds what is in progress, `full_details` adds completed and cancelled jobs of the bucket."""
    done = bench.wire.put_all("b", {"done": b"1"})
    bench.until_persisted()
    ended = bench.wire.start_put("b", {"never": 1}).xml.attrib["JobId"]
    assert bench.wire.ask("DELETE", f"/_rest_/job/{ended}?force").status == 204
    active = bench.wire.start_put("b", {"open": 1}).xml.attrib["JobId"]
    assert bench.wire.ask("PUT", "/other").status == 200

    def listed(query: str) -> dict[str, str]:
        jobs = bench.wire.ask("GET", f"/_rest_/job{query}").xml
        return {job.attrib["JobId"]: job.attrib["Status"] for job in jobs}

    assert listed("") == {active: "IN_PROGRESS"}
    assert listed("?full_details") == {active: "IN_PROGRESS", ended: "CANCELED", done: "COMPLETED"}
    assert listed("?full_details&bucket_id=other") == {}


def test_a_cancelled_put_keeps_objects_that_are_on_tape(build: Build) -> None:
    """What is on every tape stays, though its job is cancelled."""
    bench = build(blob_size=1000, chunk_size=1000)
    job = bench.wire.start_put("b", {"stored": 1000, "open": 1000}).xml.attrib["JobId"]
    bench.wire.put_blob("b", "stored", job, 0, b"s" * 1000)
    active = next(iter(bench.appliance.machine.jobs.active.values()))
    bench.until(lambda: active.completed == 1000)
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    assert _names(bench) == ["stored"]
    assert bench.wire.job(job).get("Status") == "CANCELED"
    assert bench.wire.ask("GET", "/b/stored").body == b"s" * 1000


def test_a_truncated_put_goes_on_with_what_is_complete(build: Build) -> None:
    """Half sent objects are given up, the original size shrinks, the rest reaches tape and the job is COMPLETED."""
    bench = build(blob_size=1000, chunk_size=3000)
    job = _half_sent(bench)
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}").status == 204
    assert _names(bench) == ["whole"]
    bench.until_persisted()
    shown = bench.wire.job(job)
    assert [shown.get(name) for name in ("Status", "OriginalSizeInBytes", "CompletedSizeInBytes")] == [
        "COMPLETED",
        "1500",
        "1500",
    ]
    assert bench.wire.ask("GET", f"/_rest_/completed_job/{job}").xml.findtext("Truncated") == "true"
    bench.reclaim()
    assert bench.cache_used == 0


def test_a_put_truncated_before_anything_came_is_cancelled(bench: Bench) -> None:
    """Truncation to nothing ends the job as CANCELED."""
    job = bench.wire.start_put("b", {"a": 1500}).xml.attrib["JobId"]
    bench.wire.ready(job)
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}").status == 204
    assert bench.wire.job(job).get("Status") == "CANCELED"
    assert (_names(bench), bench.cache_used) == ([], 0)


def test_a_cancelled_get_gives_its_room_back(bench: Bench) -> None:
    """The locked blobs may be evicted again, the objects stay."""
    bench.wire.put_all("b", {"a": b"x" * 2000})
    bench.until_persisted()
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    assert bench.wire.get_blob("b", "a", job, 0).status == 410
    bench.reclaim()
    assert bench.cache_used == 0
    assert _names(bench) == ["a"]


def test_jobs_are_ended_together_by_bucket_and_type(bench: Bench) -> None:
    """Only those that match."""
    wire = bench.wire
    wire.ask("PUT", "/c")
    wire.put_all("b", {"a": b"x"})
    bench.until_persisted()
    put_b = wire.start_put("b", {"n": 1}).xml.attrib["JobId"]
    put_c = wire.start_put("c", {"n": 1}).xml.attrib["JobId"]
    get_b = wire.start_get("b", ["a"]).xml.attrib["JobId"]
    assert wire.ask("DELETE", "/_rest_/job?force&bucket_id=b&request_type=put").status == 204
    assert [wire.job(job).get("Status") for job in (put_b, put_c, get_b)] == ["CANCELED", *["IN_PROGRESS"] * 2]
    assert wire.ask("DELETE", "/_rest_/active_job").status == 204
    assert [wire.job(job).get("Status") for job in (put_c, get_b)] == ["CANCELED"] * 2


def test_a_protected_job_is_neither_cancelled_nor_truncated(bench: Bench) -> None:
    """409 until it is unprotected."""
    job = bench.wire.start_put("b", {"a": 1}, "&protected=true").xml.attrib["JobId"]
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 409
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}").status == 409
    assert bench.wire.ask("PUT", f"/_rest_/job/{job}?protected=false&name=free").xml.get("Name") == "free"
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204


def test_a_job_nobody_touches_for_a_day_is_cancelled(build: Build) -> None:
    """A poll or a modify without parameters keeps it; the record says that it timed out."""
    clock = ManualClock()
    bench = build(clock)
    job = bench.wire.start_put("b", {"a": 1}).xml.attrib["JobId"]
    active = next(iter(bench.appliance.machine.jobs.active.values()))
    clock.advance(23 * 3600)
    assert bench.wire.ask("PUT", f"/_rest_/job/{job}").status == 200
    clock.advance(23 * 3600)
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    clock.advance(2 * 3600)
    bench.until(lambda: not active.active)
    record = bench.wire.ask("GET", "/_rest_/canceled_job?canceled_due_to_timeout=true").xml.find("CanceledJob")
    assert record is not None
    assert record.findtext("Id") == job


def test_deleting_an_object_takes_it_out_of_its_jobs(bench: Bench) -> None:
    """Put and get jobs go on without it; sizes and room follow."""
    wire = bench.wire
    wire.put_all("b", {"a": b"x" * 1000, "c": b"y" * 500})
    bench.until_persisted()
    get = wire.start_get("b", ["a", "c"]).xml.attrib["JobId"]
    assert wire.ask("DELETE", "/b/a").status == 204
    assert [blob.get("Name") for blob in wire.job(get).iter("Object")] == ["c"]
    assert wire.job(get).get("OriginalSizeInBytes") == "500"
    assert wire.get_blob("b", "c", get, 0).body == b"y" * 500
    assert wire.job(get).get("Status") == "COMPLETED"
    put = wire.start_put("b", {"d": 100, "e": 200}).xml.attrib["JobId"]
    wire.ready(put)
    assert wire.ask("DELETE", "/b/e").status == 204
    wire.put_blob("b", "d", put, 0, b"d" * 100)
    bench.until_persisted()
    assert (wire.job(put).get("Status"), wire.job(put).get("OriginalSizeInBytes")) == ("COMPLETED", "100")
    bench.reclaim()
    assert bench.cache_used == 0


def test_a_job_is_changed_as_a_whole_or_not_at_all(bench: Bench) -> None:
    """A date that is none refuses the name that stands beside it too."""
    job = bench.wire.start_put("b", {"a": 1}, "&name=before").xml.attrib["JobId"]
    assert bench.wire.ask("PUT", f"/_rest_/job/{job}?name=after&created_at=never").status == 400
    assert bench.wire.job(job).get("Name") == "before"
