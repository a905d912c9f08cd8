"""Stage: blobs come from tape into the cache without a reader, and the job ends when they are there."""

from __future__ import annotations

import pytest

from ds3tool.protocol.model import JobStatus
from ds3tool.simulator.clock import ManualClock
from ds3tool.simulator.tapes.operator import Operator
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer

DRIVE = "SIMDRIVE001"


def _stage(bench: Bench, *names: str, parameters: str = "") -> Answer:
    return bench.wire.bulk("start_bulk_stage", "b", "".join(f'<Object Name="{name}"/>' for name in names), parameters)


def _archived(bench: Bench, **sizes: int) -> None:
    """Put objects, wait until they are on tape, and empty the cache."""
    bench.wire.put_all("b", {name: name.encode() * size for name, size in sizes.items()})
    bench.until_persisted()
    bench.reclaim()


def _in_cache(bench: Bench, *names: str) -> list[bool]:
    return [bench.wire.ask("GET", f"/b/{name}?cached_only").status == 200 for name in names]


def test_staged_objects_are_in_the_cache_when_the_job_is_complete(bench: Bench) -> None:
    """The job is a GET that lists no chunk for anybody, completes by itself, and what it named can be got at once."""
    _archived(bench, a=900, c=800, d=100)
    staged = _stage(bench, "a", "c", parameters="&name=tonight&priority=LOW")
    assert staged.status == 200
    shown = [staged.xml.get(name) for name in ("RequestType", "Name", "Priority", "OriginalSizeInBytes")]
    assert shown == ["GET", "tonight", "LOW", "1700"]
    job = staged.xml.attrib["JobId"]
    bench.until(lambda: not bench.appliance.machine.jobs.active)
    ended = bench.wire.job(job)
    assert [ended.get(name) for name in ("Status", "CachedSizeInBytes", "CompletedSizeInBytes")] == [
        "COMPLETED",
        "1700",
        "1700",
    ]
    assert _in_cache(bench, "a", "c", "d") == [True, True, False]


def test_staging_waits_for_no_client(build: Build) -> None:
    """While no drive works nothing is offered, and no idle day ends the job."""
    clock = ManualClock()
    bench = build(clock, drives=1)
    _archived(bench, a=900)
    Operator(bench.appliance.machine).fail_drive(DRIVE)
    job = _stage(bench, "a").xml.attrib["JobId"]
    assert list(bench.wire.ready(job).xml.iter("Object")) == []
    clock.advance(3 * 24 * 3600.0)
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    Operator(bench.appliance.machine).mend_drive(DRIVE)
    bench.until(lambda: not bench.appliance.machine.jobs.active)
    assert _in_cache(bench, "a") == [True]


def test_nothing_to_stage_is_refused(bench: Bench) -> None:
    """400 when all of it is in the cache, 404 for a name that is not there."""
    bench.wire.put_all("b", {"a": b"x"})
    bench.until_persisted()
    assert _stage(bench, "a").status == 400
    assert _stage(bench, "unknown").status == 404


def test_more_than_the_cache_holds_is_not_staged(build: Build) -> None:
    """400, since not all of it could stay; a part of it is staged."""
    bench = build(blob_size=1000, chunk_size=1000, cache_size=2000)
    for name in ("a", "c"):
        _archived(bench, **{name: 900})
    assert _stage(bench, "a", "c").status == 400
    assert _stage(bench, "a").status == 200
    bench.until(lambda: not bench.appliance.machine.jobs.active)
    assert _in_cache(bench, "a", "c") == [True, False]


def test_staging_goes_on_after_a_restart(build: Build, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A job that was interrupted brings the rest into the cache and completes."""
    directory = str(tmp_path_factory.mktemp("state"))
    keys = {"directory": directory, "access_key": "k", "secret_key": "s", "blob_size": 1000, "drives": 1}
    bench = build(**keys)
    _archived(bench, a=900)
    Operator(bench.appliance.machine).fail_drive(DRIVE)
    job = _stage(bench, "a").xml.attrib["JobId"]
    bench.appliance.close()
    again = build(bucket=None, **keys)
    Operator(again.appliance.machine).mend_drive(DRIVE)
    again.until(lambda: not again.appliance.machine.jobs.active)
    assert again.wire.job(job).get("Status") == JobStatus.COMPLETED
    assert _in_cache(again, "a") == [True]


def test_a_staging_job_whose_tape_lost_the_bytes_ends_with_an_error(bench: Bench) -> None:
    """It completes with what could be read, and says what could not."""
    _archived(bench, a=900, c=800)
    tape = next(tape for tape in bench.appliance.machine.library.tapes.values() if tape.written)
    path = bench.appliance.machine.library.path(tape)
    with open(path, "r+b") as file:
        file.write(b"?" * 10)
    job = _stage(bench, "a", "c").xml.attrib["JobId"]
    bench.until(lambda: not bench.appliance.machine.jobs.active)
    ended = bench.wire.ask("GET", f"/_rest_/completed_job/{job}").xml
    assert tape.bar_code in (ended.findtext("ErrorMessage") or "")
    assert ended.findtext("CompletedSizeInBytes") == "800"
