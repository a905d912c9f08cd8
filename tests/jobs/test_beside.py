"""Digests that are made by another thread see the same bytes, and all of them, whatever becomes of the answer."""

from __future__ import annotations

import hashlib
import threading

import pytest

from ds3tool.errors import ChecksumError, TransportError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.beside import beside
from ds3tool.protocol.checksums import ExpectedChecksum, new_hasher, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange

BLOCK = 1024 * 1024
DATA = [bytes([number]) * BLOCK for number in range(20)]
MD5 = to_base64(hashlib.md5(b"".join(DATA), usedforsecurity=False).digest())


def arriving(value: str = MD5) -> Arrival:
    """Return a blob of all of DATA of which nothing has come."""
    expected = ExpectedChecksum(ChecksumType.MD5, value)
    return Arrival("k", ByteRange(0, BLOCK * len(DATA)), expected=expected, hasher=new_hasher(ChecksumType.MD5))


def threads() -> set[str]:
    """Return the names of the threads that run."""
    return {thread.name for thread in threading.enumerate()}


def test_a_large_blob_is_digested_by_another_thread_in_order() -> None:
    """The digest is that of all blocks, which is known as soon as the answer is read, and no thread is left."""
    arrival = arriving()
    with arrival.taking() as took:
        assert "ds3tool-digest" in threads()
        for block in DATA:
            took(block)
    assert (arrival.verified(), arrival.done) == (MD5, BLOCK * len(DATA))
    assert "ds3tool-digest" not in threads()


def test_damage_is_found_all_the_same() -> None:
    """A block that is not what it was makes the blob's digest another."""
    arrival = arriving()
    with arrival.taking() as took:
        for block in [*DATA[:7], b"x" * BLOCK, *DATA[8:]]:
            took(block)
    with pytest.raises(ChecksumError):
        arrival.verified()


@pytest.mark.parametrize("broken_after", [0, 1, 5, 19])
def test_the_rest_of_a_blob_that_broke_off_is_joined_to_what_was_digested(broken_after: int) -> None:
    """What came before an answer broke off is in the digest when the next one begins, to the byte."""
    arrival = arriving()

    def break_off() -> None:
        with arrival.taking() as took:
            for block in DATA[:broken_after]:
                took(block)
            raise TransportError("it broke off")

    with pytest.raises(TransportError):
        break_off()
    assert "ds3tool-digest" not in threads()
    with arrival.taking() as took:
        for block in DATA[broken_after:]:
            took(block)
    assert arrival.verified() == MD5


def test_a_failure_of_the_thread_is_raised_and_nobody_waits_for_it() -> None:
    """What another thread meets is told to whoever handed it the bytes, of which it takes no more."""
    seen = []

    def update(block: bytes) -> None:
        seen.append(block)
        raise MemoryError

    def hand_on_all() -> None:
        with beside(update) as hand_on:
            for block in DATA:
                hand_on(block)

    with pytest.raises(MemoryError):
        hand_on_all()
    assert seen == DATA[:1]


def test_without_a_thread_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no more threads, whoever hands a block on does the work."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen: list[bytes] = []
    with beside(seen.append) as hand_on:
        hand_on(b"one")
        hand_on(b"two")
    assert seen == [b"one", b"two"]
