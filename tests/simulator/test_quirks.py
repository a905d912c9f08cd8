"""What an awkward appliance says, seen by a client that takes nothing for granted."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ds3tool.errors import UsageError
from ds3tool.simulator import ApplianceSettings, ManualClock, Quirk, named_quirks
from ds3tool.simulator.quirks import NAMES, RELEASES
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer

SIZES = {"a": 2500, "b": 1000, "empty": 0, "folder/": 0}


def awkward(build: Build, *quirks: Quirk, **settings: object) -> Bench:
    return build(quirks=frozenset(quirks), **{"blob_size": 1000, "chunk_size": 2000, **settings})


def blobs(answer: Answer | ET.Element) -> list[tuple[str, int]]:
    root = answer.xml if isinstance(answer, Answer) else answer
    return [(one.attrib["Name"], int(one.attrib["Offset"])) for one in root.iter("Object")]


WHOLE = [("a", 0), ("a", 1000), ("a", 2000), ("b", 0), ("empty", 0), ("folder/", 0)]


def contents() -> dict[str, bytes]:
    return {name: bytes(size) for name, size in SIZES.items()}


@pytest.mark.parametrize("name", [name for name in NAMES if name != Quirk.MANAGEMENT_PORT])
def test_appliance_with_any_quirk_still_stores_what_it_is_given(build: Build, name: str) -> None:
    """Quirks change what is said: under each that answers, and each release, the bytes that were put are there."""
    bench = awkward(build, *named_quirks([name]))
    created = bench.wire.start_put("b", SIZES)
    assert created.status == 200, created
    job = created.xml.attrib["JobId"]
    for blob, offset in blobs(created):
        data = contents()[blob][offset : offset + 1000]
        assert bench.wire.put_blob("b", blob, job, offset, data).status == 200
    bench.until_persisted()
    listed = bench.wire.ask("GET", "/b").xml
    assert {one.findtext("Key"): one.findtext("Size") for one in listed.iter("Contents")} == {
        name: str(size) for name, size in SIZES.items()
    }


@pytest.mark.parametrize("release", RELEASES)
def test_older_releases_make_empty_objects_with_the_job(build: Build, release: str) -> None:
    """They stand in no chunk, of a put or of a get, and are there at once; a job of them alone has no chunk."""
    bench = awkward(build, *RELEASES[release])
    created = bench.wire.start_put("b", SIZES)
    assert blobs(created) == [each for each in WHOLE if each[0] in ("a", "b")]
    assert bench.wire.ask("HEAD", "/b/empty").status == bench.wire.ask("HEAD", "/b/folder/").status == 200
    bench.wire.send("b", created.xml.attrib["JobId"], contents(), created.xml)
    assert sorted(blobs(bench.wire.start_get("b", list(SIZES)))) == [each for each in WHOLE if each[0] in ("a", "b")]
    alone = bench.wire.start_put("b", {"another": 0})
    assert alone.xml.find("Objects") is None
    polled = bench.wire.ready(alone.xml.attrib["JobId"])
    assert polled.status == (404 if release == "release-1.2" else 410)
    assert blobs(bench.wire.start_get("b", ["another"])) == []
    bench.until_persisted()
    bench.reclaim()
    got = bench.wire.start_get("b", ["another", "b"])
    assert blobs(got) == [("b", 0)]
    job = got.xml.attrib["JobId"]
    readers = bench.appliance.machine.jobs.readers
    bench.until(lambda: all(chunk.ready for reader in readers.values() for chunk in reader.chunks.values()))
    assert bench.wire.get_blob("b", "b", job, 0).body == bytes(1000)
    assert bench.wire.job(job).get("Status", "COMPLETED") == "COMPLETED"


def test_a_job_without_work_is_done_or_is_none(build: Build) -> None:
    """COMPLETED without Objects when its creation is answered; or 204; a job with work is neither."""
    bench = awkward(build, Quirk.EMPTY_AT_CREATION, Quirk.DONE_AT_CREATION)
    job = bench.wire.start_put("b", {"empty": 0}).xml
    assert (job.get("Status"), job.find("Objects")) == ("COMPLETED", None)
    assert bench.wire.start_put("b", {"full": 1}).xml.get("Status") == "IN_PROGRESS"
    bench = awkward(build, Quirk.EMPTY_AT_CREATION, Quirk.NO_JOB_FOR_NOTHING)
    assert bench.wire.start_put("b", {"empty": 0}).status == 204
    assert bench.wire.start_put("b", {"full": 1}).status == 200


def test_ended_jobs_are_forgotten(build: Build) -> None:
    """404 as soon as the job is COMPLETED, in every list of states; while it runs it is shown."""
    bench = awkward(build, Quirk.FORGETS_JOBS, persist_delay=3600.0, clock=ManualClock(1_704_164_645.0))
    job = bench.wire.start_put("b", {"x": 1}).xml.attrib["JobId"]
    assert bench.wire.job(job).get("Status") == "IN_PROGRESS"
    bench.wire.ask("DELETE", f"/_rest_/job/{job}?force")
    for resource in ("job", "active_job", "canceled_job", "completed_job"):
        assert bench.wire.ask("GET", f"/_rest_/{resource}/{job}").status == 404


def test_polls_end_in_either_status(build: Build) -> None:
    """A job that is all sent, and one that has ended: 404 by one quirk, 410 by the other."""
    for quirk, status in ((Quirk.POLL_ENDS_IN_404, 404), (Quirk.POLL_ENDS_IN_410, 410)):
        bench = awkward(build, quirk)
        job = bench.wire.put_all("b", {"x": b"1"})
        bench.until_persisted()
        assert bench.wire.ready(job).status == status
    clock = ManualClock(1_704_164_645.0)
    bench = awkward(build, Quirk.POLL_ENDS_IN_404, clock=clock, persist_delay=3600.0)
    assert bench.wire.ready(bench.wire.put_all("b", {"x": b"1"})).status == 404


def test_chunks_are_offered_again_as_they_were(build: Build) -> None:
    """Each twice in one answer, and still when its blobs are there; until the job has ended."""
    bench = awkward(build, Quirk.OFFERS_AGAIN, clock=ManualClock(1_704_164_645.0), persist_delay=3600.0)
    job = bench.wire.start_put("b", {"a": 1000, "c": 1000, "d": 1000}).xml
    job_id = job.attrib["JobId"]
    first = bench.wire.ready(job_id).xml
    assert len(blobs(first)) == 2 * 3
    bench.wire.send("b", job_id, {name: bytes(1000) for name in "acd"}, job)
    again = bench.wire.ready(job_id)
    assert again.status == 200
    assert again.headers["retry-after"] == "0"
    assert [one.get("InCache") for one in again.xml.iter("Object")] == ["false"] * 6
    assert {one.get("Id") for one in again.xml.iter("Object")} == {one.get("Id") for one in first.iter("Object")}


def test_scattered_blobs_are_the_whole_all_the_same(build: Build) -> None:
    """Blobs of an object lie in several chunks in no order; none is missing and none comes twice."""
    bench = awkward(build, Quirk.SCATTERED_BLOBS, chunk_size=5000)
    job = bench.wire.start_put("b", {"a": 10_000, "c": 10_000}).xml
    found = [blobs(chunk) for chunk in job.iter("Objects")]
    assert any({name for name, _ in chunk} == {"a", "c"} for chunk in found)
    assert sorted(itertools.chain(*found)) == [(name, offset) for name in "ac" for offset in range(0, 10_000, 1000)]
    bench.wire.send("b", job.attrib["JobId"], {name: bytes(10_000) for name in "ac"}, job)
    bench.until_persisted()
    bench.reclaim()
    got = [blobs(chunk) for chunk in bench.wire.start_get("b", ["a", "c"]).xml.iter("Objects")]
    assert sorted(itertools.chain(*got)) == sorted(itertools.chain(*found))
    assert any(chunk != sorted(chunk) for chunk in got)


def test_any_chunk_may_find_room_first(build: Build) -> None:
    """In a cache of a few chunks it is not the first ones that are offered; a get that wants order has order."""
    bench = awkward(build, Quirk.ANY_CHUNK_FIRST, chunk_size=1000, cache_size=4000)
    job = bench.wire.start_put("b", {"a": 30_000}).xml.attrib["JobId"]
    numbers = [int(one.attrib["ChunkNumber"]) for one in bench.wire.ready(job).xml.iter("Objects")]
    assert 1 <= len(numbers) <= 4
    assert numbers != list(range(1, len(numbers) + 1))
    bench.wire.ask("DELETE", f"/_rest_/job/{job}?force")
    bench.wire.put_all("b", {"c": bytes(2000)})
    ordered = bench.wire.start_get("b", ["c"], order="IN_ORDER").xml.attrib["JobId"]
    assert [one.get("ChunkNumber") for one in bench.wire.ready(ordered).xml.iter("Objects")] == ["1", "2"]


def test_slow_tapes_mean_a_hundred_empty_answers(build: Build) -> None:
    """Each says to come again in five minutes; then the chunks are there."""
    bench = awkward(build, Quirk.SLOW_TAPES)
    job = bench.wire.start_put("b", {"a": 10}).xml.attrib["JobId"]
    for _ in range(100):
        answer = bench.wire.ready(job)
        assert (answer.headers["retry-after"], blobs(answer)) == ("300", [])
    assert blobs(bench.wire.ready(job)) == [("a", 0)]


def test_shared_jobs_answer_with_what_others_asked_for(build: Build) -> None:
    """The second creation is answered by the first job, which lists the objects of both."""
    bench = awkward(build, Quirk.SHARED_JOBS)
    first = bench.wire.start_put("b", {"mine": 10}).xml
    second = bench.wire.start_put("b", {"yours": 20}, "&aggregating=false").xml
    assert first.get("JobId") == second.get("JobId")
    assert blobs(second) == [("mine", 0), ("yours", 0)]


def test_numbers_and_lists_of_jobs_are_late(build: Build) -> None:
    """Sizes and lists show what was five seconds ago; the job itself is shown at once."""
    clock = ManualClock(1_704_164_645.0)
    bench = awkward(build, Quirk.LATE_NUMBERS, clock=clock, persist_delay=3600.0)
    job = bench.wire.put_all("b", {"a": bytes(1000)})
    assert bench.wire.job(job).get("CachedSizeInBytes") == "0"
    assert bench.wire.ask("GET", "/_rest_/job").xml.find("Job") is None
    clock.advance(11.0)
    assert bench.wire.job(job).get("CachedSizeInBytes") == "1000"
    assert bench.wire.ask("GET", "/_rest_/job").xml.find("Job") is not None
    bench.wire.ask("DELETE", f"/_rest_/job/{job}?force")
    assert bench.wire.ask("GET", "/_rest_/canceled_job").xml.find("CanceledJob") is None
    clock.advance(11.0)
    assert bench.wire.ask("GET", "/_rest_/canceled_job").xml.find("CanceledJob") is not None


def test_old_documents_lack_what_came_later(build: Build) -> None:
    """No version id, no bucket of a blob, dates with a blank, chunk numbers from 0, no node address, no digests."""
    bench = awkward(build, *RELEASES["release-1.2"], Quirk.NODES_ELSEWHERE)
    created = bench.wire.start_put("b", {"a": 10}).xml
    blob, chunk, node = (next(created.iter(name)) for name in ("Object", "Objects", "Node"))
    assert (blob.get("Version"), blob.get("VersionId"), blob.get("Bucket")) == ("1", None, None)
    assert (chunk.get("ChunkNumber"), node.get("EndPoint"), created.get("EntirelyInCache")) == ("0", None, None)
    bench.wire.send("b", created.attrib["JobId"], {"a": bytes(10)}, created)
    listed = next(bench.wire.ask("GET", "/b").xml.iter("Contents"))
    assert listed.find("VersionId") is None
    date = listed.findtext("LastModified") or ""
    assert (date[10], date[-1].isdigit()) == (" ", True)
    head = bench.wire.ask("HEAD", "/b/a")
    assert not [name for name in head.headers if name.startswith(("ds3-blob", "version-id"))]


def test_release_3_0_tells_all_of_a_job_that_3_0_knew(build: Build) -> None:
    """Name, status and counters of 3.0 are there; a blob's bucket and the whole cache's word came with 3.2."""
    bench = awkward(build, *RELEASES["release-3.0"])
    created = bench.wire.start_put("b", {"a": 10}).xml
    blob = next(created.iter("Object"))
    assert (created.get("BucketName"), blob.get("Bucket"), created.get("EntirelyInCache")) == ("b", None, None)
    known = ("Aggregating", "CachedSizeInBytes", "Name", "Naked", "OriginalSizeInBytes", "Priority", "StartDate")
    assert [name for name in known if name not in created.attrib] == []
    listed = next(bench.wire.ask("GET", "/_rest_/job").xml.iter("Job"))
    assert (listed.get("Naked"), listed.get("EntirelyInCache")) == ("false", None)


@pytest.mark.parametrize(
    ("release", "version"),
    [("release-1.2", "1.2.0"), ("release-3.0", "3.0.1"), ("release-3.4", "3.4.1"), (None, "5.8.0")],
)
def test_an_appliance_says_which_release_it_is(build: Build, release: str | None, version: str) -> None:
    """Clients decide by the version of the build information: it is that of the release which is played."""
    bench = build(quirks=named_quirks([release, "offers-again"]) if release else frozenset(), bucket=None)
    assert bench.wire.ask("GET", "/_rest_/system_information").xml.findtext("BuildInformation/Version") == version


def test_placeholders_stand_for_addresses_of_nodes(build: Build) -> None:
    """The end point is a word, and no port of it is the appliance's."""
    bench = awkward(build, Quirk.NODES_ELSEWHERE)
    node = next(bench.wire.start_put("b", {"a": 10}).xml.iter("Node"))
    assert (node.get("EndPoint"), node.get("HttpPort")) == ("FAILED_TO_DETERMINE_DATAPATH_IP_ADDRESS", "1")


def test_new_words_and_empty_values_keep_the_documents_readable(build: Build) -> None:
    """Both leave well-formed XML with the names, offsets and lengths as they were."""
    bench = awkward(build, Quirk.UNKNOWN_WORDS, Quirk.EMPTY_VALUES)
    created = bench.wire.start_put("b", SIZES).xml
    assert blobs(created) == WHOLE
    assert (created.get("Priority"), created.get("OriginalSizeInBytes")) == ("GLACIAL", "")
    assert created.find("Provenance") is not None
    assert next(created.iter("Object")).get("Provenance") == "new"
    tape = next(bench.wire.ask("GET", "/_rest_/tape").xml.iter("Tape"))
    assert (tape.findtext("State"), tape.findtext("TotalRawCapacity")) == ("RESTING", "")


@pytest.mark.parametrize("quirk", [Quirk.BARE_ERRORS, Quirk.HTML_ERRORS, Quirk.ODD_ERROR_NUMBERS])
def test_refusals_keep_their_status_whatever_their_body(build: Build, quirk: Quirk) -> None:
    """Empty, HTML, or a document whose number is not the status."""
    bench = awkward(build, quirk)
    answer = bench.wire.ask("GET", "/none")
    assert answer.status == 404
    if quirk is Quirk.BARE_ERRORS:
        assert answer.body == b""
    elif quirk is Quirk.HTML_ERRORS:
        assert answer.headers["content-type"] == "text/html"
    else:
        assert (answer.code, answer.xml.findtext("HttpErrorCode")) == ("NoSuchBucket", "418")


def test_management_port_answers_nobody(build: Build) -> None:
    """404 with the header that tells it apart, whatever is asked."""
    bench = build(quirks=frozenset({Quirk.MANAGEMENT_PORT}), bucket=None)
    for verb, target in (("GET", "/"), ("PUT", "/b"), ("GET", "/_rest_/job")):
        answer = bench.wire.ask(verb, target)
        assert (answer.status, answer.headers.get("spectra-data-path-request-made-on-management-path")) == (404, "true")


def test_a_large_document_is_rewritten_too(build: Build, tmp_path: Path) -> None:
    """One that goes through a file comes out rewritten as a small one does."""
    bench = awkward(build, Quirk.INTEGER_VERSIONS, directory=str(tmp_path / "appliance"))
    names = {f"{number:05d}{'x' * 200}": 1 for number in range(16_000)}
    created = bench.wire.start_put("b", names)
    assert len(created.body) > 4 << 20
    assert all(one.get("Version") == "1" and one.get("VersionId") is None for one in created.xml.iter("Object"))


def test_quirks_are_named_by_hand() -> None:
    """Names of quirks and of releases are understood; another is refused with the list of them."""
    assert named_quirks(["offers-again", "release-3.4"]) == RELEASES["release-3.4"] | {Quirk.OFFERS_AGAIN}
    with pytest.raises(UsageError, match="no quirk 'shy'") as refused:
        named_quirks(["shy"])
    assert all(name in (refused.value.hint or "") for name in NAMES)
    assert ApplianceSettings().quirks == frozenset()
