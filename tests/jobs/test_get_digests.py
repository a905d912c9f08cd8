"""Answers of which somebody on the way has taken the digest: what the bytes are held against then."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.jobs.rooms import Meddler, Room


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("size", [1000, 600 * 1024])
def test_an_answer_without_a_digest_is_held_against_the_one_that_the_appliance_knows(
    room: Room, tmp_path: Path, size: int, *, damaged: bool
) -> None:
    """Somebody on the way takes the digest's header away, and perhaps changes a byte: that is not called unverified."""
    (tmp_path / "tree").mkdir()
    data = b"needle" + b"a" * size
    (tmp_path / "tree" / "one").write_bytes(data)
    assert room.put(tmp_path / "tree").exit_code == 0

    def spoil(reply: bytes) -> bytes:
        undigested = re.sub(rb"(?i)\r\nContent-MD5:", b"\r\nX-Was:", reply)
        return undigested.replace(b"needle", b"noodle") if damaged else undigested

    meddler = Meddler(room.appliance)
    meddler.to_client = spoil
    with closing(meddler), closing(room.connect(meddler.endpoint)) as client:
        result = room.get(tmp_path / "target", client=client)
    there = tmp_path / "target" / "one"
    if damaged:
        assert (result.exit_code, there.exists()) == (5, False)
    else:
        assert (result.exit_code, result.unverified, there.read_bytes() == data) == (0, 0, True)
