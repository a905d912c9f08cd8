"""A node that is slow holds no more than its share of the workers, while others have work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from ds3tool.jobs.ready_blobs import ReadyBlobs
from ds3tool.protocol.model import Chunk
from tests.jobs.doubles import Stage, blob, chunk

LONG = 60.0  # how long a test waits for what must happen, before it fails


def nodes_taken(ready: ReadyBlobs, count: int) -> list[int]:
    return [number for number in (ready.take(lambda _: True) for _ in range(count)) if number is not None]


def test_blobs_of_one_node_keep_their_order() -> None:
    """Where there is one node, or none is named, the blobs go as they came."""
    for node in ("n", None):
        ready = ReadyBlobs()
        for number in range(10):
            ready.append(number, node)
        assert nodes_taken(ready, 20) == list(range(10))
        assert ready.taken == 10
        assert len(ready) == 0


def test_the_node_with_the_fewest_under_way_is_next() -> None:
    """Of two nodes each has half of the workers, whatever their blobs' order; what ends makes room for its own."""
    ready = ReadyBlobs()
    for number in range(8):
        ready.append(number, "slow")
    for number in range(8, 16):
        ready.append(number, "quick")
    assert nodes_taken(ready, 4) == [0, 8, 1, 9]
    ready.release(8)
    assert nodes_taken(ready, 1) == [10]
    ready.release(10)
    ready.release(9)
    assert nodes_taken(ready, 2) == [11, 12]
    ready.release(0)
    ready.release(99)
    assert nodes_taken(ready, 1) == [2]


def test_a_blob_that_two_workers_have_is_let_go_by_both() -> None:
    """A blob that goes back, and is taken anew before its first worker is through, leaves nothing on its nodes."""
    for other in ("same", "elsewhere"):
        ready = ReadyBlobs()
        ready.append(0, "same")
        assert nodes_taken(ready, 1) == [0]
        ready.append(0, other)
        assert nodes_taken(ready, 1) == [0]
        assert ready.taken == 2
        ready.release(0)
        assert ready.taken == 1
        ready.release(0)
        ready.release(0)
        assert ready.taken == 0
        for number, node in enumerate(("same", "elsewhere", "fresh", "same", "elsewhere", "fresh"), start=1):
            ready.append(number, node)
        assert sorted(nodes_taken(ready, 3)) == [1, 2, 3]  # each node once


def test_a_node_has_all_workers_when_no_other_has_work() -> None:
    """Nobody waits for a node that has nothing; one that comes late is next."""
    ready = ReadyBlobs()
    for number in range(8):
        ready.append(number, "slow")
    assert nodes_taken(ready, 4) == [0, 1, 2, 3]
    ready.append(8, "late")
    ready.append(9, None)
    assert sorted(nodes_taken(ready, 2)) == [8, 9]
    assert nodes_taken(ready, 1) == [4]


def test_what_is_not_ready_any_more_is_passed_over() -> None:
    """Blobs of objects that failed meanwhile are dropped, and count as under way to nobody."""
    ready = ReadyBlobs()
    for number in range(6):
        ready.append(number, "ab"[number % 2])
    assert ready.take(lambda number: number == 3) == 3
    assert ready.taken == 1
    assert ready.take(lambda number: number == 99) is None
    assert len(ready) == 0


@pytest.mark.parametrize("transfers", [2, 4])
def test_all_of_a_quick_node_is_moved_while_a_slow_one_hangs(transfers: int) -> None:
    """Chunks of two nodes are ready, the slow one's first: its blobs end only once the quick one's have."""

    def on(node: str, chunks: list[Chunk]) -> list[Chunk]:
        return [replace(one, node_id=node) for one in chunks]

    slow = on("slow", [chunk(f"s{n}", *(blob(f"slow {n} {m}") for m in range(5))) for n in range(3)])
    quick = on("quick", [chunk(f"q{n}", *(blob(f"quick {n} {m}") for m in range(5))) for n in range(3)])
    stage = Stage([*slow, *quick], transfers=transfers)
    quick_done = threading.Event()
    moved = 0

    def act(number: int, counter: Callable[[int], None]) -> str:
        nonlocal moved
        if stage.state.blobs.keys[number].startswith("slow"):
            assert quick_done.wait(LONG), "blobs of the slow node have every worker"
        else:
            with stage.mover.lock:
                moved += 1
                if moved == 15:
                    quick_done.set()
        return "digest"

    stage.mover.act = act
    stage.run()
    assert len(stage.ended) == 30
    assert stage.failures == {}
