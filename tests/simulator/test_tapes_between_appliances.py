"""Tapes that go from one appliance to another, tapes of nobody's, and what an import makes of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ds3tool.simulator.tapes.index import BadIndexError, TapeLabel, read_entries, read_label, write_index
from ds3tool.simulator.tapes.operator import Operator
from ds3tool.simulator.wire.refusals import Refusal
from tests.simulator.conftest import Bench, Build


def _until(bench: Bench, code: str, state: str) -> None:
    tape = bench.appliance.machine.library.find(code)
    bench.until(lambda: tape.state == state, f"{code} never became {state}")


def _tape_of(bench: Bench, name: str) -> str:
    placed = bench.wire.bulk("get_physical_placement", "b", f'<Object Name="{name}"/>').xml
    return placed.findtext("Tapes/Tape/BarCode") or ""


def _shelve(bench: Bench, code: str, folder: Path) -> Path:
    """Eject a tape, and copy it to a folder."""
    assert bench.wire.ask("PUT", f"/_rest_/tape/{code}?operation=eject").status == 200
    _until(bench, code, "EJECTED")
    return Operator(bench.appliance.machine).export(code, folder)


def _insert(bench: Bench, index: Path, code: str, state: str = "FOREIGN") -> None:
    """Put a tape in under another bar code, and wait until a drive has looked at it."""
    Operator(bench.appliance.machine).insert(index, bar_code=code)
    _until(bench, code, state)


def _import(bench: Bench, code: str, parameters: str = "", state: str = "NORMAL") -> None:
    shown = bench.wire.ask("PUT", f"/_rest_/tape/{code}?operation=import{parameters}")
    assert shown.status == 200, shown
    assert shown.xml.findtext("State", "").removeprefix("RAW_") == "IMPORT_PENDING"
    _until(bench, code, state)


def _read(bench: Bench, bucket: str, name: str) -> bytes:
    """Get an object, all of its blobs, by a job."""
    created = bench.wire.start_get(bucket, [name])
    assert created.status == 200, created
    job, parts = created.xml.attrib["JobId"], {}
    for offset in {int(blob.attrib["Offset"]) for blob in created.xml.iter("Object")}:
        reply = bench.wire.get_blob(bucket, name, job, offset)
        while reply.status == 307:  # it is held for a while, then told to come again
            reply = bench.wire.get_blob(bucket, name, job, offset)
        assert reply.status == 200, reply
        parts[offset] = reply.body
    return b"".join(body for _, body in sorted(parts.items()))


def _failures(bench: Bench) -> list[str | None]:
    return [each.findtext("Type") for each in bench.wire.ask("GET", "/_rest_/tape_failure").xml]


@pytest.fixture
def carried(build: Build, tmp_path: Path) -> tuple[Bench, Path]:
    """An appliance and a tape of it that went out: two objects, one of three blobs, one with metadata."""
    bench = build(blob_size=1000, chunk_size=3000, seed=1)
    created = bench.wire.start_put("b", {"small": 10, "large": 2700})
    job = created.xml.attrib["JobId"]
    bench.wire.put_blob("b", "small", job, 0, b"s" * 10, **{"x-amz-meta-kind": "tiny"})
    for offset in (0, 1000, 2000):
        bench.wire.put_blob("b", "large", job, offset, (b"abc" * 900)[offset : offset + 1000])
    bench.until_persisted()
    return bench, _shelve(bench, _tape_of(bench, "small"), tmp_path / "shelf")


def test_a_tape_that_leaves_tells_what_is_on_it(carried: tuple[Bench, Path]) -> None:
    """Whose it is, and every blob with its object and its place, in the tape's order."""
    bench, index = carried
    label = read_label(index)
    assert label is not None
    assert (label.owner, label.bar_code, label.written) == (bench.appliance.machine.instance_id, "SIM001L8", 2710)
    told = [(entry.name, entry.length, entry.position) for entry in read_entries(index)]
    assert sorted(told) == [("large", 700, 2010), ("large", 1000, 10), ("large", 1000, 1010), ("small", 10, 0)]
    assert index.with_suffix(".tape").read_bytes() == b"s" * 10 + b"abc" * 900


def test_a_foreign_tape_is_imported_with_buckets_objects_and_bytes(carried: tuple[Bench, Path], build: Build) -> None:
    """FOREIGN when it comes; then its objects are there with date, ETag and metadata, and are read from that tape."""
    first, index = carried
    bench = build(bucket=None, seed=2)
    _insert(bench, index, "FAR001L8")
    shown = bench.wire.ask("GET", "/_rest_/tape/FAR001L8").xml
    owner = f":BlackPearl@{first.appliance.machine.instance_id}"
    assert (shown.findtext("DescriptionForIdentification") or "").endswith(owner)
    assert bench.wire.ask("GET", "/b").status == 404
    _import(bench, "FAR001L8")
    assert _read(bench, "b", "small") == b"s" * 10
    assert _read(bench, "b", "large") == b"abc" * 900
    before, after = first.wire.ask("HEAD", "/b/large"), bench.wire.ask("HEAD", "/b/large")
    names = ("etag", "content-length", "last-modified")
    assert [before.headers[name] for name in names] == [after.headers[name] for name in names]
    assert bench.wire.ask("HEAD", "/b/small").headers["x-amz-meta-kind"] == "tiny"
    assert _tape_of(bench, "large") == "FAR001L8"
    shown = bench.wire.ask("GET", "/_rest_/tape/FAR001L8").xml
    assert shown.findtext("AssignedToStorageDomain") == "true"
    assert int(shown.findtext("TotalRawCapacity") or 0) - int(shown.findtext("AvailableRawCapacity") or 0) == 2710
    assert _failures(bench) == []


def test_what_is_written_after_an_import_goes_behind_it(carried: tuple[Bench, Path], build: Build) -> None:
    """An imported tape is filled on, and what was on it stays."""
    bench = build(bucket=None, seed=2, tapes=0)
    _insert(bench, carried[1], "FAR001L8")
    _import(bench, "FAR001L8")
    bench.wire.put_all("b", {"more": b"m" * 50})
    bench.until_persisted()
    bench.reclaim()
    assert (_read(bench, "b", "more"), _read(bench, "b", "small")) == (b"m" * 50, b"s" * 10)
    assert _tape_of(bench, "more") == "FAR001L8"


def test_a_damaged_tape_is_not_imported_unless_nobody_looks(carried: tuple[Bench, Path], build: Build) -> None:
    """It stays FOREIGN and a failure tells why; without reading before it comes in, and reading after finds it."""
    index = carried[1]
    content = bytearray(index.with_suffix(".tape").read_bytes())
    content[500] ^= 1
    index.with_suffix(".tape").write_bytes(content)
    bench = build(bucket=None, seed=2)
    _insert(bench, index, "FAR001L8")
    _import(bench, "FAR001L8", state="FOREIGN")
    assert _failures(bench) == ["IMPORT_FAILED_DUE_TO_DATA_INTEGRITY"]
    _import(bench, "FAR001L8", "&verify_data_prior_to_import=false&verify_data_after_import=LOW")
    tape = bench.appliance.machine.library.find("FAR001L8")
    bench.until(lambda: tape.verify_pending is None and tape.verified is not None)
    assert _failures(bench)[0] == "VERIFY_FAILED"
    suspects = bench.wire.ask("GET", "/_rest_/suspect_blob_tape?tape_id=FAR001L8").xml
    assert len(suspects) == 1


def test_a_tape_with_its_tab_set_stays_anothers(carried: tuple[Bench, Path], build: Build) -> None:
    """Ownership cannot be written to it, and a failure tells so."""
    bench = build(bucket=None, seed=2)
    _insert(bench, carried[1], "FAR001L8")
    Operator(bench.appliance.machine).protect("FAR001L8")
    _import(bench, "FAR001L8", state="FOREIGN")
    assert _failures(bench) == ["IMPORT_FAILED_DUE_TO_TAKE_OWNERSHIP_FAILURE"]


def test_names_that_are_taken_are_left_out(carried: tuple[Bench, Path], build: Build) -> None:
    """In a bucket without versions the object that was there stays, and the failure counts what did not come in."""
    bench = build(seed=2)
    bench.wire.ask("PUT", "/b/small", b"mine")
    _insert(bench, carried[1], "FAR001L8")
    _import(bench, "FAR001L8")
    assert (_read(bench, "b", "small"), _read(bench, "b", "large")) == (b"mine", b"abc" * 900)
    assert _failures(bench) == ["IMPORT_INCOMPLETE"]


def test_other_bytes_under_a_known_version_are_left_out(build: Build, tmp_path: Path) -> None:
    """Appliances of one seed count alike: what has the version and the length of an object here is not taken for it."""
    benches = [build(blob_size=1000), build(blob_size=1000)]
    for bench, data in zip(benches, (b"a" * 500, b"b" * 500), strict=True):
        bench.wire.put_all("b", {"same": data})
        bench.until_persisted()
    there, here = benches
    index = _shelve(there, "SIM001L8", tmp_path / "there")
    with here.appliance.machine.store.writing() as db:
        db.execute("UPDATE copies SET suspect = 1")
    _insert(here, index, "FAR001L8")
    _import(here, "FAR001L8")
    assert _failures(here) == ["IMPORT_INCOMPLETE"]
    assert here.appliance.machine.store.db.execute("SELECT DISTINCT suspect FROM copies").fetchall() == [(1,)]


@pytest.mark.parametrize(("name", "size"), [("a", 2500), ("other", 2500), ("a", 1500), ("other", 1500)])
def test_nothing_is_added_to_an_object_that_is_whole(build: Build, tmp_path: Path, name: str, size: int) -> None:
    """Appliances of one seed count alike: blobs of another object of the same version do not become part of it."""
    there, here = build(blob_size=500), build(blob_size=2000)
    there.wire.put_all("b", {name: b"t" * size})
    there.until_persisted()
    here.wire.put_all("b", {"a": b"h" * 1500})
    here.until_persisted()
    index = _shelve(there, "SIM001L8", tmp_path / "there")
    with here.appliance.machine.store.writing() as db:
        db.execute("UPDATE copies SET suspect = 1")
    _insert(here, index, "FAR001L8")
    _import(here, "FAR001L8")
    assert here.wire.ask("GET", "/b/a").body == b"h" * 1500
    (failure,) = here.wire.ask("GET", "/_rest_/tape_failure").xml
    assert f"{size // 500} blobs were left out" in str(failure.findtext("ErrorMessage"))


def test_the_second_copy_joins_the_first(build: Build, tmp_path: Path) -> None:
    """Two tapes with the same objects become two copies, one in each storage domain."""
    first = build(copies=2, seed=1)
    first.wire.put_all("b", {"a": b"twice" * 100})
    first.until_persisted()
    placed = first.wire.bulk("get_physical_placement", "b", '<Object Name="a"/>').xml
    codes = [code.text or "" for code in placed.iter("BarCode")]
    indexes = [_shelve(first, code, tmp_path / code) for code in codes]
    bench = build(bucket=None, copies=2, seed=2, tapes=0)
    for number, index in enumerate(indexes):
        _insert(bench, index, f"FAR00{number}L8")
        _import(bench, f"FAR00{number}L8")
    placed = bench.wire.bulk("get_physical_placement", "b", '<Object Name="a"/>').xml
    assert sorted(code.text or "" for code in placed.iter("BarCode")) == ["FAR000L8", "FAR001L8"]
    assert len({each.text for each in placed.iter("StorageDomainMemberId")}) == 2
    assert bench.wire.ask("GET", "/_rest_/object?bucket_id=b").headers["total-result-count"] == "1"
    assert _failures(bench) == []


def test_an_object_that_spans_tapes_is_there_with_the_last_of_them(build: Build, tmp_path: Path) -> None:
    """Until then it is not listed, and the failure says that it goes on elsewhere."""
    first = build(blob_size=1000, tape_capacity=2500, seed=1)
    first.wire.put_all("b", {"wide": b"w" * 4000})
    first.until_persisted()
    placed = first.wire.bulk("get_physical_placement", "b", '<Object Name="wide"/>').xml
    indexes = [_shelve(first, code.text or "", tmp_path / str(code.text)) for code in placed.iter("BarCode")]
    assert len(indexes) == 2
    bench = build(bucket=None, seed=2, tapes=0)
    _insert(bench, indexes[0], "FAR001L8")
    _import(bench, "FAR001L8")
    assert _failures(bench) == ["IMPORT_INCOMPLETE"]
    assert bench.wire.ask("GET", "/b/wide").status == 404
    _insert(bench, indexes[1], "FAR002L8")
    _import(bench, "FAR002L8")
    assert _read(bench, "b", "wide") == b"w" * 4000


def test_an_import_can_be_called_off_before_it_begins(carried: tuple[Bench, Path], build: Build) -> None:
    """With its drives quiesced it waits; cancelled, the tape is FOREIGN as before; a 409 when there is nothing."""
    bench = build(bucket=None, seed=2)
    _insert(bench, carried[1], "FAR001L8")
    assert bench.wire.ask("PUT", "/_rest_/tape_partition?quiesced=PENDING").status == 204
    bench.wire.ask("PUT", "/_rest_/tape/FAR001L8?operation=import")
    shown = bench.wire.ask("PUT", "/_rest_/tape/FAR001L8?operation=cancel_import").xml
    assert shown.findtext("State") == "FOREIGN"
    assert bench.wire.ask("PUT", "/_rest_/tape/FAR001L8?operation=cancel_import").status == 409
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=import").status == 409


def test_an_import_that_a_restart_interrupts_goes_on(carried: tuple[Bench, Path], build: Build, tmp_path: Path) -> None:
    """What had been asked for is done after the next start, with the options that it was asked for with."""
    place = str(tmp_path / "state")
    first = build(bucket=None, seed=2, directory=place)
    _insert(first, carried[1], "FAR001L8")
    first.wire.ask("PUT", "/_rest_/tape_partition?quiesced=PENDING")
    first.wire.ask("PUT", "/_rest_/tape/FAR001L8?operation=import&verify_data_after_import=HIGH")
    first.wire.close()
    first.appliance.close()
    second = build(bucket=None, seed=2, directory=place)
    assert second.appliance.machine.library.find("FAR001L8").state == "IMPORT_PENDING"
    second.wire.ask("PUT", "/_rest_/tape_partition?quiesced=NO")
    _until(second, "FAR001L8", "NORMAL")
    tape = second.appliance.machine.library.find("FAR001L8")
    second.until(lambda: tape.verified is not None)
    assert _read(second, "b", "small") == b"s" * 10


def test_a_tape_of_nobodys_becomes_objects_of_a_bucket(build: Build, tmp_path: Path) -> None:
    """Files of an LTFS tape, cut into blobs, under their paths; a FOREIGN import of it is refused."""
    bench = build(blob_size=1000)
    files = tmp_path / "files"
    (files / "deep").mkdir(parents=True)
    (files / "a").write_bytes(b"a" * 2500)
    (files / "deep" / "empty").touch()
    operator = Operator(bench.appliance.machine)
    index = operator.write_files(tmp_path / "shelf", files, "LTFS01L8")
    operator.insert(index, shelf=True)
    _until(bench, "LTFS01L8", "LTFS_WITH_FOREIGN_DATA")
    assert bench.wire.ask("PUT", "/_rest_/tape/LTFS01L8?operation=import").status == 409
    _import(bench, "LTFS01L8", "&bucket_id=b")
    assert (_read(bench, "b", "a"), _read(bench, "b", "deep/empty")) == (b"a" * 2500, b"")
    blobs = bench.wire.ask("GET", "/_rest_/tape/LTFS01L8?operation=get_physical_placement").xml
    assert sorted((blob.attrib["Name"], blob.attrib["Offset"]) for blob in blobs) == [
        *(("a", offset) for offset in ("0", "1000", "2000")),
        ("deep/empty", "0"),
    ]


def test_a_tape_that_comes_back_is_known_again(carried: tuple[Bench, Path]) -> None:
    """Its copies are within reach as before; under the same bar code another cartridge is not taken for it."""
    bench, index = carried
    bench.reclaim()
    operator = Operator(bench.appliance.machine)
    operator.insert(index)
    _until(bench, "SIM001L8", "NORMAL")
    assert _read(bench, "b", "large") == b"abc" * 900
    with pytest.raises(Refusal, match="two tapes"):
        operator.insert(index)
    failures = bench.wire.ask("GET", "/_rest_/tape_partition_failure").xml
    assert [each.findtext("Type") for each in failures] == ["DUPLICATE_TAPE_BAR_CODES_DETECTED"]


def test_another_cartridge_does_not_take_the_place_of_one_that_is_outside(
    carried: tuple[Bench, Path], build: Build, tmp_path: Path
) -> None:
    """Two appliances name their tapes alike: what is on the one that is outside is read when it is back."""
    bench, _ = carried
    other = build(seed=8, blob_size=1000)
    other.wire.put_all("b", {"of another": b"o" * 10_000})
    other.until_persisted()
    index = _shelve(other, "SIM001L8", tmp_path / "other")
    bench.reclaim()
    operator = Operator(bench.appliance.machine)
    with pytest.raises(Refusal, match="two tapes"):
        operator.insert(index)
    operator.bring_back("SIM001L8", shelf=True)
    _until(bench, "SIM001L8", "NORMAL")
    assert _read(bench, "b", "large") == b"abc" * 900


def test_an_old_copy_of_a_tape_is_told_from_the_tape(carried: tuple[Bench, Path]) -> None:
    """What is written to a tape after it was copied is not on the copy: its checkpoint is another one."""
    bench, index = carried
    operator = Operator(bench.appliance.machine)
    operator.bring_back("SIM001L8", shelf=True)
    _until(bench, "SIM001L8", "NORMAL")
    bench.wire.put_all("b", {"more": b"m" * 10})
    bench.until_persisted()
    assert _tape_of(bench, "more") == "SIM001L8"
    bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=eject")
    _until(bench, "SIM001L8", "EJECTED")
    operator.insert(index)
    _until(bench, "SIM001L8", "DATA_CHECKPOINT_FAILURE")
    assert _failures(bench) == ["DATA_CHECKPOINT_FAILURE"]


@pytest.mark.parametrize(
    "line", ["", "{", "[]", '{"index": "else"}', '{"index": "ds3tool-tape", "release": 1, "owner": 5}']
)
def test_an_index_that_is_none_is_no_tape(bench: Bench, tmp_path: Path, line: str) -> None:
    """It is refused with a 400, and read as an error."""
    index = tmp_path / "X.index"
    index.write_text(line + "\n", encoding="utf-8")
    index.with_suffix(".tape").touch()
    with pytest.raises(BadIndexError):
        read_label(index)
    with pytest.raises(Refusal, match="is no tape"):
        Operator(bench.appliance.machine).insert(index)


_BLOB: dict[str, object] = {
    "bucket": "b",
    "name": "a",
    "version": "v",
    "size": 5,
    "created": 1.0,
    "latest": True,
    "etag": None,
    "metadata": None,
    "offset": 0,
    "length": 5,
    "checksum_type": "MD5",
    "checksum": hashlib.md5(b"hello").hexdigest(),
    "position": 0,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 6},
        {"position": 1 << 40},
        {"offset": -1},
        {"size": "5"},
        {"created": float("nan")},
        {"latest": 1},
        {"metadata": {"a": 1}},
        {"metadata": {"a": "1\r\nSet-Cookie: x"}},
        {"checksum": "00"},
        {"checksum_type": "XOR", "checksum": ""},
        {"more": 1},
    ],
)
def test_an_index_that_tells_what_cannot_be_brings_nothing_in(
    build: Build, tmp_path: Path, wrong: dict[str, object]
) -> None:
    """The tape stays FOREIGN, with a failure, and there is no bucket of it."""
    index = tmp_path / "ODD001L8.index"
    label = TapeLabel("00000000-0000-4000-8000-000000000000", "t", "ODD001L8", "S1", "LTO8", 100, 5)
    write_index(index, label, [])
    with index.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_BLOB | wrong) + "\n")
    index.with_suffix(".tape").write_bytes(b"hello")
    bench = build(bucket=None)
    _insert(bench, index, "ODD001L8")
    _import(bench, "ODD001L8", "&verify_data_prior_to_import=false", state="FOREIGN")
    assert _failures(bench) == ["IMPORT_FAILED"]
    assert bench.wire.ask("GET", "/b").status == 404


def test_names_that_no_object_can_have_are_left_out(build: Build, tmp_path: Path) -> None:
    """And so are buckets that there cannot be; the rest comes in."""
    index = tmp_path / "ODD001L8.index"
    label = TapeLabel("00000000-0000-4000-8000-000000000000", "t", "ODD001L8", "S1", "LTO8", 100, 5)
    write_index(index, label, [])
    wanted = [("b", "good"), ("b", "bad\x00"), ("_rest_", "x"), ("b", "")]
    with index.open("a", encoding="utf-8") as file:
        for number, (bucket, name) in enumerate(wanted):
            line = _BLOB | {"bucket": bucket, "name": name, "version": str(number)}
            file.write(json.dumps(line) + "\n")
    index.with_suffix(".tape").write_bytes(b"hello")
    bench = build(bucket=None)
    _insert(bench, index, "ODD001L8")
    _import(bench, "ODD001L8")
    assert _failures(bench) == ["IMPORT_INCOMPLETE"]
    assert _read(bench, "b", "good") == b"hello"
    assert bench.wire.ask("GET", "/_rest_/object?bucket_id=b").headers["total-result-count"] == "1"
