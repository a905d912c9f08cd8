"""Sends the blobs of a stream, whose bytes come once and in order: held while they are sent where that is possible."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import field

from ds3tool.errors import (
    ApplianceError,
    Ds3Error,
    ProtocolError,
    SourceError,
)
from ds3tool.jobs.decisions import UNREACHABLE, Decision, after_try
from ds3tool.jobs.ends import OpenObject
from ds3tool.jobs.integrity import compare_sent
from ds3tool.jobs.known_digests import READ_BYTES
from ds3tool.jobs.put_mover import PutMover
from ds3tool.jobs.waiting import ending_with
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import Hasher, new_hasher, to_base64, to_metadata
from ds3tool.protocol.model import PutResult
from ds3tool.transport.bodies import FileRangeBody, OutgoingBody, Wire

# A blob up to this size is held in memory until it is sent: then its digest goes ahead, and it can be sent again.
BUFFER_BYTES = 64 * 1024 * 1024
# Each blob costs the appliance a row, a place on tape and a header of each HEAD, so a stream is cut into buffered ones
# only as long as there are few; a longer one has the data policy's blobs, of which only the beginning is held.
_MOST_BUFFERED_BLOBS = 256


def stream_blob_size(size: int, policy_size: int | None) -> int | None:
    """Return the blob size to ask for, for a stream of `size` bytes; None leaves it to the data policy."""
    if size <= BUFFER_BYTES or (policy_size is not None and policy_size <= BUFFER_BYTES):
        return None
    return BUFFER_BYTES if size <= BUFFER_BYTES * _MOST_BUFFERED_BLOBS else None


class StreamMover(PutMover):
    """Moves the blobs of one put job from a stream, one at a time and in order, as the engine takes them then.

    A blob of at most 64 MiB is held in memory; a larger one goes through a temporary file where the appliance demands
    its digest ahead. Without that it is digested as it passes, and counts as put only when the appliance states the
    same digest: in its reply, or beside the whole object. Such a blob can be sent again only while it is held, that
    is until its first 64 MiB have passed. Memory: 64 MiB.

    A digest of the whole stream is made as it passes. It is stored with an object of one blob that is held; of others
    the first blob, with the metadata, has gone by then, and `whole_digests` alone has it (base64, by object's number).
    """

    _opened: OpenObject | None = None
    _owner = -1
    _whole_hasher: Hasher | None = None

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Read one blob from where the stream is, and send it."""
        with ending_with(self._transport, self._source, self._blobs.keys[number]):
            return self._move_blob(number, counter)

    def _move_blob(self, number: int, counter: Callable[[int], None]) -> str | None:
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        opened = self._stream(number)
        last = offset + length == self._plan.sizes[self._owners[number]]
        blocks = _Blocks(opened, offset, length, last=last, whole=self._whole_hasher)
        hasher = None if self._checksum_type is None else new_hasher(self._checksum_type)
        if length > BUFFER_BYTES and not self._digest_demanded:
            checksum = self._send_passing(number, _PassingBody(blocks, hasher, counter), last=last)
            stored = False
        else:
            checksum = self._send_held(number, blocks, hasher, counter)
            stored = bool(self._whole_metadata(number))
        if last and self._whole_hasher is not None and not stored:
            self.whole_digests[self._owners[number]] = to_base64(self._whole_hasher.digest())
        return checksum

    def _send_held(
        self, number: int, blocks: _Blocks, hasher: Hasher | None, counter: Callable[[int], None]
    ) -> str | None:
        length = blocks.length
        if length > BUFFER_BYTES:
            try:
                with tempfile.TemporaryFile(prefix="ds3tool-") as file:
                    for block in blocks.hashed(hasher):
                        file.write(block)
                    file.flush()
                    body = FileRangeBody(file.fileno(), 0, length, "the temporary file", counter)
                    return self._send_ahead(number, body, hasher)
            except OSError as error:
                raise SourceError(
                    f"a blob of {length} bytes cannot be kept in {tempfile.gettempdir()}: {error.strerror}",
                    hint="make room there, set TMPDIR, or ask for smaller blobs: --max-upload-size",
                ) from error
        held = [*blocks.hashed(hasher)]
        return self._send_ahead(number, HeldBlocks(held, length, counter), hasher)

    def _stream(self, number: int) -> OpenObject:
        owner = self._owners[number]
        if self._opened is None or owner != self._owner:
            self.close()
            self._opened, self._owner = self._source.open(self._plan.source_object(owner)), owner
            self._to_confirm: dict[int, str] = {}
            needed = self._whole is not None and self._whole.is_needed(len(self._cuts(number)))
            self._whole_hasher = new_hasher(self._whole_type) if needed and self._whole_type is not None else None
        return self._opened

    def _send_ahead(self, number: int, body: OutgoingBody, hasher: Hasher | None) -> str | None:
        """Send a blob that can be sent again, with its digest ahead."""
        checksum = None if hasher is None else to_base64(hasher.digest())
        stored_with = {**self._metadata(self._stream(number)), **self._whole_metadata(number)}
        self._put_held(number, body, checksum, stored_with)
        self._confirm(number)
        return checksum

    def _whole_metadata(self, number: int) -> dict[str, str]:
        """Return what the metadata of an object of one blob, all of which has been read, are to say of all of it."""
        only = self._blobs.lengths[number] == self._plan.sizes[self._owners[number]]
        if not only or self._whole_hasher is None or self._whole_type is None:
            return {}
        return to_metadata(self._whole_type, to_base64(self._whole_hasher.digest()))

    def _send_passing(self, number: int, body: _PassingBody, *, last: bool) -> str | None:
        """Send a blob that is digested as it passes, and hold the appliance's digest against ours."""
        key, offset = self._blobs.keys[number], self._blobs.offsets[number]
        stored_with = self._metadata(self._stream(number))
        self._attempted[number] = 1

        def ask() -> PutResult | None:
            """Return an answer without a digest when all of the blob is there: that is held against ours later."""
            return PutResult() if body.complete and self._arrived(number, body.checksum, last=last) else None

        try:
            result = self._client.put_object(
                self._plan.bucket, key, body, job_id=self.job_id, offset=offset, metadata=stored_with, ask=ask
            )
        except (ApplianceError, ProtocolError) as error:
            decision = after_try(error, sends=True, damaged=False, sent=body.complete, repeatable=False)
            asked = ask() if decision is Decision.ASK_FIRST else None
            if asked is None:
                raise
            result = asked
        checksum = body.checksum
        if checksum is None:
            return None
        if result.checksum is not None and result.checksum_type == self._checksum_type:
            compare_sent(key, offset, expected=checksum, actual=result.checksum)
        else:
            self._to_confirm[offset] = checksum
        if last:
            self._confirm(number)
        return checksum

    def _arrived(self, number: int, checksum: str | None, *, last: bool) -> bool:
        """Whether a blob that was sent whole is on the appliance; of one that is in the cache, without its digest."""
        if self._is_in_cache(number):
            return True
        if last or checksum is None:
            return self._has(number, checksum)
        key, offset = self._blobs.keys[number], self._blobs.offsets[number]
        try:
            chunks = self._client.get_job(self.job_id).chunks
        except UNREACHABLE:
            raise
        except Ds3Error:
            return False
        return any(
            blob.in_cache for chunk in chunks for blob in chunk.blobs if (blob.key, blob.offset) == (key, offset)
        )

    def _confirm(self, number: int) -> None:
        """When an object is whole, ask for the digests of those of its blobs that nobody has confirmed."""
        end = self._blobs.offsets[number] + self._blobs.lengths[number]
        if not self._to_confirm or end != self._plan.sizes[self._owners[number]]:
            return
        key = self._blobs.keys[number]
        head = self._client.head_object(self._plan.bucket, key)
        if head.checksum_type != self._checksum_type or head.version_id != self._blobs.version_ids[number]:
            raise SourceError(
                f"{key}: the appliance states no digests of what it received, so nobody knows that it is whole",
                hint="leave out --size: then the stream is kept in a file first, and sent with its digests",
            )
        for offset, checksum in self._to_confirm.items():
            compare_sent(key, offset, expected=checksum, actual=head.checksums.get(offset))

    def close(self) -> None:
        """Let go of the stream."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The bytes of one blob in blocks of 1 MiB, to be walked once; the last block only comes where the stream ends.

    `whole` takes them as well, as those of all blobs before.
    """

    opened: OpenObject
    offset: int
    length: int
    last: bool
    whole: Hasher | None = None

    def hashed(self, hasher: Hasher | None) -> Iterator[bytes]:
        """Yield the blocks, which `hasher` takes as well."""
        done = 0
        while done < self.length:
            block = self.opened.read(self.offset + done, min(READ_BYTES, self.length - done))
            done += len(block)
            for each in (hasher, self.whole):
                if each is not None:
                    each.update(block)
            if self.last and done == self.length:
                self.opened.check_unchanged()
            yield block
        if self.last and not self.length:
            self.opened.check_unchanged()


@dataclass(frozen=True, slots=True)
class HeldBlocks:
    """A blob in memory, in blocks."""

    blocks: list[bytes]
    length: int
    counter: Callable[[int], None]

    def send_to(self, wire: Wire) -> None:
        """Send block after block."""
        for block in self.blocks:
            wire.send(block)
            self.counter(len(block))


@dataclass(slots=True)
class _PassingBody:
    """A blob that goes from the stream to the wire; what has passed is held up to 64 MiB, to be sent again."""

    source: _Blocks
    hasher: Hasher | None
    counter: Callable[[int], None]
    passed: int = 0
    held: list[bytes] | None = field(default_factory=list)
    fresh: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.fresh = self.source.hashed(self.hasher)

    @property
    def length(self) -> int:
        """Bytes of the blob."""
        return self.source.length

    @property
    def complete(self) -> bool:
        """Whether all of the blob was handed to the wire."""
        return self.passed == self.length

    @property
    def checksum(self) -> str | None:
        """The digest of all that has passed, in base64."""
        return None if self.hasher is None else to_base64(self.hasher.digest())

    def send_to(self, wire: Wire) -> None:
        """Send what is held, then go on with the stream; SourceError when what went before is not held any more."""
        if self.held is None:
            raise SourceError(
                f"sending broke off after {self.passed} bytes of a blob, more than are held of a stream, "
                "so it cannot be sent again",
                hint="put it again; blobs of at most 64 MiB can be sent again (--max-upload-size 64MiB), and without "
                "--size the stream is kept in a file first",
            )
        for block in self.held:
            wire.send(block)
            self.counter(len(block))
        for block in self.fresh:
            if self.held is not None:
                if self.passed + len(block) <= BUFFER_BYTES:
                    self.held.append(block)
                else:
                    self.held = None
            self.passed += len(block)
            wire.send(block)
            self.counter(len(block))
