"""Figures of tape drives: what a move over a tape takes, and which generation reads which."""

from __future__ import annotations

import itertools

import pytest

from ds3tool.errors import UsageError
from ds3tool.simulator import ApplianceSettings
from ds3tool.simulator.contract import words
from ds3tool.simulator.tapes.mechanics import GENERATIONS, can_read, can_write, mechanics_of
from tests.simulator.conftest import Build

_LTO8 = GENERATIONS["LTO8"]


def test_every_generation_is_one_of_the_contract() -> None:
    """Each is a TapeDriveType and a TapeType, and its bar codes end in its own letters."""
    assert list(GENERATIONS) == ["LTO5", "LTO6", "LTO7", "LTO8", "LTO9"]
    for name, each in GENERATIONS.items():
        assert name in (words("TapeDriveType") or ())
        assert name in (words("TapeType") or ())
        assert each.suffix == f"L{name[-1]}"


def test_later_generations_hold_more_and_are_no_slower() -> None:
    """Capacity grows with every generation, and the rate never falls."""
    ordered = list(GENERATIONS.values())
    for before, after in itertools.pairwise(ordered):
        assert after.capacity > before.capacity
        assert after.rate >= before.rate


def test_locate_grows_with_the_distance() -> None:
    """No way takes no time, half the tape the average, the whole tape the full time, and back as long as forth."""
    assert _LTO8.locate_seconds(0, 1000) == 0
    assert _LTO8.locate_seconds(500, 1000) == pytest.approx(_LTO8.average_locate)
    assert _LTO8.locate_seconds(1000, 1000) == _LTO8.full_locate
    assert _LTO8.locate_seconds(-300, 1000) == _LTO8.locate_seconds(300, 1000)
    assert _LTO8.rewind_seconds(0, 1000) == 0
    assert _LTO8.rewind_seconds(500, 1000) == pytest.approx(_LTO8.average_rewind)


def test_streaming_a_whole_tape_takes_its_hours() -> None:
    """12 TB pass the head of an LTO-8 in nine hours and a quarter."""
    assert _LTO8.stream_seconds(_LTO8.capacity) == pytest.approx(9.26 * 3600, rel=0.001)


@pytest.mark.parametrize(
    ("drive", "tape", "reads", "writes"),
    [
        ("LTO7", "LTO5", True, False),
        ("LTO7", "LTO6", True, True),
        ("LTO8", "LTO7", True, True),
        ("LTO8", "LTO6", False, False),
        ("LTO9", "LTO8", True, True),
        ("LTO9", "LTO7", False, False),
        ("LTO6", "LTO7", False, False),
        ("TS1160", "TS_JE", True, True),
    ],
)
def test_drives_take_the_tapes_of_earlier_generations(drive: str, tape: str, reads: bool, writes: bool) -> None:
    """Up to LTO-7 two generations back are read and one is written, from LTO-8 on one; later ones never are."""
    assert can_read(drive, tape) is reads
    assert can_write(drive, tape) is writes


def test_settings_take_capacity_and_chunks_from_the_type() -> None:
    """A tape has its generation's capacity unless another is given, and a chunk is two hundredths of it."""
    settings = ApplianceSettings(tape_type="LTO5")
    assert settings.tape_capacity == 1_500_000_000_000
    assert settings.effective_chunk_size == 30_000_000_000
    assert ApplianceSettings().tape_capacity == 12_000_000_000_000
    assert ApplianceSettings(tape_type="LTO5", tape_capacity=7).tape_capacity == 7
    assert mechanics_of("LTO5").rate == 140_000_000
    for wrong in ({"tape_type": "LTO4"}, {"pace": -1.0}, {"pace": float("nan")}, {"tape_capacity": -1}):
        with pytest.raises(UsageError):
            ApplianceSettings(**wrong)


def test_an_appliance_has_drives_and_tapes_of_one_type(build: Build) -> None:
    """Its drives, its tapes with their bar codes and capacity, its partition and its storage domain say so."""
    bench = build(tape_type="LTO5", tapes=1, drives=1)
    drive = bench.wire.ask("GET", "/_rest_/tape_drive").xml
    assert drive.findtext("TapeDrive/Type") == "LTO5"
    tape = bench.wire.ask("GET", "/_rest_/tape/SIM001L5").xml
    assert tape.findtext("Type") == "LTO5"
    assert tape.findtext("TotalRawCapacity") == "1500000000000"
    assert bench.wire.ask("GET", "/_rest_/tape_partition").xml.findtext("TapePartition/DriveType") == "LTO5"
    bench.wire.put_all("b", {"a": b"x"})
    bench.until_persisted()
    assert bench.wire.ask("GET", "/_rest_/tape/SIM001L5").xml.findtext("AssignedToStorageDomain") == "true"
