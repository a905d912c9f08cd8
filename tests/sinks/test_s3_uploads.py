"""Uploads to S3 that were begun are remembered until they have ended, and can be aborted by whoever finds them."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import FarSideUnreachableError, JournalError, UsageError
from ds3tool.sinks.s3_uploads import UploadRecord, abort_uploads, uploads_left
from tests.far.servers import FarSide

TOKEN = "work-1"
Recorded = Callable[..., UploadRecord]


@pytest.fixture
def aws(moto: FarSide, monkeypatch: pytest.MonkeyPatch) -> AwsSettings:
    """How the tests' S3 is reached."""
    for name, value in moto.environ.items():
        monkeypatch.setenv(name, value)
    return AwsSettings(endpoint=moto.endpoint)


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    """Give a function that opens a record below the test's folder."""
    records: list[UploadRecord] = []

    def opened(aws: AwsSettings = AwsSettings(), bucket: str = "reels", token: str | None = TOKEN) -> UploadRecord:  # noqa: B008
        records.append(UploadRecord(aws, bucket, state=tmp_path, token=token))
        return records[-1]

    yield opened
    for record in records:
        record.close()


def begun(far: FarSide, bucket: str, key: str) -> str:
    """Begin an upload, as somebody does; return its id."""
    return str(far.client().create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])


def test_an_upload_is_on_the_disk_as_soon_as_it_is_told(tmp_path: Path, recorded: Recorded) -> None:
    """Whoever reads after a kill finds what has begun and not ended, with all that is needed to reach it."""
    aws = AwsSettings("profile", "http://s3.example", "eu-west-1")
    record = recorded(aws)
    record.begun("a/film ä", "id-1", size=30, part_bytes=8)
    record.begun("b", "id-2", size=40, part_bytes=8)
    record.ended("id-2")
    (left,) = uploads_left(tmp_path, TOKEN)
    assert (left.aws, left.bucket, left.key, left.upload_id) == (aws, "reels", "a/film ä", "id-1")
    assert (left.size, left.part_bytes) == (30, 8)
    assert recorded(aws).earlier == [left]
    path = tmp_path / "uploads" / TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_left_of_a_record_of_ended_uploads(tmp_path: Path, recorded: Recorded) -> None:
    """The file goes when all that it names has ended, and stays while something has not."""
    record = recorded()
    record.begun("a", "id-1", size=1, part_bytes=1)
    record.close()
    assert [one.upload_id for one in uploads_left(tmp_path, TOKEN)] == ["id-1"]
    later = recorded()
    later.ended("id-1")
    later.close()
    later.close()
    assert not list((tmp_path / "uploads").iterdir())


def test_a_line_that_a_kill_has_cut_spoils_no_other(tmp_path: Path, recorded: Recorded) -> None:
    """After half a line, what was told before and what is told after are both found."""
    record = recorded()
    record.begun("a", "id-1", size=1, part_bytes=1)
    with (tmp_path / "uploads" / TOKEN).open("ab") as file:
        file.write(b'{"upload": "id-')
    later = recorded()
    later.begun("b", "id-2", size=1, part_bytes=1)
    assert [one.upload_id for one in uploads_left(tmp_path, TOKEN)] == ["id-1", "id-2"]


def test_aborting_what_a_work_has_left(tmp_path: Path, moto: FarSide, aws: AwsSettings, recorded: Recorded) -> None:
    """Every upload of the work is aborted, gone ones are no error, and those of anybody else stay."""
    bucket = moto.bucket()
    begun(moto, bucket, "somebody's")
    record = recorded(aws, bucket=bucket)
    for key in ("a", "b"):
        record.begun(key, begun(moto, bucket, key), size=1, part_bytes=1)
    record.begun("gone", "no-such-upload", size=1, part_bytes=1)
    other = recorded(aws, bucket=bucket, token="work-2")
    other.begun("other", begun(moto, bucket, "other"), size=1, part_bytes=1)
    assert abort_uploads(tmp_path, TOKEN) == 3
    assert sorted(moto.uploads(bucket)) == ["other", "somebody's"]
    assert abort_uploads(tmp_path, TOKEN) == 0
    assert abort_uploads(tmp_path, "work-2", aws) == 1
    assert not list((tmp_path / "uploads").iterdir())


def test_what_cannot_be_reached_stays_remembered(
    tmp_path: Path, moto: FarSide, aws: AwsSettings, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When S3 is out of reach, the error says so and the upload is found again; then it is aborted."""
    monkeypatch.setattr("ds3tool.aws.session._TRIES", 1)
    bucket = moto.bucket()
    record = recorded(aws, bucket=bucket)
    record.begun("a", begun(moto, bucket, "a"), size=1, part_bytes=1)
    with pytest.raises(FarSideUnreachableError):
        abort_uploads(tmp_path, TOKEN, AwsSettings(endpoint="http://127.0.0.1:9"))
    assert len(uploads_left(tmp_path, TOKEN)) == 1
    assert abort_uploads(tmp_path, TOKEN, aws) == 1
    assert moto.uploads(bucket) == []


def test_without_a_place_nothing_is_remembered(tmp_path: Path, recorded: Recorded) -> None:
    """A work without a token leaves no file, and forgets nothing while it runs."""
    record = recorded(token=None)
    record.begun("a", "id-1", size=1, part_bytes=1)
    assert [one.upload_id for one in record.unfinished] == ["id-1"]
    record.close()
    assert not list(tmp_path.iterdir())


def test_an_upload_that_cannot_be_remembered_is_an_error(tmp_path: Path, recorded: Recorded) -> None:
    """Where the record cannot be written, the upload is not begun in silence."""
    record = recorded()
    (tmp_path / "uploads").write_text("in the way")
    with pytest.raises(JournalError, match="cannot be remembered"):
        record.begun("a", "id-1", size=1, part_bytes=1)
    (tmp_path / "uploads").unlink()


def test_no_token_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A token that is no plain name is refused."""
    with pytest.raises(UsageError):
        abort_uploads(tmp_path, "../jobs")
