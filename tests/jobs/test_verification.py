"""What the cheap check finds wrong with an object, and with none that is right."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import ApplianceError, ForbiddenError, NotFoundError
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.verification import DIFFERENT, FAILED, OFFLINE, Expectation, expectation_of, judge, verify_objects
from ds3tool.protocol.model import (
    Blob,
    BucketDetails,
    ChecksumType,
    ListedObject,
    ObjectHead,
    ObjectToGet,
    PersistenceRule,
    PlacedBlob,
    Placement,
    Tape,
    TapeState,
)

NOW = datetime(2024, 1, 31, tzinfo=UTC)
LISTED = ListedObject("k", 30, NOW, "etag")
HEAD = ObjectHead("k", 30, "etag", NOW, None, ChecksumType.MD5, {0: "a", 10: "b", 20: "c"}, {})
SHELF = Tape("9", "T9", TapeState.EJECTED)


def tapes(number: int, state: str = "NORMAL") -> tuple[Tape, ...]:
    return tuple(Tape(str(one), f"T{one}", TapeState(state)) for one in range(number))


def blobs(*offsets: int, on: tuple[Tape, ...] = tapes(2), in_cache: bool = False) -> list[PlacedBlob]:
    return [PlacedBlob(Blob("k", offset, 10, in_cache), Placement(on)) for offset in offsets]


TWO = Expectation(copies=2)


def test_an_object_that_is_as_promised_has_no_problem() -> None:
    """Whatever the order of its blobs, with as many copies as promised, or more."""
    assert judge(LISTED, HEAD, blobs(20, 0, 10), TWO).verified
    assert judge(LISTED, HEAD, blobs(0, 10, 20, on=tapes(3)), TWO).verified
    assert judge(LISTED, HEAD, blobs(0, 10, 20, on=(*tapes(1), SHELF)), TWO).verified
    assert judge(LISTED, HEAD, blobs(0, 10, 20), TWO).copies == 2
    empty = replace(LISTED, size=0)
    assert judge(empty, replace(HEAD, size=0, checksums={}, checksum_type=None), [], TWO).verified


@pytest.mark.parametrize(
    ("listed", "head", "placed", "said"),
    [
        (replace(LISTED, last_modified=None, size=0), HEAD, blobs(0), "is not complete"),
        (LISTED, HEAD, [], "the appliance knows no blob of it"),
        (LISTED, HEAD, blobs(0, 10), "do not make up its 30 bytes"),
        (LISTED, HEAD, blobs(0, 20), "leave a gap, at 10"),
        (LISTED, HEAD, blobs(10, 20), "leave a gap, at 0"),
        (LISTED, HEAD, blobs(0, 10, 10, 20), "leave a gap, at 20"),
        (LISTED, replace(HEAD, size=29), blobs(0, 10, 20), "29 bytes, and 30 in the listing"),
        (LISTED, replace(HEAD, checksums={0: "a", 20: "c"}), blobs(0, 10, 20), "no digest is stated of its blob at 10"),
        (LISTED, replace(HEAD, checksums={}), blobs(0, 10, 20), "blob at 0 and 2 more"),
        (LISTED, replace(HEAD, checksum_type=None), blobs(0, 10, 20), "no digest"),
        (LISTED, HEAD, blobs(0, 10, 20, on=tapes(1)), "is on media 1 times, and 2 are promised"),
        (LISTED, HEAD, [*blobs(0, 10), *blobs(20, on=tapes(1))], "is on media 1 times"),
        (LISTED, HEAD, blobs(0, 10, 20, on=()), "is on no medium"),
        (LISTED, HEAD, blobs(0, 10, 20, on=(), in_cache=True), "is in the cache, and on no medium yet"),
        (LISTED, HEAD, blobs(0, 10, 20, on=tapes(2, "LOST")), "no copy is what is on T0 (LOST), T1 (LOST)"),
    ],
)
def test_what_is_wrong_is_said(listed: ListedObject, head: ObjectHead, placed: list[PlacedBlob], said: str) -> None:
    """Each way an object can be less than promised has its sentence, and means exit code 3."""
    finding = judge(listed, head, placed, TWO)
    assert said in str(finding.error)
    assert {problem.exit_code for problem in finding.problems} == {FAILED}


def test_copies_on_the_shelf_alone_name_their_tapes() -> None:
    """Nobody can read it without a walk: exit code 8; but what is in the cache can be read."""
    shelf = (SHELF, replace(SHELF, id="8", bar_code="T8"))
    finding = judge(LISTED, HEAD, blobs(0, 10, 20, on=shelf), TWO)
    assert [problem.exit_code for problem in finding.problems] == [OFFLINE]
    assert finding.bar_codes == ("T8", "T9")
    assert judge(LISTED, HEAD, blobs(0, 10, 20, on=shelf, in_cache=True), TWO).verified


def test_a_doubted_copy_is_a_problem() -> None:
    """A blob that the appliance calls suspect fails its object, and no other one."""
    doubt = replace(TWO, suspect=frozenset({("k", 10), ("other", 0)}))
    assert "doubts a copy of its blob at 10" in str(judge(LISTED, HEAD, blobs(0, 10, 20), doubt).error)
    assert judge(LISTED, HEAD, blobs(0, 10, 20), replace(TWO, suspect=frozenset({("other", 10)}))).verified


def test_where_nobody_may_know_the_promise_one_copy_is_enough() -> None:
    """A user who may not read the policy still learns of objects that are nowhere."""
    unknown = Expectation(copies=None)
    assert judge(LISTED, HEAD, blobs(0, 10, 20, on=tapes(1)), unknown).verified
    assert not judge(LISTED, HEAD, blobs(0, 10, 20, on=()), unknown).verified


def test_a_policy_that_promises_no_permanent_copy_still_wants_one() -> None:
    """Where all copies are temporary, an object of which none is left is not called verified."""
    temporary = Expectation(copies=0)
    assert judge(LISTED, HEAD, blobs(0, 10, 20, on=tapes(1)), temporary).verified
    assert "is on no medium" in str(judge(LISTED, HEAD, blobs(0, 10, 20, on=()), temporary).error)


def test_without_a_head_digests_are_not_judged() -> None:
    """What was not asked for is not held against an object."""
    assert judge(LISTED, None, blobs(0, 10, 20), TWO).verified


class FewAnswers(Ds3Client):
    """A client of an appliance that tells what it was given, and refuses the rest."""

    def __init__(self, *, rules: int | None = 2, suspect: list[PlacedBlob] | int = 404, gone: bool = False) -> None:
        self.rules = rules
        self.suspect = suspect
        self.gone = gone

    def get_bucket(self, name: str) -> BucketDetails:
        return BucketDetails("1", name, "policy")

    def list_persistence_rules(self, data_policy_id: str) -> Iterator[PersistenceRule]:
        if self.rules is None:
            raise ForbiddenError("no", status=403, code="AccessDenied")
        kinds = ["PERMANENT"] * self.rules + ["TEMPORARY"]
        return iter([PersistenceRule("1", data_policy_id, "d", kind, "NORMAL", "STANDARD") for kind in kinds])

    def list_suspect_blobs(self, bucket: str) -> tuple[PlacedBlob, ...]:
        if isinstance(self.suspect, int):
            raise ApplianceError("no", status=self.suspect, code="No")
        return tuple(self.suspect)

    def get_blob_placement(
        self,
        bucket: str,
        objects: Sequence[ObjectToGet],
        *,
        verify: bool = False,
        storage_domain: str | None = None,
    ) -> tuple[PlacedBlob, ...]:
        return tuple(
            PlacedBlob(Blob(one.key, offset, 10, version_id=version), Placement(tapes(2)))
            for one in objects
            for version in ("old", one.version_id)
            for offset in (0, 10, 20)
        )

    def head_object(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectHead:
        if self.gone:
            raise NotFoundError("no", status=404, code="NoSuchKey")
        return replace(HEAD, key=key)


def test_what_is_expected_comes_from_the_policy_and_the_appliance() -> None:
    """Lasting copies are counted; what cannot be read leaves its part out; a sick appliance is no healthy one."""
    told = FewAnswers(suspect=blobs(10))
    assert expectation_of(told, "b") == Expectation(copies=2, suspect=frozenset({("k", 10)}))
    assert expectation_of(FewAnswers(rules=None), "b") == Expectation(copies=None)
    with pytest.raises(ApplianceError):
        expectation_of(FewAnswers(suspect=500), "b")


def test_each_object_is_judged_by_the_blobs_of_its_own_version() -> None:
    """However many objects there are, each has its finding, in their order; older versions do not count for it."""
    listed = [replace(LISTED, key=f"{number:04}", version_id="new") for number in range(2500)]
    found = list(verify_objects(FewAnswers(), "b", listed, TWO))
    assert [finding.key for finding in found] == [one.key for one in listed]
    assert all(finding.verified for finding in found)


def test_an_object_that_goes_while_it_is_verified_is_a_failure() -> None:
    """Nobody is told that it was verified."""
    (finding,) = verify_objects(FewAnswers(gone=True), "b", [LISTED], TWO)
    assert finding.error == "was removed while it was verified"


def test_a_run_that_nobody_reads_on_ends_its_threads() -> None:
    """Closing the findings amid a thousand objects leaves nothing running."""
    listed = [replace(LISTED, key=f"{number}", version_id="new") for number in range(1000)]
    findings = verify_objects(FewAnswers(), "b", listed, TWO)
    assert next(findings).verified
    findings.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("verify")]


class Recorded:
    """A ledger of what it is given; it keeps the thread that asks it."""

    def __init__(self, known: KnownDigests | None) -> None:
        self.known = known
        self.asked: list[tuple[str, str | None]] = []
        self.threads: set[int] = set()

    def digests_of(self, key: str, version_id: str | None) -> KnownDigests | None:
        self.asked.append((key, version_id))
        self.threads.add(threading.get_ident())
        return self.known


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (None, None),
        (KnownDigests(30, ChecksumType.MD5, {0: "a", 10: "b", 20: "c"}), None),
        (KnownDigests(30, ChecksumType.SHA_256, {0: "x"}), None),
        (KnownDigests(30, ChecksumType.MD5, {0: "a", 10: "x", 20: "c"}), "differs from what was sent (journal)"),
        (KnownDigests(31, ChecksumType.MD5, {0: "a"}), "has 30 bytes, and 31 were sent (journal)"),
    ],
)
def test_what_the_appliance_states_is_held_against_what_was_sent(known: KnownDigests | None, said: str | None) -> None:
    """Without reading a byte; what the two cannot be compared by is no failure, and what differs means exit code 5."""
    ledger = Recorded(known)
    (finding,) = verify_objects(FewAnswers(), "b", [replace(LISTED, version_id="v")], replace(TWO, ledger=ledger))
    assert finding.error == said
    assert {problem.exit_code for problem in finding.problems} == (set() if said is None else {DIFFERENT})
    assert ledger.asked == [("k", "v")]


def test_the_journal_is_asked_by_the_thread_that_takes_the_findings() -> None:
    """A journal that only its own thread may read can stand behind it, and each object is asked about once."""
    ledger = Recorded(None)
    listed = [replace(LISTED, key=f"{number:04}", version_id="new") for number in range(1500)]
    assert len(list(verify_objects(FewAnswers(), "b", listed, replace(TWO, ledger=ledger)))) == 1500
    assert ledger.threads == {threading.get_ident()}
    assert [key for key, _ in ledger.asked] == [one.key for one in listed]
