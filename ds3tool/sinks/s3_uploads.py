"""Uploads in parts that are not finished: remembered on the disk before a part is sent, so that none is forgotten.

S3 keeps, and charges for, the parts of an upload until somebody completes or aborts it. One file for each piece of
work, `uploads/TOKEN` in the state folder: a line of JSON before an upload is begun, one when S3 has given it an id, and
one when it has ended. Whoever is killed between the first two has an upload of which nobody knows the id; it is looked
for by its key, its time, and that it has no part.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ds3tool.aws.failures import far_side
from ds3tool.aws.session import AwsSettings
from ds3tool.errors import FarSideForbiddenError, FarSideNotFoundError, JournalError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sinks.leftovers import check_token

_log = logging.getLogger(__name__)

_FOLDER = "uploads"
# S3 refuses whose clock is off by more than this.
_CLOCKS_DIFFER_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts: where it goes, when it was begun (seconds since 1970), and its id in S3 once that is known.

    `number` is what this host calls it.
    """

    aws: AwsSettings
    bucket: str
    key: str
    began: float
    number: str
    upload_id: str | None = None


class UploadRecord:
    """What a piece of work has begun to upload into one bucket. Safe for several threads.

    The file is made with the first upload and removed by `close` when nothing in it is unfinished. Without `state` or
    `token` nothing is remembered beyond this process.
    """

    def __init__(self, aws: AwsSettings, bucket: str, *, state: Path | None, token: str | None) -> None:
        self._aws = aws
        self._bucket = bucket
        self._path = None if state is None or token is None else _path(state, token)
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._unfinished: dict[str, Upload] = {}
        # What an earlier run of the same work has left.
        self.earlier: list[Upload] = [] if self._path is None else _read(self._path)

    def begins(self, key: str) -> Upload:
        """Remember that an upload is to be begun; that is safe on the disk when this returns, else JournalError."""
        upload = Upload(self._aws, self._bucket, key, time.time(), secrets.token_hex(8))
        with self._lock:
            self._append(_told(upload), safe=True)
            self._unfinished[upload.number] = upload
        return upload

    def begun(self, upload: Upload) -> None:
        """Remember an upload whose id is known now; that is safe on the disk when this returns, else JournalError."""
        with self._lock:
            self._unfinished[upload.number] = upload
            self._append(_told(upload), safe=True)

    def ended(self, upload: Upload) -> None:
        """Note that an upload was completed or aborted. When this is lost, it is only looked for in vain."""
        with self._lock:
            self._unfinished.pop(upload.number, None)
            self.earlier = [one for one in self.earlier if one.number != upload.number]
            with contextlib.suppress(JournalError):
                self._append({"ended": upload.number}, safe=False)

    @property
    def unfinished(self) -> list[Upload]:
        """What this run has begun and not ended."""
        with self._lock:
            return list(self._unfinished.values())

    def close(self) -> None:
        """Close the file; remove it where it names nothing that is unfinished. Twice is harmless."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._path is not None and not self._unfinished and not self.earlier:
                self._path.unlink(missing_ok=True)

    def _append(self, told: dict[str, Any], *, safe: bool) -> None:
        if self._path is None:
            return
        try:
            if self._file is None:
                self._file = _opened(self._path)
            self._file.write(json.dumps(told).encode() + b"\n")
            self._file.flush()
            if safe:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(
                f"an upload to S3 cannot be remembered in {self._path}: {error.strerror}",
                hint="make room, or keep what ds3tool remembers elsewhere: --state-dir DIR",
            ) from error


def uploads_left(state: Path, token: str) -> list[Upload]:
    """Return the uploads that a piece of work has begun, and of which nobody knows that they have ended."""
    return _read(_path(state, token))


def abort_uploads(state: Path, token: str, aws: AwsSettings | None = None) -> int:
    """Abort every upload that a piece of work has left; return how many there were.

    `aws` in place of the settings with which they were begun. One that is not there any more is no error. Raises
    FarSideError or FarSideUnreachableError when one cannot be aborted: it is remembered then, with those after it.
    """
    count = 0
    path = _path(state, token)
    for upload in _read(path):
        abort(_client_of(upload.aws if aws is None else aws), upload)
        count += 1
        with _opened(path) as file:
            file.write(json.dumps({"ended": upload.number}).encode() + b"\n")
    path.unlink(missing_ok=True)
    return count


def abort(client: Any, upload: Upload, *, but: str | None = None) -> None:  # noqa: ANN401  # boto3 makes its types at run time
    """Abort an upload, with all of its parts; one that is not there any more is no error.

    Where its id is not known, `but` is that of another upload of the key.
    """
    found = _without_id(client, upload) if upload.upload_id is None else [upload.upload_id]
    for upload_id in found:
        if upload_id == but:
            continue
        try:
            with far_side(f"s3://{upload.bucket}/{upload.key}"):
                client.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload_id)
        except FarSideNotFoundError:
            _log.debug("upload %s of %s was not there any more", upload_id, upload.key)


def _without_id(client: Any, upload: Upload) -> list[str]:  # noqa: ANN401  # boto3 makes its types at run time
    """Return the ids of uploads that can be the one of which we were killed before we knew it."""
    found = []
    try:
        with far_side(f"s3://{upload.bucket}/{upload.key}"):
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=upload.bucket, Prefix=upload.key)
            for one in (one for page in pages for one in page.get("Uploads", ())):
                near = abs(one["Initiated"].timestamp() - upload.began) <= _CLOCKS_DIFFER_SECONDS
                if one["Key"] == upload.key and near and not _has_parts(client, upload, one["UploadId"]):
                    found.append(one["UploadId"])
    except FarSideNotFoundError:
        pass
    except FarSideForbiddenError as error:
        _log.warning("whether an upload was begun for %s is not known: %s", upload.key, error)
    return found


def _has_parts(client: Any, upload: Upload, upload_id: str) -> bool:  # noqa: ANN401  # boto3 makes its types at run time
    listed = client.list_parts(Bucket=upload.bucket, Key=upload.key, UploadId=upload_id, MaxParts=1)
    return bool(listed.get("Parts"))


def _client_of(aws: AwsSettings) -> Any:  # noqa: ANN401  # boto3 makes its types at run time
    return aws.client("s3")


def _path(state: Path, token: str) -> Path:
    return state / _FOLDER / check_token(token)


def _opened(path: Path) -> IO[bytes]:
    """Return the file, open for lines at its end; made, and its name safe, when it is not there. OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if is_new:
        for folder in (path.parent, path.parent.parent):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    else:
        os.write(descriptor, b"\n")  # what a run that was killed may have written half stands alone
    return os.fdopen(descriptor, "wb")


def _told(upload: Upload) -> dict[str, Any]:
    return {
        "upload": upload.number,
        "id": upload.upload_id,
        "aws": upload.aws.mapping(),
        "bucket": upload.bucket,
        "key": upload.key,
        "began": upload.began,
    }


def _read(path: Path) -> list[Upload]:
    """Return the uploads of a file that have begun and not ended; lines that a kill has cut are left out."""
    found: dict[str, Upload] = {}
    for told in _lines(path):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            if "ended" in told:
                found.pop(told["ended"], None)
                continue
            upload_id = None if told["id"] is None else str(told["id"])
            upload = Upload(
                AwsSettings.of(told["aws"]),
                str(told["bucket"]),
                str(told["key"]),
                float(told["began"]),
                str(told["upload"]),
                upload_id,
            )
            found[upload.number] = upload
    return list(found.values())


def _lines(path: Path) -> Iterator[Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise JournalError(f"uploads that may be unfinished cannot be read in {path}: {error.strerror}") from error
    for line in data.splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
