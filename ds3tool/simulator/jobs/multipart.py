"""Multipart uploads: objects whose parts come one by one, in any order, and are put together at the end.

A part's bytes are a file of their own in the state's folder `parts`, count against the cache, and stay over a restart
until the upload is completed or aborted, or nobody has touched it for a day. An appliance is said to set room aside
for the largest object there may be when an upload begins; here each part asks for the room that it takes. A part must
have 5 MiB, unless it is the last one, or this appliance has small blobs (then any part may be small). Uploads that
are nobody's any more answer with NoSuchUpload.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.buckets import Bucket, Buckets
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.jobs.book import IDLE_SECONDS
from ds3tool.simulator.jobs.naked import NakedPuts
from ds3tool.simulator.jobs.receiving import Digest, check_digest, check_kind, new_file, receive
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.media import write_all
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.messages import Body
from ds3tool.simulator.wire.refusals import Refusal, bad_request, conflict

# Limits of Amazon S3, which the appliance is said to share. Source: protocol, 7.10.
MOST_PARTS = 10_000
LARGEST_PART = 5 << 30
_NO_SUCH_UPLOAD = "NoSuchUpload"
_UPLOAD = "n, bucket, name, user_id, client, started, metadata"
_PART = "number, file, length, md5, modified"


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An upload that is not complete: `n` is its row, `started` seconds since 1970, `metadata` as it is stored."""

    n: int
    id: str
    bucket: int
    name: str
    user_id: str
    client: str
    started: float
    metadata: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is there: its number, the number of its file, its length in bytes, and when it came."""

    number: int
    file: int
    length: int
    md5: bytes
    modified: float

    @property
    def etag(self) -> str:
        """Its ETag, without quotes."""
        return self.md5.hex()


class Multiparts:
    """All uploads that are not complete. Methods are called with or without the store's lock."""

    def __init__(
        self,
        *,
        store: Store,
        buckets: Buckets,
        naked: NakedPuts,
        clock: Clock,
        directory: Path,
        ids: IdFamily,
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._naked = naked
        self._clock = clock
        self._directory = directory
        self._ids = ids
        self._arrivals = 0
        # Uploads that are being put together: nobody may change them.
        self.busy: set[int] = set()

    def path(self, part: Part) -> str:
        """Return where a part's bytes are."""
        return f"{self._directory}/{part.file}"

    # One upload.

    def initiate(
        self, bucket: Bucket, name: str, *, user_id: str, client: str, metadata: str | None
    ) -> MultipartUpload:
        """Begin an upload; a 409 when the name is taken in a bucket without versions."""
        now = self._clock.now()
        rules = self._buckets.rules(bucket)
        self.forget_old()
        with self._store.writing() as db:
            self._buckets.current(bucket)
            self._naked.refuse(bucket, name, user_id, rules)
            number = self._store.numbers("uploads", 1)
            row = (number, bucket.n, name, user_id, client, now, metadata, now)
            db.execute(f"INSERT INTO uploads ({_UPLOAD}, touched) VALUES (?,?,?,?,?,?,?,?)", row)  # noqa: S608 - constants
        return MultipartUpload(number, self._ids.of(number), bucket.n, name, user_id, client, now, metadata)

    def find(self, bucket: Bucket, name: str, upload_id: str) -> MultipartUpload:
        """Return an upload by its id; a 404 when it is not one of this name, or not any more."""
        number = self._ids.number(upload_id)
        young = self._clock.now() - IDLE_SECONDS
        for each in self._select("n = ? AND bucket = ? AND name = ? AND touched > ?", (number, bucket.n, name, young)):
            return each
        message = f"{_NO_SUCH_UPLOAD}[404]: There is no multipart upload '{upload_id}' of '{name}'."
        raise Refusal(404, _NO_SUCH_UPLOAD, message)

    def _select(self, condition: str, values: tuple[object, ...]) -> Iterator[MultipartUpload]:
        query = f"SELECT {_UPLOAD} FROM uploads WHERE {condition}"  # noqa: S608 - conditions are this module's own
        with self._store.lock:
            for number, *rest in self._store.db.execute(query, values):
                yield MultipartUpload(number, self._ids.of(number), *rest)

    def parts(self, upload: MultipartUpload, after: int = 0, limit: int = MOST_PARTS) -> list[Part]:
        """Return an upload's parts in order of number, at most `limit` of those beyond number `after`."""
        query = f"SELECT {_PART} FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?"  # noqa: S608 - constants
        with self._store.lock:
            return [Part(*row) for row in self._store.db.execute(query, (upload.n, after, limit))]

    def put_part(
        self, bucket: Bucket, name: str, upload_id: str, number: int, *, digest: Digest | None, body: Body
    ) -> Part:
        """Take a part, in place of an earlier one of its number.

        Raises a 404 for an unknown upload, a 400 for a number, a size or a digest that is wrong, a 503 without room.
        """
        if not 1 <= number <= MOST_PARTS:
            raise bad_request(f"A part has a number from 1 to {MOST_PARTS}, not {number}.")
        length = body.length
        if length > LARGEST_PART:
            raise bad_request(f"A part may have at most {LARGEST_PART} bytes, not {length}.", "EntityTooLarge")
        check_kind(digest, self._buckets.rules(bucket), also=ChecksumType.MD5)
        with self._store.lock:
            upload = self.find(bucket, name, upload_id)
            self._naked.make_room(length)
            self._arrivals += 1
            arriving = f"{self._directory}/{upload.n}.{number}.{self._arrivals}.part"
        kept = False
        try:
            with new_file(arriving) as descriptor:
                md5 = self._receive(body, descriptor, digest)
                part = self._keep(bucket, upload, arriving, number=number, length=length, md5=md5)
            kept = True
        finally:
            if not kept:
                self._naked.give_back(length)
        return part

    def _receive(self, body: Body, descriptor: int, promised: Digest | None) -> bytes:
        """Write a body to a file and return its MD5; a 400 when another digest was promised, of whatever kind."""
        if promised is None or promised[0] is ChecksumType.MD5:
            return receive(body, descriptor, ChecksumType.MD5, promised)[1]
        md5, other = checksums.digester(ChecksumType.MD5), checksums.digester(promised[0])
        for piece in body.pieces():
            md5.update(piece)
            other.update(piece)
            write_all(descriptor, piece)
        check_digest(promised, (promised[0], other.digest()))
        return md5.digest()

    def _keep(
        self, bucket: Bucket, upload: MultipartUpload, arrived: str, *, number: int, length: int, md5: bytes
    ) -> Part:
        with self._store.writing() as db:
            self.find(bucket, upload.name, upload.id)  # it may have been aborted meanwhile
            self.refuse_busy(upload)
            earlier = [each for each in self.parts(upload, number - 1, 1) if each.number == number]
            part = Part(number, self._store.numbers("parts", 1), length, md5, self._clock.now())
            row = (upload.n, number, part.file, length, md5, part.modified)
            db.execute(f"INSERT OR REPLACE INTO parts (upload, {_PART}) VALUES (?,?,?,?,?,?)", row)  # noqa: S608 - constants
            db.execute("UPDATE uploads SET touched = ? WHERE n = ?", (part.modified, upload.n))
            os.replace(arrived, self.path(part))
            self._store.after_commit(lambda: self._drop(earlier))
        return part

    def refuse_busy(self, upload: MultipartUpload) -> None:
        """Raise a 409 for an upload that is being put together."""
        if upload.n in self.busy:
            raise conflict(f"Conflict[409]: The multipart upload {upload.id} is being completed.")

    def abort(self, bucket: Bucket, name: str, upload_id: str) -> None:
        """Give up an upload and the room of its parts; a 404 for an unknown one."""
        with self._store.lock:
            upload = self.find(bucket, name, upload_id)
            self.refuse_busy(upload)
            self.remove(upload)

    def remove(self, upload: MultipartUpload, keep_room_of: int = 0) -> None:
        """Forget an upload and its parts; of their room, that of `keep_room_of` bytes has become another's."""
        with self._store.writing() as db:
            parts = self.parts(upload)
            db.execute("DELETE FROM parts WHERE upload = ?", (upload.n,))
            db.execute("DELETE FROM uploads WHERE n = ?", (upload.n,))
            self._store.after_commit(lambda: self._drop(parts, keep_room_of))

    def _drop(self, parts: list[Part], keep_room_of: int = 0) -> None:
        for part in parts:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(part))
        self._naked.give_back(sum(part.length for part in parts) - keep_room_of)

    # All uploads.

    def listed(
        self, bucket: Bucket, *, prefix: str, delimiter: str, key_marker: str, id_marker: str, limit: int
    ) -> tuple[list[MultipartUpload], list[str], bool]:
        """Return a page of a bucket's uploads by name and age, its common prefixes, and whether more follow.

        The page begins after `key_marker`, or after that upload `id_marker` of it; prefixes count against `limit`.
        """
        self.forget_old()
        found: list[MultipartUpload] = []
        prefixes: list[str] = []
        beyond = (self._ids.number(id_marker) or 0) if id_marker and key_marker else None
        for each in self._select("bucket = ? AND name >= ? ORDER BY name, n", (bucket.n, max(prefix, key_marker))):
            if not each.name.startswith(prefix):
                break
            if each.name == key_marker and (beyond is None or each.n <= beyond):
                continue
            end = each.name.find(delimiter, len(prefix)) if delimiter else -1
            common = each.name[: end + len(delimiter)] if end >= 0 else None
            if common is not None and (common == key_marker or (prefixes and prefixes[-1] == common)):
                continue
            if len(found) + len(prefixes) >= limit:
                return found, prefixes, bool(limit)
            if common is None:
                found.append(each)
            else:
                prefixes.append(common)
        return found, prefixes, False

    def forget_old(self) -> None:
        """Give up the uploads that nobody has touched for a day."""
        with self._store.lock:
            old = list(self._select("touched <= ?", (self._clock.now() - IDLE_SECONDS,)))
            for upload in old:
                if upload.n not in self.busy:
                    self.remove(upload)

    def forget_bucket(self, bucket: Bucket) -> None:
        """Give up all uploads of a bucket that is being deleted, inside a transaction."""
        for upload in list(self._select("bucket = ?", (bucket.n,))):
            self.remove(upload)

    def recover(self) -> int:
        """Make files and rows agree after a start; return the bytes of the parts that are there.

        A file that no row speaks of goes: its part was on its way, or its upload had just ended. Nobody could touch an
        upload meanwhile: for all of them the day begins anew, as it does for jobs.
        """
        if not self._directory.exists():
            self._directory.mkdir()
            return 0
        with self._store.writing() as db:
            db.execute("UPDATE uploads SET touched = max(touched, ?)", (self._clock.now(),))
            held = {str(file): length for file, length in db.execute("SELECT file, length FROM parts")}
            with os.scandir(self._directory) as entries:
                there = {entry.name: entry.stat().st_size for entry in entries}
            for name, size in there.items():
                if held.get(name) != size:
                    (self._directory / name).unlink()
            for name, length in held.items():
                if there.get(name) != length:
                    db.execute("DELETE FROM parts WHERE file = ?", (int(name),))
        return sum(length for name, length in held.items() if there.get(name) == length)
