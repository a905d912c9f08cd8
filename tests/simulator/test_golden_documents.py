"""The appliance's reader takes the golden requests, and what it writes has the shape of the golden responses."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from xml.etree import ElementTree as ET

import pytest

from ds3tool.protocol.model import ObjectToGet, ObjectToPut, Tape, Versioning
from ds3tool.simulator.documents import tape_fields
from ds3tool.simulator.tapes import library
from ds3tool.simulator.wire import xmlin, xmlout
from tests.golden.documents import REQUESTS, RESPONSES, Golden
from tests.simulator.conftest import Bench, Build

_BY_FILE = {golden.file: golden for golden in (*REQUESTS, *RESPONSES)}


@pytest.mark.parametrize("golden", REQUESTS, ids=lambda golden: golden.file)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_golden_request_is_read_as_what_it_means(golden: Golden, step: int) -> None:
    """Whole, and in pieces of any size."""
    pieces = [golden.data[place : place + step] for place in range(0, len(golden.data), step)]
    if golden.kind == "bulk put":
        listed = xmlin.read_put_list(pieces)
        read: object = tuple(ObjectToPut(name, size) for name, size in zip(listed.names, listed.sizes, strict=True))
    elif golden.kind == "delete objects":
        read = xmlin.read_delete(pieces).keys
    else:
        wanted = xmlin.read_wanted(pieces)
        read = tuple(ObjectToGet(each.name, each.offset, each.length, each.version_id) for each in wanted)
    assert read == golden.value


def _shape(element: ET.Element, above: str = "") -> set[str]:
    """Return the path of every element and attribute in a document."""
    path = f"{above}/{element.tag}"
    found = {path, *(f"{path}@{name}" for name in element.attrib)}
    for child in element:
        found |= _shape(child, path)
    return found


def _golden(file: str) -> ET.Element:
    return ET.fromstring(_BY_FILE[f"responses/{file}.xml"].data)


def _declare(bench: Bench) -> ET.Element:
    return bench.wire.start_put("b", {"2025/readings.bin": 1500, "2025/empty": 0, "x": 3000}).xml


def _stored(bench: Bench, *, cached: bool = True) -> None:
    bench.wire.put_all("b", {"2025/readings.bin": b"x" * 1500})
    bench.until_persisted()
    if not cached:
        bench.reclaim()


def _ask(target: str, prepare: Callable[[Bench], object] = _stored) -> Callable[[Bench], ET.Element]:
    def answer(bench: Bench) -> ET.Element:
        prepare(bench)
        return bench.wire.ask("GET", target).xml

    return answer


def _ready(bench: Bench) -> ET.Element:
    _stored(bench)
    return bench.wire.ready(bench.wire.start_get("b", ["2025/readings.bin"]).xml.attrib["JobId"]).xml


def _none_ready(bench: Bench) -> ET.Element:
    _stored(bench)
    job = bench.wire.bulk("start_bulk_verify", "b", '<Object Name="2025/readings.bin"/>')
    bench.until(lambda: True)
    return bench.wire.job(job.xml.attrib["JobId"])


def _chunk(bench: Bench, *, allocate: bool) -> ET.Element:
    chunk = _declare(bench).findall("Objects")[0].attrib["ChunkId"]
    if allocate:
        return bench.wire.ask("PUT", f"/_rest_/job_chunk/{chunk}?operation=allocate").xml
    return bench.wire.ask("GET", f"/_rest_/job_chunk/{chunk}").xml


def _half(bench: Bench) -> ET.Element:
    created = _declare(bench)
    job, first = created.attrib["JobId"], created.findall("Objects")[0].attrib["ChunkId"]
    bench.wire.ask("PUT", f"/_rest_/job_chunk/{first}?operation=allocate")
    return bench.wire.job(job)


def _canceled(bench: Bench) -> ET.Element:
    job = _declare(bench).attrib["JobId"]
    bench.wire.ask("DELETE", f"/_rest_/job/{job}?force")
    return bench.wire.job(job)


def _completed(bench: Bench) -> ET.Element:
    job = bench.wire.put_all("b", {"a": b"x"})
    bench.until_persisted()
    return bench.wire.job(job)


def _deleted(bench: Bench) -> ET.Element:
    _stored(bench)
    version = bench.wire.ask("HEAD", "/b/2025/readings.bin").headers["version-id"]
    body = (
        "<Delete><Object><Key>2025/readings.bin</Key></Object><Object><Key>none</Key></Object>"
        f"<Object><Key>none</Key><VersionId>{version}</VersionId></Object></Delete>"
    )
    return bench.wire.ask("POST", "/b?delete", body.encode()).xml


def _quiet(bench: Bench) -> ET.Element:
    _stored(bench)
    body = b"<Delete><Quiet>true</Quiet><Object><Key>2025/readings.bin</Key></Object></Delete>"
    return bench.wire.ask("POST", "/b?delete", body).xml


def _placement(name: str, parameters: str = "") -> Callable[[Bench], ET.Element]:
    def answer(bench: Bench) -> ET.Element:
        _stored(bench)
        return bench.wire.bulk("get_physical_placement", "b", f'<Object Name="{name}"/>', parameters).xml

    return answer


def _failures(bench: Bench) -> ET.Element:
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?state=LOST")
    return bench.wire.ask("PUT", "/_rest_/tape?operation=online").xml


def _tapes_away(bench: Bench) -> ET.Element:
    _stored(bench, cached=False)
    bench.wire.ask("PUT", "/_rest_/tape?operation=eject")
    return bench.wire.start_get("b", ["2025/readings.bin"]).xml


def _three(bench: Bench) -> None:
    bench.wire.put_all("b", {"2024/a": b"1", "README": b"2", "z": b"3"})


def _twice(bench: Bench) -> ET.Element:
    _declare(bench)
    return bench.wire.start_put("b", {"2025/readings.bin": 1}).xml


def _nothing(_: Bench) -> None:
    return None


# What a golden document has and the appliance leaves out, being optional, or has one kind of instead of another.
_SCENES: dict[str, Callable[[Bench], ET.Element]] = {
    "service": _ask("/"),
    "listing": _ask("/b?prefix=2025/"),
    "listing-prefixes": _ask("/b?delimiter=/&max_keys=2", _three),
    "listing-empty": _ask("/b?prefix=none", _nothing),
    "delete-result": _deleted,
    "delete-result-quiet": _quiet,
    "job-put": _half,
    "job-completed": _completed,
    "job-canceled": _canceled,
    "chunks-ready": _ready,
    "chunk-allocated": lambda bench: _chunk(bench, allocate=True),
    "chunk-unallocated": lambda bench: _chunk(bench, allocate=False),
    "jobs": _ask("/_rest_/job", _declare),
    "jobs-empty": _ask("/_rest_/job", _nothing),
    "active-jobs": _ask("/_rest_/active_job", _declare),
    "completed-jobs": _ask("/_rest_/completed_job"),
    "canceled-jobs": _ask("/_rest_/canceled_job", _canceled),
    "list-empty": _ask("/_rest_/completed_job", _nothing),
    "bucket": _ask("/_rest_/bucket/b"),
    "data-policies": _ask("/_rest_/data_policy"),
    "persistence-rules": _ask("/_rest_/data_persistence_rule"),
    "tape": _ask("/_rest_/tape/SIM001L8"),
    "tapes": _ask("/_rest_/tape"),
    "tape-failures": _failures,
    "placement-empty": _placement("none"),
    "placement-blobs": _placement("2025/readings.bin", "&full_details"),
    "object": _ask("/_rest_/object/2025/readings.bin?bucket_id=b"),
    "objects": _ask("/_rest_/object"),
    "objects-full": _ask("/_rest_/object?full_details"),
    "objects-full-placement": _ask("/_rest_/object?full_details&include_physical_placement"),
    "cache-state": _ask("/_rest_/cache_state"),
    "system-information": _ask("/_rest_/system_information"),
    "system-health": _ask("/_rest_/system_health"),
    "error-no-such-bucket": lambda bench: bench.wire.ask("GET", "/none").xml,
    "error-object-exists": _twice,
    "error-tapes-offline": _tapes_away,
}
# Attributes and elements that may be left out, and that the two sides leave out differently; none has to be there.
_OPTIONAL = {"EntirelyInCache", "HttpsPort", "Protected"}


def _drop_optional(root: ET.Element) -> ET.Element:
    for each in root.iter():
        for name in _OPTIONAL & set(each.attrib):
            del each.attrib[name]
        for child in [child for child in each if child.tag in _OPTIONAL]:
            each.remove(child)
    return root


@pytest.mark.parametrize("file", _SCENES)
def test_the_appliance_writes_the_shape_of_the_golden_response(build: Build, file: str) -> None:
    """The same elements and attributes below each other, neither more nor fewer."""
    bench = build(blob_size=1000, chunk_size=2000, versioning=Versioning.NONE)
    written = _SCENES[file](bench)
    assert _shape(_drop_optional(written)) == _shape(_drop_optional(_golden(file)))


def test_an_appliance_without_buckets_writes_the_golden_document(build: Build) -> None:
    """The wrapper is there although it is empty."""
    bench = build(bucket=None)
    assert _shape(bench.wire.ask("GET", "/").xml) == _shape(_golden("service-no-buckets"))


def test_an_object_of_several_versions_is_listed_in_the_golden_shape(build: Build) -> None:
    """`Version` elements."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    bench.wire.put_all("b", {"a": b"1"})
    bench.wire.put_all("b", {"a": b"2"})
    assert _shape(bench.wire.ask("GET", "/b?versions").xml) == _shape(_golden("listing-versions"))


@pytest.mark.parametrize("file", ["tape", "tape-ejected"])
def test_a_tape_is_written_value_by_value(file: str) -> None:
    """The golden tape's values, put into the appliance's own tape, give the golden document."""
    meant = _BY_FILE[f"responses/{file}.xml"].value
    assert isinstance(meant, Tape)

    def seconds(moment: datetime | None) -> float | None:
        return None if moment is None else moment.timestamp()

    total = meant.total_bytes or 0
    tape = library.Tape(
        n=1,
        id=meant.id,
        bar_code=meant.bar_code,
        type=meant.type or "",
        serial=meant.serial_number or "",
        partition_id=meant.partition_id or "",
        capacity=total,
        written=total - (meant.available_bytes or 0),
        state=meant.state.value,
        previous_state=meant.previous_state.value if meant.previous_state else None,
        full=meant.full,
        role="NORMAL",
        member_id=meant.storage_domain_member_id,
        domain_id="a domain",
        bucket_id=meant.bucket_id,
        eject_pending=seconds(meant.eject_pending),
        eject_date=seconds(meant.eject_date),
        eject_label=meant.eject_label,
        eject_location=meant.eject_location,
        accessed=seconds(meant.last_accessed),
        modified=seconds(meant.last_modified),
        verified=seconds(meant.last_verified),
    )
    written = ET.fromstring(xmlout.document(xmlout.bean("Data", tape_fields(tape))))
    # The appliance knows no checkpoints, and protects no tape against writing.
    unknown = {"LastCheckpoint", "WriteProtected"}
    golden = {each.tag: each.text for each in _golden(file) if each.tag not in unknown}
    assert {each.tag: each.text for each in written if each.tag not in unknown} == golden


def test_an_odd_name_is_written_as_the_golden_chunk_has_it(build: Build) -> None:
    """The very bytes of the attribute, line feed and quotes escaped."""
    name = 'a & "b" <c>\n+%2F;\''
    created = build().wire.start_put("b", {name: 3})
    pattern = re.compile(rb'Name="([^"]*)" Offset')
    golden = pattern.search(_BY_FILE["responses/chunk-allocated.xml"].data)
    written = pattern.search(created.body)
    assert golden is not None
    assert written is not None
    assert written[1] == golden[1]
