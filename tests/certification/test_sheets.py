"""Sheets of appliances that are as they should be, that keep no versions, and that are out of order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ds3tool.certification import CASES, Line, Sheet, Verdict
from ds3tool.certification.sheet import UnexpectedError
from ds3tool.protocol.model import ObjectToPut, Versioning
from ds3tool.simulator import Appliance, ApplianceSettings, named_quirks
from ds3tool.transport.bodies import BytesBody
from tests.certification.conftest import KIB, Build


def verdicts(sheet: Sheet) -> dict[str, Verdict]:
    """Return each case's verdict."""
    return {line.name: line.verdict for line in sheet.lines}


def test_the_embedded_appliance_passes_every_case(build: Build) -> None:
    """Each is tried, in the list's order, and none fails; nothing is left of it."""
    bench = build()
    with Appliance(ApplianceSettings(quirks=named_quirks(["management-port"]))) as management:
        sheet = bench.run(management=management.endpoint)
    assert [(line.name, line.seen) for line in sheet.lines if line.verdict is not Verdict.PASS] == []
    assert [(line.number, line.name, line.expected) for line in sheet.lines] == [
        (number, case.name, case.expected) for number, case in enumerate(CASES, start=1)
    ]
    assert sheet.passed
    assert sheet.left == []
    assert bench.client.get_service().buckets == ()
    assert bench.appliance.machine.jobs.active == {}
    assert [user["Name"] for user in bench.appliance.machine.beans.all("User")] == ["Administrator"]


def test_an_appliance_that_breaks_down_passes_nothing_more(build: Build) -> None:
    """Every case that is tried while each request is cut off fails, and says so; none takes that for its refusal."""
    bench = build()

    def break_down(line: Line) -> None:
        bench.appliance.faults.set("reset-before-reply", 1.0)

    sheet = bench.run(on_line=break_down)
    told = verdicts(sheet)
    assert told.pop("large-object") is Verdict.PASS
    assert told.pop("wrong-port") is Verdict.NOT_APPLICABLE
    # Keys and dates are looked at before anything can break.
    assert {told.pop("wrong-keys"), told.pop("skewed-clock")} == {Verdict.PASS}
    assert set(told.values()) == {Verdict.FAIL}
    assert not sheet.passed
    assert any(sheet.bucket in sentence for sentence in sheet.left)


@pytest.mark.parametrize(
    ("fault", "case", "said"),
    [
        ("corrupt-get", "large-object", "is not what was put"),
        ("corrupt-get", "part", "is not what was put"),
        ("short-get", "undelete", ""),
        ("unchecked-load", "after-reclaim", ""),
        ("corrupt-put", "cut-put", "BadDigest"),
    ],
)
def test_what_is_wrong_fails_the_case_that_is_about_it(build: Build, fault: str, case: str, said: str) -> None:
    """Bytes that arrive as others, or come back as others or too few, stand on the sheet as a failure."""
    bench = build()
    bench.appliance.faults.set(fault, 1.0)
    if fault == "unchecked-load":
        bench.appliance.faults.set("corrupt-media", 1.0)
    (line,) = bench.run(case).lines
    assert line.verdict is Verdict.FAIL
    assert said in line.seen


def test_a_version_that_is_lost_fails_the_case_about_versions(build: Build) -> None:
    """Where the policy keeps every version, all that were put have to be listed, and not only some."""
    bench = build()

    def keep_the_latest(line: Line) -> None:
        machine = bench.appliance.machine
        policy = next(each for each in machine.beans.all("DataPolicy") if each["Versioning"] != "NONE")
        machine.beans.update("DataPolicy", str(policy["Id"]), {"Versioning": "KEEP_LATEST"})

    told = verdicts(bench.run("metadata", "versions", on_line=keep_the_latest))
    assert told == {"metadata": Verdict.PASS, "versions": Verdict.FAIL}


def test_chunks_that_are_offered_again_are_waited_for_no_longer_than_others(build: Build) -> None:
    """Who is offered nothing but what is done gives up in time, and does not ask without end."""
    bench = build(cache_size=256 * KIB, chunk_size=128 * KIB)
    ground = bench.ground()
    ground.extent = replace(ground.extent, within_seconds=0.0)
    with ground:
        job = bench.client.create_put_job(ground.bucket, [ObjectToPut("o", 512 * KIB)])
        ground.note_job(job.job.id)
        seen: list[object] = []
        with pytest.raises(UnexpectedError, match="chunks of job"):
            seen.extend(ground.blobs_of(job))
    assert 0 < len(set(seen)) == len(seen) < 4


def test_what_has_no_meaning_is_told_with_the_reason(build: Build) -> None:
    """Without versions, with a large cache and without a management port, those cases are neither passed nor failed."""
    bench = build(versioning=Versioning.NONE, cache_size=1 << 40)
    sheet = bench.run("wrong-port", "same-name", "versions", "undelete", "cache-full")
    told = verdicts(sheet)
    assert told.pop("same-name") is Verdict.PASS
    assert set(told.values()) == {Verdict.NOT_APPLICABLE}
    seen = {line.name: line.seen for line in sheet.lines}
    assert "409" in seen["same-name"]
    assert "keeps no versions" in seen["undelete"]
    assert "1.0 TiB is larger" in seen["cache-full"]
    assert sheet.passed


def test_a_bucket_that_was_there_keeps_what_was_in_it(build: Build) -> None:
    """Only what the run has put goes, older versions too; --keep leaves all, and says so."""
    bench = build()
    bench.client.create_bucket("theirs")
    bench.client.put_object("theirs", "certify-me", BytesBody(b"not of the run"))
    sheet = bench.run("versions", "metadata", bucket="theirs")
    assert (sheet.bucket, sheet.left) == ("theirs", [])
    assert [one.key for one in bench.client.list_objects("theirs", versions=True)] == ["certify-me"]
    kept = bench.run("metadata", bucket="ours", keep=True)
    assert len(list(bench.client.list_objects("ours"))) == 2
    assert "--keep" in kept.left[0]


def test_what_others_put_into_the_runs_own_bucket_stays(build: Build) -> None:
    """The bucket is never removed by force: with somebody else's object in it, it is told as left."""
    bench = build()

    def put(line: Line) -> None:
        bench.client.put_object("ours", "somebody else's", BytesBody(b"not of the run"))

    sheet = bench.run("metadata", bucket="ours", on_line=put)
    assert [one.key for one in bench.client.list_objects("ours")] == ["somebody else's"]
    assert "bucket ours could not be removed" in sheet.left[0]


def test_an_interruption_takes_everything_away_first(build: Build) -> None:
    """Ctrl-C in the midst of a run leaves no bucket and no job."""
    bench = build()

    def interrupt(line: Line) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run("metadata", "large-object", on_line=interrupt)
    assert bench.client.get_service().buckets == ()
    assert bench.appliance.machine.jobs.active == {}
