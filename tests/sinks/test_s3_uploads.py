"""Uploads to S3 that were begun are remembered until they have ended, and can be aborted by whoever finds them."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import FarSideUnreachableError, JournalError, UsageError
from ds3tool.sinks.s3_uploads import Upload, UploadRecord, abort_uploads, uploads_left
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


def begun(record: UploadRecord, key: str, upload_id: str) -> Upload:
    """Let a record know of an upload that was begun."""
    upload = replace(record.begins(key), upload_id=upload_id)
    record.begun(upload)
    return upload


def begun_there(far: FarSide, bucket: str, key: str) -> str:
    """Begin an upload, as somebody does; return its id."""
    return str(far.client().create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])


def test_an_upload_is_on_the_disk_as_soon_as_it_is_told(tmp_path: Path, recorded: Recorded) -> None:
    """Whoever reads after a kill finds what has begun and not ended, with all that is needed to reach it."""
    aws = AwsSettings("profile", "http://s3.example", "eu-west-1")
    record = recorded(aws)
    film, other = begun(record, "a/film ä", "id-1"), begun(record, "b", "id-2")
    unknown = record.begins("c")
    record.ended(other)
    assert uploads_left(tmp_path, TOKEN) == [film, unknown]
    assert (film.aws, film.bucket, film.key, film.upload_id) == (aws, "reels", "a/film ä", "id-1")
    assert unknown.upload_id is None
    assert recorded(aws).earlier == [film, unknown]
    path = tmp_path / "uploads" / TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_left_of_a_record_of_ended_uploads(tmp_path: Path, recorded: Recorded) -> None:
    """The file goes when all that it names has ended, and stays while something has not."""
    record = recorded()
    upload = begun(record, "a", "id-1")
    record.close()
    assert uploads_left(tmp_path, TOKEN) == [upload]
    later = recorded()
    later.ended(upload)
    later.close()
    later.close()
    assert not list((tmp_path / "uploads").iterdir())


def test_a_line_that_a_kill_has_cut_spoils_no_other(tmp_path: Path, recorded: Recorded) -> None:
    """After half a line, what was told before and what is told after are both found."""
    first = begun(recorded(), "a", "id-1")
    with (tmp_path / "uploads" / TOKEN).open("ab") as file:
        file.write(b'{"upload": "id-')
    second = begun(recorded(), "b", "id-2")
    assert uploads_left(tmp_path, TOKEN) == [first, second]


def test_aborting_what_a_work_has_left(tmp_path: Path, moto: FarSide, aws: AwsSettings, recorded: Recorded) -> None:
    """Every upload of the work is aborted, gone ones are no error, and those of anybody else stay."""
    bucket = moto.bucket()
    begun_there(moto, bucket, "somebody's")
    record = recorded(aws, bucket)
    for key in ("a", "b"):
        begun(record, key, begun_there(moto, bucket, key))
    begun(record, "gone", "no-such-upload")
    begun(recorded(aws, bucket, "work-2"), "other", begun_there(moto, bucket, "other"))
    assert abort_uploads(tmp_path, TOKEN) == 3
    assert sorted(moto.uploads(bucket)) == ["other", "somebody's"]
    assert abort_uploads(tmp_path, TOKEN) == 0
    assert abort_uploads(tmp_path, "work-2", aws) == 1
    assert not list((tmp_path / "uploads").iterdir())


def test_an_upload_whose_id_nobody_knew_is_found(
    tmp_path: Path, seaweed: FarSide, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before S3's answer was remembered: the upload of that key that has no part yet is aborted, no other."""
    for name, value in seaweed.environ.items():
        monkeypatch.setenv(name, value)
    bucket, client = seaweed.bucket(), seaweed.client()
    recorded(AwsSettings(endpoint=seaweed.endpoint), bucket).begins("film")
    begun_there(seaweed, bucket, "film")
    others = begun_there(seaweed, bucket, "film")
    client.upload_part(Bucket=bucket, Key="film", UploadId=others, PartNumber=1, Body=b"1")
    begun_there(seaweed, bucket, "film 2")
    assert abort_uploads(tmp_path, TOKEN) == 1
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert sorted((one["Key"], one["UploadId"] == others) for one in left) == [("film", True), ("film 2", False)]


def test_what_was_begun_nowhere_is_forgotten(
    tmp_path: Path, moto: FarSide, aws: AwsSettings, recorded: Recorded
) -> None:
    """An upload that was never begun, in a bucket that is gone, keeps nobody from forgetting it."""
    recorded(aws, "gone-bucket").begins("film")
    assert abort_uploads(tmp_path, TOKEN) == 1
    assert uploads_left(tmp_path, TOKEN) == []


def test_what_cannot_be_reached_stays_remembered(
    tmp_path: Path, moto: FarSide, aws: AwsSettings, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When S3 is out of reach, the error says so and the upload is found again; then it is aborted."""
    monkeypatch.setattr("ds3tool.aws.session._TRIES", 1)
    bucket = moto.bucket()
    begun(recorded(aws, bucket), "a", begun_there(moto, bucket, "a"))
    with pytest.raises(FarSideUnreachableError):
        abort_uploads(tmp_path, TOKEN, AwsSettings(endpoint="http://127.0.0.1:9"))
    assert len(uploads_left(tmp_path, TOKEN)) == 1
    assert abort_uploads(tmp_path, TOKEN, aws) == 1
    assert moto.uploads(bucket) == []


def test_without_a_place_nothing_is_remembered(tmp_path: Path, recorded: Recorded) -> None:
    """A work without a token leaves no file, and forgets nothing while it runs."""
    record = recorded(token=None)
    upload = begun(record, "a", "id-1")
    assert record.unfinished == [upload]
    record.close()
    assert not list(tmp_path.iterdir())


def test_an_upload_that_cannot_be_remembered_is_an_error(tmp_path: Path, recorded: Recorded) -> None:
    """Where the record cannot be written, no upload is begun in silence."""
    record = recorded()
    (tmp_path / "uploads").write_text("in the way")
    with pytest.raises(JournalError, match="cannot be remembered"):
        record.begins("a")
    (tmp_path / "uploads").unlink()


def test_no_token_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A token that is no plain name is refused."""
    with pytest.raises(UsageError):
        abort_uploads(tmp_path, "../jobs")
