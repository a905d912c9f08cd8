"""Which media hold a copy that somebody can read."""

from __future__ import annotations

import pytest

from ds3tool.jobs.copies import Copies, Reach, copies_of, reach_of_pool, reach_of_tape
from ds3tool.protocol.model import Blob, PlacedBlob, Placement, Pool, Tape, TapeState


def tape(number: int, state: str = "NORMAL") -> Tape:
    return Tape(str(number), f"T{number}", TapeState(state))


def placed(offset: int, *tapes: Tape, pools: tuple[Pool, ...] = (), targets: int = 0) -> PlacedBlob:
    return PlacedBlob(Blob("k", offset, 10), Placement(tapes, pools, targets))


@pytest.mark.parametrize(
    ("state", "reach"),
    [
        ("NORMAL", Reach.ONLINE),
        ("ONLINE_PENDING", Reach.ONLINE),
        ("PENDING_INSPECTION", Reach.ONLINE),
        ("EJECTED", Reach.OFFLINE),
        ("EJECT_FROM_EE_PENDING", Reach.OFFLINE),
        ("OFFLINE", Reach.OFFLINE),
        ("LOST", Reach.NEVER),
        ("BAD", Reach.NEVER),
        ("FOREIGN", Reach.NEVER),
        ("DATA_CHECKPOINT_MISSING", Reach.NEVER),
        ("A_STATE_OF_THE_FUTURE", Reach.NEVER),
    ],
)
def test_a_tape_is_read_by_a_robot_a_person_or_nobody(state: str, reach: Reach) -> None:
    """Only a state that is known to be readable counts; what a newer release says is not trusted."""
    assert reach_of_tape(tape(1, state)) is reach


def test_a_lost_pool_is_no_copy() -> None:
    """A pool counts while it is there."""
    assert reach_of_pool(Pool("1", "P", "NORMAL")) is Reach.ONLINE
    assert reach_of_pool(Pool("1", "P", "LOST")) is Reach.NEVER


@pytest.mark.parametrize(
    ("blobs", "copies"),
    [
        ([], Copies()),
        ([placed(0)], Copies()),
        ([placed(0, tape(1)), placed(10)], Copies()),
        ([placed(0, tape(1), tape(2))], Copies(2)),
        ([placed(0, tape(1), tape(2, "EJECTED"))], Copies(1, 1, ("T2",))),
        ([placed(0, tape(1, "LOST"), tape(2, "EJECTED"))], Copies(0, 1, ("T2",), ("T1 (LOST)",))),
        ([placed(0, tape(1), tape(2)), placed(10, tape(1), tape(3, "BAD"))], Copies(1, 0, (), ("T3 (BAD)",))),
        # Two copies of each part, and yet the second part cannot be had without a walk to the shelf.
        (
            [placed(0, tape(1), tape(2)), placed(10, tape(3, "EJECTED"), tape(4, "EJECTED"))],
            Copies(0, 2, ("T3", "T4")),
        ),
        ([placed(0, tape(1), pools=(Pool("1", "P", "NORMAL"),), targets=1)], Copies(3)),
        # The same tape twice is one copy.
        ([placed(0, tape(1), tape(1))], Copies(1)),
    ],
)
def test_the_blob_that_has_fewest_decides(blobs: list[PlacedBlob], copies: Copies) -> None:
    """A copy is complete only when every blob is on it; media that cannot be read are named, and are none."""
    assert copies_of(blobs) == copies
