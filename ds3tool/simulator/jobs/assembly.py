"""Parts put together: a multipart upload becomes one object, of as few blobs as it fits into.

The kernel copies the bytes from file to file; they pass through memory only for the blobs' checksums, which no sum of
the parts' would give. While that lasts, nobody may change the upload; when it fails, the upload is as it was.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence

from ds3tool.protocol import names
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.buckets import Bucket, Buckets
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.jobs.multipart import Multiparts, MultipartUpload, Part
from ds3tool.simulator.jobs.naked import ArrivedBlob, NakedPuts
from ds3tool.simulator.jobs.plans import Planner
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.refusals import Refusal, bad_request, busy

_SMALLEST_PART = 5 << 20
_PIECE = 1 << 20
_AT_ONCE = 64 << 20


class Assembly:
    """Completes multipart uploads. Methods are called without the store's lock.

    `stopped` is asked between pieces: when it says so the work is given up, and the upload is as it was.
    """

    def __init__(
        self,
        *,
        store: Store,
        buckets: Buckets,
        cache: Cache,
        naked: NakedPuts,
        planner: Planner,
        multiparts: Multiparts,
        settings: ApplianceSettings,
        stopped: Callable[[], bool],
    ) -> None:
        self._store = store
        self._stopped = stopped
        self._buckets = buckets
        self._cache = cache
        self._naked = naked
        self._planner = planner
        self._multiparts = multiparts
        # An appliance that was built with small blobs takes small parts, for trying things out.
        self._least = _SMALLEST_PART if settings.blob_size >= names.MIN_BLOB_SIZE else 0

    def complete(self, bucket: Bucket, name: str, upload_id: str, wanted: Sequence[tuple[int, str]]) -> str:
        """Make an object of parts, given by number and ETag; return its ETag, without quotes. Parts not given go.

        Raises a 404 for an unknown upload; a 400 for parts that are out of order, not there, others than the client
        means, or too small; a 409 for a name that is taken, or while the upload is being completed already.
        """
        rules = self._buckets.rules(bucket)
        with self._store.lock:
            upload = self._multiparts.find(bucket, name, upload_id)
            self._multiparts.refuse_busy(upload)
            chosen = self._choose(upload, wanted)
            self._naked.refuse(bucket, name, upload.user_id, rules)
            self._multiparts.busy.add(upload.n)
        etag = checksums.etag_of_parts([part.md5 for part in chosen])
        try:
            with contextlib.ExitStack() as stack:
                blobs = list(self._blobs(stack, chosen, self._planner.blob_size(rules), rules.checksum_type))
                with self._store.writing() as db:
                    self._naked.record(
                        db,
                        bucket,
                        name,
                        blobs,
                        rules,
                        user_id=upload.user_id,
                        client=upload.client,
                        metadata=upload.metadata,
                        etag=etag,
                    )
                    self._multiparts.remove(upload, keep_room_of=sum(part.length for part in chosen))
        except FileNotFoundError:  # the bucket was deleted meanwhile, and with it the parts
            self._multiparts.find(bucket, name, upload_id)
            raise
        finally:
            with self._store.lock:
                self._multiparts.busy.discard(upload.n)
        return etag

    def _choose(self, upload: MultipartUpload, wanted: Sequence[tuple[int, str]]) -> list[Part]:
        there = {part.number: part for part in self._multiparts.parts(upload)}
        if any(later <= earlier for (earlier, _), (later, _) in itertools.pairwise(wanted)):
            raise Refusal(400, "InvalidPartOrder", "InvalidPartOrder[400]: The parts are not in ascending order.")
        chosen: list[Part] = []
        for number, etag in wanted:
            part = there.get(number)
            if part is None or etag.strip().strip('"').lower() != part.etag:
                raise Refusal(400, "InvalidPart", f"InvalidPart[400]: There is no part {number} with the ETag {etag}.")
            chosen.append(part)
        small = next((part for part in chosen[:-1] if part.length < self._least), None)
        if small is not None:
            message = f"EntityTooSmall[400]: Part {small.number} has {small.length} bytes, less than {self._least}."
            raise Refusal(400, "EntityTooSmall", message)
        if not chosen:
            raise bad_request("A multipart upload needs at least one part.", names.MALFORMED_XML)
        return chosen

    def _blobs(
        self, stack: contextlib.ExitStack, parts: Sequence[Part], blob_size: int, kind: ChecksumType
    ) -> Iterator[ArrivedBlob]:
        """Yield an object's blobs, each in a new file beside the cache's; those not taken in go with the stack."""
        total = sum(part.length for part in parts)
        if not total:
            yield ArrivedBlob(None, 0, (kind, checksums.digester(kind).digest()))
        for start in range(0, total, blob_size):
            length = min(blob_size, total - start)
            with self._store.lock:
                path = self._cache.new_path(0)
            stack.callback(_unlink, path)
            target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                self._fill(target, parts, start, length)
                whole = kind is ChecksumType.MD5 and len(parts) == 1 and length == total
                digest = parts[0].md5 if whole else self._digest(target, length, kind)
            finally:
                os.close(target)
            yield ArrivedBlob(path, length, (kind, digest))

    def _fill(self, target: int, parts: Sequence[Part], start: int, length: int) -> None:
        """Copy the `length` bytes from `start` of the joined parts to the beginning of a file."""
        begin = 0
        for part in parts:
            first, past = max(start, begin), min(start + length, begin + part.length)
            if first < past:
                source = os.open(self._multiparts.path(part), os.O_RDONLY)
                try:
                    self._copy(source, first - begin, target, first - start, past - first)
                finally:
                    os.close(source)
            begin += part.length

    def _copy(self, source: int, position: int, target: int, place: int, length: int) -> None:
        done = 0
        while done < length:
            self._go_on()
            moved = os.copy_file_range(source, target, min(length - done, _AT_ONCE), position + done, place + done)
            if not moved:
                raise OSError(f"the file of a part ends after {position + done} bytes")
            done += moved

    def _digest(self, descriptor: int, length: int, kind: ChecksumType) -> bytes:
        digester = checksums.digester(kind)
        for start in range(0, length, _PIECE):
            self._go_on()
            digester.update(os.pread(descriptor, min(_PIECE, length - start), start))
        return digester.digest()

    def _go_on(self) -> None:
        if self._stopped():
            raise busy("The appliance is closing.", 1)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
