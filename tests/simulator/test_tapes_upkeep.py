"""Inspecting, formatting, verifying and compacting tapes, and what storage domains have done by themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.clock import ManualClock, SimulatedClock
from ds3tool.simulator.tapes.cron import CronTimes
from ds3tool.simulator.tapes.index import TapeLabel, write_index
from ds3tool.simulator.tapes.operator import Operator
from ds3tool.simulator.tapes.tape import Tape
from ds3tool.simulator.wire.refusals import Refusal
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Wire


def _used(bench: Bench) -> Tape:
    """Return the tape that holds data, when no drive is at it any more."""
    library = bench.appliance.machine.library
    bench.until(lambda: not library.in_use)
    return next(tape for tape in library.tapes.values() if tape.domain_id)


def _until(bench: Bench, tape: Tape, state: str) -> None:
    bench.until(lambda: tape.state == state, f"{tape.bar_code} never became {state}")


def _act(bench: Bench, tape: Tape, operation: str) -> int:
    return bench.wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation={operation}").status


def _failures(bench: Bench) -> list[str | None]:
    return [each.findtext("Type") for each in bench.wire.ask("GET", "/_rest_/tape_failure").xml]


def _quiesce(bench: Bench, word: str) -> None:
    assert bench.wire.ask("PUT", f"/_rest_/tape_partition?quiesced={word}").status == 204


def _set_domain(bench: Bench, parameters: str) -> None:
    (domain,) = bench.wire.ask("GET", "/_rest_/storage_domain").xml
    target = f"/_rest_/storage_domain/{domain.findtext('Id')}?{parameters}"
    assert bench.wire.ask("PUT", target).status == 200


def _read(bench: Bench, name: str) -> bytes:
    reply = bench.wire.ask("GET", f"/b/{name}")
    while reply.status == 307:  # it is held for a while, then told to come again
        reply = bench.wire.ask("GET", f"/b/{name}")
    assert reply.status == 200, reply
    return reply.body


@pytest.fixture
def archived(bench: Bench) -> tuple[Bench, Tape]:
    """An appliance with three objects on one tape."""
    bench.wire.put_all("b", {"a": b"a" * 700, "c": b"c" * 800, "e": b"e" * 900})
    bench.until_persisted()
    return bench, _used(bench)


# Verification.


def test_a_verification_reads_every_copy(archived: tuple[Bench, Tape]) -> None:
    """Pending with its priority, then dated; nothing is suspect on a good tape."""
    bench, tape = archived
    _quiesce(bench, "PENDING")
    shown = bench.wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation=verify&task_priority=URGENT").xml
    assert (shown.findtext("VerifyPending"), shown.findtext("LastVerified")) == ("URGENT", "")
    listed = bench.wire.ask("GET", "/_rest_/tape?verify_pending=URGENT").xml
    assert [each.findtext("BarCode") for each in listed] == [tape.bar_code]
    _quiesce(bench, "NO")
    bench.until(lambda: tape.verify_pending is None)
    assert bench.wire.ask("GET", f"/_rest_/tape/{tape.bar_code}").xml.findtext("LastVerified")
    assert _failures(bench) == []


def test_a_verification_makes_each_damaged_copy_suspect(archived: tuple[Bench, Tape]) -> None:
    """One failure for the tape that counts them; the others stay good, and the tape NORMAL."""
    bench, tape = archived
    assert Operator(bench.appliance.machine).flip_bits(tape.bar_code, 2, seed=3) == 2
    assert _act(bench, tape, "verify") == 200
    bench.until(lambda: tape.verify_pending is None and tape.verified is not None)
    assert _failures(bench) == ["VERIFY_FAILED"]
    (failure,) = bench.wire.ask("GET", f"/_rest_/tape_failure?tape_id={tape.bar_code}").xml
    assert (failure.findtext("ErrorMessage") or "").startswith("2 blobs")
    assert len(bench.wire.ask("GET", f"/_rest_/suspect_blob_tape?tape_id={tape.id}").xml) == 2
    assert tape.state == "NORMAL"


def test_a_verification_can_be_called_off(archived: tuple[Bench, Tape]) -> None:
    """Nothing is pending then, and a second call has nothing to call off."""
    bench, tape = archived
    _quiesce(bench, "PENDING")
    assert bench.wire.ask("PUT", "/_rest_/tape?operation=verify").status == 204
    assert bench.wire.ask("PUT", "/_rest_/tape?operation=cancel_verify").status == 204
    assert tape.verify_pending is None
    assert _act(bench, tape, "cancel_verify") == 409
    _quiesce(bench, "NO")
    bench.until(lambda: not bench.appliance.machine.drives.tasks())
    assert tape.verified is None


# Formatting.


def test_a_tape_with_data_is_formatted_by_force_only(archived: tuple[Bench, Tape]) -> None:
    """What was on it alone is gone then; the tape is empty, belongs to nobody, and is written again."""
    bench, tape = archived
    bench.reclaim()
    assert _act(bench, tape, "format") == 409
    assert _act(bench, tape, "format&force") == 200
    _until(bench, tape, "NORMAL")
    shown = bench.wire.ask("GET", f"/_rest_/tape/{tape.bar_code}").xml
    assert (shown.findtext("AssignedToStorageDomain"), tape.written) == ("false", 0)
    assert not os.path.exists(bench.appliance.machine.library.path(tape))
    assert bench.wire.bulk("get_physical_placement", "b", '<Object Name="a"/>').xml.find("Tapes/Tape") is None
    bench.wire.put_all("b", {"new": b"n" * 10})
    bench.until_persisted()
    bench.reclaim()
    assert _read(bench, "new") == b"n" * 10


def test_what_the_cache_still_has_survives_a_format(archived: tuple[Bench, Tape]) -> None:
    """The bytes in the cache are the last ones: they are not given up for room, and go to tape anew."""
    bench, tape = archived
    db = bench.appliance.machine.store.db
    assert _act(bench, tape, "format&force") == 200
    _until(bench, tape, "NORMAL")
    bench.reclaim()
    bench.until(lambda: db.execute("SELECT count(*) FROM copies").fetchone() == (3,), "no copies were made")
    bench.reclaim()
    assert bench.cache_used == 0
    assert _read(bench, "c") == b"c" * 800


def test_a_tape_with_its_tab_set_cannot_be_formatted(bench: Bench) -> None:
    """Its state tells so, and a failure; with the tab unset and the tape put in anew it is as any other."""
    operator, tape = Operator(bench.appliance.machine), bench.appliance.machine.library.find("SIM002L8")
    operator.protect("SIM002L8")
    assert _act(bench, tape, "format") == 200
    _until(bench, tape, "CANNOT_FORMAT_DUE_TO_WRITE_PROTECTION")
    assert (_failures(bench), tape.write_protected) == (["FORMAT_FAILED"], True)
    assert _act(bench, tape, "eject") == 200
    _until(bench, tape, "EJECTED")
    operator.protect("SIM002L8", False)
    assert _act(bench, tape, "online") == 200
    _until(bench, tape, "NORMAL")
    assert not tape.write_protected


def test_formats_that_have_not_begun_are_called_off(bench: Bench) -> None:
    """All at once with a 204; the tapes are what they were, and a 207 names what could not be formatted."""
    tape = bench.appliance.machine.library.find("SIM003L8")
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM003L8?state=BAD").status == 200
    _quiesce(bench, "PENDING")
    mixed = bench.wire.ask("PUT", "/_rest_/tape?operation=format")
    assert (mixed.status, [each.text for each in mixed.xml.iter("BarCode")]) == (207, ["SIM003L8"])
    states = {each.findtext("State") for each in bench.wire.ask("GET", "/_rest_/tape").xml}
    assert states == {"FORMAT_PENDING", "BAD"}
    assert bench.wire.ask("PUT", "/_rest_/tape?operation=cancel_format").status == 204
    states = {each.findtext("State") for each in bench.wire.ask("GET", "/_rest_/tape").xml}
    assert states == {"NORMAL", "BAD"}
    assert _act(bench, tape, "cancel_format") == 409


# Inspection.


def test_an_inspection_tells_what_a_tape_is(bench: Bench) -> None:
    """A blank tape is NORMAL again, a damaged one BAD with a failure; what is absent cannot be inspected."""
    good, bad, away = (bench.appliance.machine.library.find(f"SIM00{number}L8") for number in (1, 2, 3))
    Operator(bench.appliance.machine).damage("SIM002L8")
    assert _act(bench, away, "eject") == 200
    _until(bench, away, "EJECTED")
    assert _act(bench, away, "inspect") == 409
    for tape in (good, bad):
        assert _act(bench, tape, "inspect") == 200
    _until(bench, good, "NORMAL")
    _until(bench, bad, "BAD")
    assert _failures(bench) == ["INSPECT_FAILED"]


def test_a_tape_that_ends_too_early_lacks_its_checkpoint(archived: tuple[Bench, Tape]) -> None:
    """Found by an inspection; until its end is back it is not read, and then the next inspection finds it whole."""
    bench, tape = archived
    path = Path(bench.appliance.machine.library.path(tape))
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert bench.wire.ask("PUT", "/_rest_/tape?operation=inspect").status == 204
    _until(bench, tape, "DATA_CHECKPOINT_MISSING")
    assert _failures(bench) == ["DATA_CHECKPOINT_MISSING"]
    path.write_bytes(content)
    assert _act(bench, tape, "inspect") == 200
    _until(bench, tape, "NORMAL")


def test_a_tape_that_no_drive_reads_is_incompatible(bench: Bench) -> None:
    """A generation too old or too new is found out when a drive looks at it, and the partition says so."""
    operator = Operator(bench.appliance.machine)
    for kind in ("LTO6", "LTO9"):
        tape = operator.insert_blank(None, kind)
        _until(bench, tape, "INCOMPATIBLE")
    (old, new) = (bench.appliance.machine.library.find(code) for code in ("SIM001L6", "SIM001L9"))
    assert (old.capacity, new.capacity) == (2_500_000_000_000, 18_000_000_000_000)
    kinds = {each.findtext("Type") for each in bench.wire.ask("GET", "/_rest_/tape_partition_failure").xml}
    assert kinds == {"TAPE_MEDIA_TYPE_INCOMPATIBLE"}


# Compaction.


def test_a_compacted_tape_is_empty_and_what_lived_is_elsewhere(archived: tuple[Bench, Tape]) -> None:
    """The deleted object's place is won back, the others are read from the tape they went to."""
    bench, tape = archived
    assert _act(bench, tape, "mark_for_compaction") == 409
    assert bench.wire.ask("DELETE", "/b/c").status == 204
    shown = bench.wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation=mark_for_compaction").xml
    assert shown.findtext("State") == "AUTO_COMPACTION_IN_PROGRESS"
    _until(bench, tape, "NORMAL")
    assert (tape.written, tape.domain_id) == (0, None)
    other = _used(bench)
    assert (other is not tape, other.written) == (True, 1600)
    bench.reclaim()
    assert (_read(bench, "a"), _read(bench, "e")) == (b"a" * 700, b"e" * 900)


def test_without_another_tape_a_compaction_ends_where_it_began(build: Build) -> None:
    """Nothing is lost, and the lack of media is told of the storage domain."""
    bench = build(tapes=1)
    bench.wire.put_all("b", {"a": b"a" * 700, "c": b"c" * 800})
    bench.until_persisted()
    tape = _used(bench)
    bench.wire.ask("DELETE", "/b/a")
    assert _act(bench, tape, "mark_for_compaction") == 200
    _until(bench, tape, "NORMAL")
    bench.reclaim()
    assert _read(bench, "c") == b"c" * 800
    told = bench.wire.ask("GET", "/_rest_/storage_domain_failure").xml
    assert [each.findtext("Type") for each in told] == ["WRITES_STALLED_DUE_TO_NO_FREE_MEDIA_REMAINING"]


def test_a_condition_is_on_record_once_whatever_its_message_quotes(bench: Bench) -> None:
    """A storage domain whose name no document carries as it is lacks media time and again: one record."""
    failures, kind = bench.appliance.machine.failures, "WRITES_STALLED_DUE_TO_NO_FREE_MEDIA_REMAINING"
    domain = str(bench.appliance.machine.beans.all("StorageDomain")[0]["Id"])
    with bench.appliance.machine.store.lock:
        assert failures.domain(kind, domain, "The storage domain 'a\u00a0\x01' has no tape left.")
        assert not failures.domain(kind, domain, "The storage domain 'a\u00a0\x01' has no tape left.")
    (told,) = bench.wire.ask("GET", "/_rest_/storage_domain_failure").xml
    assert told.findtext("ErrorMessage") == "The storage domain 'a??' has no tape left."


def test_a_tape_with_the_only_copy_of_a_damaged_blob_is_not_emptied(archived: tuple[Bench, Tape]) -> None:
    """The damaged copy is suspect, and stays where it might still be rescued."""
    bench, tape = archived
    bench.wire.ask("DELETE", "/b/a")
    bench.reclaim()
    Operator(bench.appliance.machine).flip_bits(tape.bar_code, 1, seed=1)
    assert _act(bench, tape, "mark_for_compaction") == 200
    _until(bench, tape, "NORMAL")
    assert tape.written == 2400
    assert len(bench.wire.ask("GET", f"/_rest_/suspect_blob_tape?tape_id={tape.id}").xml) == 1


def test_full_tapes_are_compacted_by_themselves_where_that_is_wanted(build: Build) -> None:
    """A full tape with more waste than the member's threshold, and no other."""
    clock = ManualClock()
    bench = build(clock, blob_size=1000, chunk_size=3000, tape_capacity=1000, drives=1)
    bench.wire.put_all("b", {"a": b"a" * 700, "c": b"c" * 200, "e": b"e" * 500})
    clock.advance(1)
    bench.until_persisted()
    machine = bench.appliance.machine
    full = next(tape for tape in machine.library.tapes.values() if tape.full)
    bench.wire.ask("DELETE", "/b/a")
    (member,) = bench.wire.ask("GET", "/_rest_/storage_domain_member").xml
    target = f"/_rest_/storage_domain_member/{member.findtext('Id')}?auto_compaction_threshold=60"
    assert bench.wire.ask("PUT", target).status == 200
    with machine.store.lock:
        machine.tape_policies.look()
    assert full.state == "NORMAL"
    (partition,) = bench.wire.ask("GET", "/_rest_/tape_partition").xml
    target = f"/_rest_/tape_partition/{partition.findtext('Id')}?auto_compaction_enabled=true"
    assert bench.wire.ask("PUT", target).status == 200
    clock.advance(60)
    bench.until(lambda: full.written == 0, "the tape was never compacted")


# After a death.


@pytest.mark.parametrize("state", ["FORMAT_IN_PROGRESS", "PENDING_INSPECTION", "AUTO_COMPACTION_IN_PROGRESS"])
def test_what_a_drive_was_at_is_begun_again(build: Build, tmp_path: Path, state: str) -> None:
    """The state that was on disk when the appliance died is what is done first, to its end."""
    first = build(directory=str(tmp_path), blob_size=1000)
    first.wire.put_all("b", {"a": b"a" * 700, "c": b"c" * 800})
    first.until_persisted()
    tape = _used(first)
    first.wire.ask("DELETE", "/b/a")
    first.reclaim()
    with first.appliance.machine.store.lock:
        first.appliance.machine.library.enter(tape, state)
    first.wire.close()
    first.appliance.close()
    second = build(directory=str(tmp_path), blob_size=1000, bucket=None)
    again = second.appliance.machine.library.find(tape.bar_code)
    _until(second, again, "NORMAL")
    assert again.written == (1500 if state == "PENDING_INSPECTION" else 0)
    if state != "FORMAT_IN_PROGRESS":
        assert _read(second, "c") == b"c" * 800


# What storage domains have done by themselves.


def test_tapes_leave_when_their_job_is_done(build: Build) -> None:
    """Verified before, where that is wanted; tapes of other jobs stay."""
    bench = build(tapes=2)
    _set_domain(bench, "auto_eject_upon_job_completion=true&verify_prior_to_auto_eject=LOW")
    bench.wire.put_all("b", {"a": b"hello"})
    bench.until_persisted()
    tape = next(tape for tape in bench.appliance.machine.library.tapes.values() if tape.domain_id)
    _until(bench, tape, "EJECTED")
    assert tape.verified is not None
    assert sum(each.state == "EJECTED" for each in bench.appliance.machine.library.tapes.values()) == 1


def test_a_full_tape_leaves(build: Build) -> None:
    """Or one that has no more than the threshold left; the one that is being filled stays."""
    bench = build(blob_size=1000, tape_capacity=1000)
    _set_domain(bench, "auto_eject_upon_media_full=true&auto_eject_media_full_threshold=100")
    bench.wire.put_all("b", {"a": b"a" * 950})
    bench.until_persisted()
    bench.until(lambda: any(t.state == "EJECTED" for t in bench.appliance.machine.library.tapes.values()))
    bench.wire.put_all("b", {"c": b"c" * 100})
    bench.until_persisted()
    states = sorted(tape.state for tape in bench.appliance.machine.library.tapes.values() if tape.domain_id)
    assert states == ["EJECTED", "NORMAL"]


def test_tapes_leave_and_are_verified_by_the_clock(build: Build) -> None:
    """At the hour that the expression names, and when nobody has verified them for as long as is allowed."""
    clock = ManualClock(1_704_164_645.0)  # 2024-01-02 03:04:05
    bench = build(clock, drives=1)
    bench.wire.put_all("b", {"a": b"hello"})
    clock.advance(1)
    bench.until_persisted()
    tape = next(tape for tape in bench.appliance.machine.library.tapes.values() if tape.domain_id)
    _set_domain(bench, "maximum_auto_verification_frequency_in_days=7")
    clock.advance(8 * 86_400)
    bench.until(lambda: tape.verified is not None)
    _set_domain(bench, "auto_eject_upon_cron=0%200%204%20*%20*%20?")
    clock.advance(55 * 60)
    bench.until(lambda: tape.n not in bench.appliance.machine.library.in_use)
    assert tape.state == "NORMAL"
    clock.advance(60)
    _until(bench, tape, "EJECTED")


def test_a_tape_that_has_become_full_has_its_end_verified(build: Build) -> None:
    """Where the data path says how much of it; the date stands apart from that of a whole verification."""
    bench = build(blob_size=1000, chunk_size=3000, tape_capacity=1000)
    bench.wire.ask("PUT", "/_rest_/data_path_backend?partially_verify_last_percent_of_tapes=20")
    bench.wire.put_all("b", {"a": b"a" * 950, "c": b"c" * 100})
    bench.until_persisted()
    full = next(tape for tape in bench.appliance.machine.library.tapes.values() if tape.full)
    bench.until(lambda: full.partly_verified is not None)
    shown = bench.wire.ask("GET", f"/_rest_/tape/{full.bar_code}").xml
    assert (shown.findtext("LastVerified"), bool(shown.findtext("PartiallyVerifiedEndOfTape"))) == ("", True)


@pytest.mark.parametrize(
    ("text", "start", "end", "named"),
    [
        ("0 0 4 * * ?", "03:59", "04:00", True),
        ("0 0 4 * * ?", "04:00", "23:59", False),
        ("0 0/15 * * * ?", "10:01", "10:15", True),
        ("0 0/15 * * * ?", "10:01", "10:14", False),
        ("0 30 6-8,20 * JAN TUE", "06:00", "06:30", True),
        ("0 30 6-8,20 * JAN MON", "06:00", "23:00", False),
        ("0 0 4 * * ? 2025", "03:59", "04:00", False),
    ],
)
def test_an_expression_names_minutes(text: str, start: str, end: str, named: bool) -> None:
    """After the start, and not after the end, of Tuesday, the 2nd of January 2024."""
    midnight = 1_704_153_600.0
    seconds = [midnight + int(clock[:2]) * 3600 + int(clock[3:]) * 60 for clock in (start, end)]
    assert CronTimes(text).between(*seconds) is named


@pytest.mark.parametrize("text", ["", "0 0 4", "0 0 4 L * ?", "0 60 4 * * ?", "0 0 8-4 * * ?", "0 0 */0 * * ?"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    """With a 400."""
    with pytest.raises(Refusal, match="cron expression"):
        CronTimes(text)


def test_a_tape_that_is_written_to_meanwhile_is_not_formatted_without_force(build: Build) -> None:
    """Empty when that was asked for, it holds data when its turn comes: the format is called off, and has failed."""
    bench = build(SimulatedClock(0.0), timed=True, drives=1, tapes=2)
    machine, wire = bench.appliance.machine, bench.wire
    wire.put_all("b", {"a": b"a" * 500})
    tape = bench.tape_at_work()
    assert wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation=format").status == 200
    assert isinstance(machine.clock, SimulatedClock)
    machine.clock.set_pace(10_000.0)
    bench.until_persisted()
    bench.until(lambda: tape.state == "NORMAL")
    assert [each.findtext("Type") for each in wire.ask("GET", "/_rest_/tape_failure").xml] == ["FORMAT_FAILED"]
    with machine.store.lock:
        assert machine.store.db.execute("SELECT tape FROM copies").fetchall() == [(tape.n,)]


def test_no_drive_is_tested_with_a_tape_that_holds_data(build: Build) -> None:
    """Made a test tape while a drive wrote to it, a tape keeps what was written; the test has failed."""
    bench = build(SimulatedClock(0.0), timed=True, drives=1, tapes=2)
    machine, wire = bench.appliance.machine, bench.wire
    wire.put_all("b", {"a": b"a" * 500})
    (drive,) = machine.drives.all
    tape = bench.tape_at_work()
    assert wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?role=TEST").status == 200
    assert wire.ask("PUT", f"/_rest_/tape_drive/{drive.id}?operation=test&skip_clean").status == 200
    assert isinstance(machine.clock, SimulatedClock)
    machine.clock.set_pace(10_000.0)
    bench.until_persisted()
    bench.until(lambda: not machine.drives.tasks())
    failures = wire.ask("GET", "/_rest_/tape_failure").xml
    assert [each.findtext("Type") for each in failures] == ["DRIVE_TEST_FAILED"]
    assert os.path.getsize(machine.library.path(tape)) >= 500


def test_an_index_that_an_import_left_behind_is_not_taken_for_anothers(tmp_path: Path) -> None:
    """Killed between the end of an import and the removal of the index, the tape stays this appliance's."""
    settings = ApplianceSettings(directory=str(tmp_path), tapes=1, persist_delay=0.0, seed=7)
    label = TapeLabel("somebody else", "t", "SIM001L8", "SIM0000001", "LTO8", 10**12, 500)
    for index_left in (False, True):
        if index_left:
            write_index(tmp_path / "tapes" / "SIM001L8.index", label, ())
        with Appliance(settings) as appliance:
            bench = Bench(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key))
            if not index_left:
                bench.wire.ask("PUT", "/b")
                bench.wire.put_all("b", {"a": b"a" * 500})
                bench.until_persisted()
            (tape,) = appliance.machine.library.tapes.values()
            assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=inspect").status == 200
            bench.until(lambda: tape.state != "PENDING_INSPECTION")  # noqa: B023 - it is waited for here
            assert tape.state == "NORMAL"
            bench.wire.close()
