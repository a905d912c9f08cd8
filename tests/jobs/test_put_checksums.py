"""The digests of a put: the policy's type, another one, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.errors import UsageError
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.protocol.model import ChecksumType
from tests.jobs.rooms import BUCKET, MIB, Meddler, Room
from tests.trees import digests, make_tree

NAMED = [choice for choice in ChecksumChoice if choice.type is not None]


@pytest.mark.parametrize("choice", NAMED)
def test_the_policys_own_type_may_be_named(
    room_with: Callable[..., Room], tmp_path: Path, choice: ChecksumChoice
) -> None:
    """Naming the type that the policy has anyway changes nothing."""
    assert choice.type is not None
    room = room_with(checksum_type=choice.type)
    room.settings = replace(room.settings, checksum=choice)
    (tmp_path / "file").write_bytes(b"data")
    assert room.put(tmp_path / "file", prefix="file").objects == 1
    assert None not in room.recorder.checksums.values()


@pytest.mark.parametrize("choice", [ChecksumChoice.CRC32, ChecksumChoice.CRC32C])
def test_a_crc_that_is_not_the_policys_is_refused_before_a_job(
    room: Room, tmp_path: Path, choice: ChecksumChoice
) -> None:
    """A UsageError that names both types, and no job on the appliance."""
    room.settings = replace(room.settings, checksum=choice)
    (tmp_path / "file").write_bytes(b"data")
    with pytest.raises(UsageError) as refused:
        room.put(tmp_path)
    assert str(choice.type) in refused.value.message
    assert "MD5" in refused.value.message
    assert list(room.client.list_jobs()) == []
    assert not room.recorder.planned_jobs


def test_without_digests_no_header_goes_out_and_the_result_says_so(room: Room, tmp_path: Path) -> None:
    """Objects small and large arrive, no request has a digest, none is recorded, and a note says what was not done."""
    make_tree(tmp_path / "tree", files=20, largest=2_500_000, seed=3)
    sent = bytearray()
    meddler = Meddler(room.appliance)

    def look(data: bytes) -> bytes:
        sent.extend(data)
        return data

    meddler.to_appliance = look
    room.settings = replace(room.settings, checksum=ChecksumChoice.NONE)
    try:
        with room.connect(meddler.endpoint) as client:
            result = room.put(tmp_path / "tree", client=client)
    finally:
        meddler.close()
    assert result.exit_code == 0
    assert b"PUT /archive/" in sent
    assert b"content-md5" not in sent.lower()
    assert set(room.recorder.checksums.values()) == {None}
    assert any("not verified" in note for note in result.notes)
    room.settings = replace(room.settings, checksum=ChecksumChoice.AUTO)
    assert room.get(tmp_path / "back").exit_code == 0
    assert digests(tmp_path / "back") == digests(tmp_path / "tree")


def test_no_digests_are_refused_where_the_policy_demands_them(room: Room, tmp_path: Path) -> None:
    """With end-to-end digests demanded, `none` is a UsageError before a job exists; the policy's type is fine."""
    policy = room.client.get_bucket(BUCKET).data_policy_id
    room.client.modify_data_policy(policy, end_to_end_crc_required=True)
    (tmp_path / "small").write_bytes(b"data")
    (tmp_path / "large").write_bytes(b"data" * MIB)
    room.settings = replace(room.settings, checksum=ChecksumChoice.NONE)
    with pytest.raises(UsageError, match="refuses what comes without a digest"):
        room.put(tmp_path)
    room.settings = replace(room.settings, checksum=ChecksumChoice.AUTO)
    assert room.put(tmp_path).objects == 2
    assert room.client.head_object(BUCKET, "small").checksum_type == ChecksumType.MD5
