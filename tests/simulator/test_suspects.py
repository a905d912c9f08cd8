"""Copies that could not be read, and what lacks a copy: listed, trusted again, given up."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ds3tool.simulator.tapes.operator import Operator
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer

TAPES = "/_rest_/suspect_blob_tape"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def spoiled(build: Build) -> Bench:
    """Return an appliance that keeps two copies, the first of `a` bad and found out, `b` and `c` as they should be."""
    bench = build(blob_size=1000, chunk_size=3000, copies=2, tapes=2)
    bench.wire.put_all("b", {"a": b"a" * 500, "b": b"b" * 500, "c": b"c" * 1500})
    bench.until_persisted()
    suspect(bench, "a")
    return bench


def suspect(bench: Bench, name: str, domain: str = "Tape first copy") -> None:
    """Let the appliance doubt one copy of the blobs of an object."""
    machine = bench.appliance.machine
    with machine.store.writing() as db:
        db.execute(
            "UPDATE copies SET suspect = 1 WHERE domain = ? AND blob IN "
            "(SELECT b.n FROM blobs b JOIN objects o ON o.n = b.object WHERE o.name = ?)",
            (machine.beans.find("StorageDomain", domain)["Id"], name),
        )


def names(answer: Answer, tag: str) -> list[str | None]:
    """Return the text of every `tag`."""
    return [each.text for each in answer.xml.iter(tag)]


def ids(*texts: str | None) -> bytes:
    """Return the body that names records."""
    return b"<Ids>" + b"".join(f"<Id>{text}</Id>".encode() for text in texts) + b"</Ids>"


def test_suspects_are_listed_by_object_bucket_blob_and_copy(spoiled: Bench) -> None:
    """Each list tells the same from its side, with filters and pages."""
    wire = spoiled.wire
    wire.ask("PUT", "/clean")
    assert names(wire.ask("GET", "/_rest_/suspect_object"), "Name") == ["a"]
    assert names(wire.ask("GET", "/_rest_/suspect_object?bucket_id=clean"), "Name") == []
    assert names(wire.ask("GET", "/_rest_/suspect_bucket"), "Name") == ["b"]
    assert names(wire.ask("GET", "/_rest_/suspect_bucket?name=c*"), "Name") == []
    (blob,) = wire.ask("GET", "/_rest_/suspect_object?full_details&storage_domain=Tape%20first%20copy").xml
    assert (blob.get("Name"), len(list(blob.iter("Tape")))) == ("a", 1)
    assert len(wire.ask("GET", "/_rest_/suspect_object?full_details&storage_domain=Tape%20second%20copy").xml) == 0
    (copy,) = wire.ask("GET", TAPES).xml
    assert copy.findtext("BlobId") == blob.get("Id")
    tape = copy.findtext("TapeId")
    suspect(spoiled, "c")
    assert len(wire.ask("GET", f"{TAPES}?tape_id={tape}").xml) == 3
    assert len(wire.ask("GET", f"{TAPES}?blob_id={blob.get('Id')}").xml) == 1
    first = wire.ask("GET", f"{TAPES}?page_length=1")
    assert (first.headers["page-truncated"], first.headers["total-result-count"]) == ("2", "3")
    marker = first.xml[0].findtext("Id")
    rest = wire.ask("GET", f"{TAPES}?page_start_marker={marker}")
    assert [each.findtext("Id") for each in rest.xml] == names(wire.ask("GET", TAPES), "Id")[1:]


def test_a_copy_that_is_cleared_is_good_again(spoiled: Bench) -> None:
    """It is in no list any more; with an id of a good one nothing is cleared."""
    wire = spoiled.wire
    suspect(spoiled, "b")
    first, second = names(wire.ask("GET", TAPES), "Id")
    assert wire.ask("DELETE", TAPES, ids(first)).status == 204
    assert names(wire.ask("GET", TAPES), "Id") == [second]
    assert wire.ask("DELETE", TAPES, ids(second, first)).status == 409
    assert names(wire.ask("GET", TAPES), "Id") == [second]
    assert wire.ask("DELETE", TAPES, ids(second).lower()).status == 204
    assert len(wire.ask("GET", TAPES).xml) == 0
    assert len(wire.ask("GET", "/_rest_/degraded_blob").xml) == 0


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
@pytest.mark.parametrize("place", ["tape", "pool", "ds3_target", "azure_target", "s3_target"])
def test_nothing_is_meant_by_saying_nothing(bench: Bench, verb: str, place: str) -> None:
    """A body or force is needed, of the right form; force on nothing is done at once, an unknown id is a 404."""
    target = f"/_rest_/suspect_blob_{place}"
    assert bench.wire.ask(verb, target).status == 400
    assert bench.wire.ask(verb, target, b"<Ids/>").status == 400
    assert bench.wire.ask(verb, target, b"<Objects><Object Name='x'/></Objects>").status == 400
    assert bench.wire.ask(verb, target, b"<Ids><Id>x").status == 400
    assert bench.wire.ask(verb, f"{target}?force").status == 204
    assert bench.wire.ask(verb, target, ids(NOBODY)).status == 404
    listed = bench.wire.ask("GET", target)
    assert (listed.body, listed.headers["total-result-count"]) == (b"<Data/>", "0")


def degraded(bench: Bench, parameters: str = "") -> list[ET.Element]:
    """Return the records of degraded blobs."""
    return list(bench.wire.ask("GET", f"/_rest_/degraded_blob{parameters}").xml)


def test_nothing_is_degraded_that_lies_where_it_should(build: Build) -> None:
    """Neither what is on every tape, nor what is on its way, nor what is only suspect."""
    bench = build(blob_size=1000, persist_delay=3600.0, copies=2)
    bench.wire.put_all("b", {"coming": b"x"})
    assert degraded(bench) == []
    assert len(bench.wire.ask("GET", "/_rest_/degraded_bucket").xml) == 0
    assert len(bench.wire.ask("GET", "/_rest_/degraded_data_persistence_rule").xml) == 0
    for kind in ("azure", "ds3", "s3"):
        shown = bench.wire.ask("GET", f"/_rest_/degraded_{kind}_data_replication_rule")
        assert (shown.status, shown.body) == (200, b"<Data/>")


def test_a_lost_tape_degrades_what_was_on_it(spoiled: Bench) -> None:
    """Blob, bucket, rule and the details of the object tell of it, and only while the tape is lost."""
    wire, machine = spoiled.wire, spoiled.appliance.machine
    wire.ask("PUT", "/clean")
    domain = machine.beans.find("StorageDomain", "Tape second copy")["Id"]
    (tape,) = (tape for tape in machine.library.tapes.values() if tape.domain_id == domain)
    assert wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?state=LOST").status == 200
    found = degraded(spoiled)
    rules = {each.findtext("PersistenceRuleId") for each in found}
    (rule,) = wire.ask("GET", "/_rest_/degraded_data_persistence_rule").xml
    assert rules == {rule.findtext("Id")}
    assert rule.findtext("StorageDomainId") == domain
    assert len({each.findtext("BlobId") for each in found}) == len({each.findtext("Id") for each in found}) == 4
    assert names(wire.ask("GET", "/_rest_/degraded_bucket"), "Name") == ["b"]
    shown = wire.ask("GET", "/_rest_/object?full_details").xml
    assert {each.findtext("Name"): each.findtext("BlobsDegraded") for each in shown} == {"a": "1", "b": "1", "c": "2"}
    blob = found[0].findtext("BlobId")
    assert len(degraded(spoiled, f"?blob_id={blob}")) == 1
    assert len(degraded(spoiled, f"?blob_id={NOBODY}")) == 0
    assert len(degraded(spoiled, f"?persistence_rule_id={rule.findtext('Id')}&bucket_id=b")) == 4
    assert degraded(spoiled, "?bucket_id=clean") == []
    page = wire.ask("GET", f"/_rest_/degraded_blob?page_start_marker={found[1].findtext('Id')}&page_length=1")
    assert names(page, "Id") == [found[2].findtext("Id")]
    assert (page.headers["page-truncated"], page.headers["total-result-count"]) == ("1", "4")
    assert wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?state=NORMAL").status == 200
    assert degraded(spoiled) == []


def test_what_the_cache_has_outlives_its_only_good_copy(build: Build) -> None:
    """Bytes whose one copy is found to be damaged do not leave the cache before that is given up, and made anew."""
    bench = build(blob_size=1000, chunk_size=3000, tapes=1, hold=30.0)
    machine, wire = bench.appliance.machine, bench.wire
    contents = {"a": b"a" * 500, "b": b"b" * 700}
    wire.put_all("b", contents)
    bench.until_persisted()
    (tape,) = machine.library.tapes.values()
    assert Operator(machine).flip_bits(tape.bar_code, count=1, seed=3) == 1
    assert wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation=verify").status == 200
    bench.until(lambda: tape.verify_pending is None)
    (damaged,) = names(wire.ask("GET", "/_rest_/suspect_object"), "Name")
    assert damaged is not None
    bench.reclaim()
    assert bench.cache_used == len(contents[damaged])
    tape.full = True  # until there is another tape nothing can be made anew
    assert wire.ask("PUT", f"{TAPES}?force").status == 204
    bench.reclaim()
    assert wire.ask("GET", f"/b/{damaged}").body == contents[damaged]
    Operator(machine).insert_blank(shelf=True)
    bench.until(lambda: not machine.degraded.has() and not machine.drives.tasks())
    bench.reclaim()
    assert bench.cache_used == 0
    assert wire.ask("GET", f"/b/{damaged}").body == contents[damaged]
