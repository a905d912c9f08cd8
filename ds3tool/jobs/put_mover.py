"""Sends the blobs of one put job: digest first, then the bytes, then a look whether the source has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ds3tool.client import Ds3Client
from ds3tool.errors import (
    ApplianceError,
    ChecksumError,
    Ds3Error,
    InterruptedRunError,
    ProtocolError,
    SourceError,
)
from ds3tool.jobs.answer_kinds import AnswerKind
from ds3tool.jobs.decisions import UNREACHABLE, Decision, after_try
from ds3tool.jobs.ends import OpenObject, PlainSource, Source
from ds3tool.jobs.integrity import compare_sent, digest_range
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.jobs.state import JobState
from ds3tool.jobs.steadiness import Steadiness, mark_of
from ds3tool.jobs.waiting import ending_with
from ds3tool.protocol import metadata, names, responses
from ds3tool.protocol.checksums import digester
from ds3tool.protocol.escaped import may_be_escaped
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.metadata import HeaderLines
from ds3tool.protocol.model import ChecksumType, PutResult
from ds3tool.transport.bodies import OutgoingBody
from ds3tool.transport.pool import Transport
from ds3tool.transport.shapes import AnswerHead
from ds3tool.transport.templates import BlobHeads

if TYPE_CHECKING:
    from ds3tool.jobs.whole_digests import ObjectDigests, WholeDigests

_log = logging.getLogger(__name__)

# Small objects that are read before it is their turn.
_AHEAD, _AHEAD_BYTES = 16, 1 << 20


class PutMover:
    """Moves the blobs of one put job for the engine.

    `checksum_type` None sends them without digests, which then nobody compares. `user_metadata` goes out with every
    blob, beside what the source stores with its object. `digest_demanded`: the appliance refuses a blob without one.
    `whole_type`: so is a digest of the whole object, of this type, for which all of it is read before its first blob;
    where it cannot be stored, `whole_digests` has it by the object's number, in base64.
    """

    method = "PUT"

    def __init__(
        self,
        client: Ds3Client,
        transport: Transport,
        *,
        source: Source,
        plan: PlannedJob,
        state: JobState,
        job_id: str,
        checksum_type: ChecksumType | None,
        user_metadata: Mapping[str, str],
        digest_demanded: bool = False,
        whole_type: ChecksumType | None = None,
        earlier: HeldBlobs | None = None,
        since_ns: int = 0,
    ) -> None:
        self.job_id = job_id
        self._client = client
        self._transport = transport
        self._source = source
        self._plan = plan
        self._state = state
        self._blobs = state.blobs
        self._owners = state.object_of
        self._checksum_type = checksum_type
        self._whole_type = None if checksum_type is None else whole_type
        self._whole: WholeDigests | None = None
        if checksum_type is not None and whole_type is not None:
            from ds3tool.jobs.whole_digests import WholeDigests

            self._whole = WholeDigests(whole_type, checksum_type)
        self.whole_digests: dict[int, str] = {}
        self._steadiness = Steadiness(checksum_type, earlier, since_ns)
        self._heads = BlobHeads(transport, method="PUT", bucket=plan.bucket, job_id=job_id)
        self._common = metadata.CommonLines(user_metadata)
        quick = self._whole is None and self._common.leaves_room
        self._plain = source.plain_reader() if quick and isinstance(source, PlainSource) else None
        self._digest = None if checksum_type is None else digester(checksum_type)
        # What is alike in all small answers with headers of these very names: which header tells that it is one, and
        # whether that has the digest.
        self._answers_like: Collection[str] | None = None
        self._echoes, self._shown = False, ""
        self._digest_demanded = digest_demanded
        self._user_metadata = user_metadata
        self._sent: dict[int, str | None] = {}
        # Blobs that may be on the appliance: they were sent, or at least their sending was begun.
        self._attempted = bytearray(len(state.blobs))
        # Of these it is not known whether they arrived: no answer came to their quick try.
        self._unsure: set[int] = set()

    def may_be_whole(self, owner: int) -> bool:
        """Whether the appliance may have all of an object, be it that it made an empty one with the job."""
        numbers = list(self._state.numbers_of(owner))
        if not numbers:
            return not self._plan.sizes[owner]
        return all(self._attempted[number] or self._blobs.in_cache[number] for number in numbers)

    def version_of(self, owner: int) -> str | None:
        """Return the version that the job makes of an object, where the appliance says it."""
        return next((self._blobs.version_ids[number] for number in self._state.numbers_of(owner)), None)

    def _open(self, number: int) -> OpenObject:
        return self._source.open(self._plan.source_object(self._owners[number]))

    def _digests(self, number: int, opened: OpenObject) -> ObjectDigests:
        """Return the digest of a blob; where one of the whole object is wanted, that too, and those of all blobs.

        Ends with TransportError soon after the run is stopped: large files are read for long.
        """
        from ds3tool.jobs.whole_digests import ObjectDigests

        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        if self._checksum_type is None:
            return ObjectDigests({}, {})
        with ending_with(self._transport, self._source, self._blobs.keys[number]):
            read = self._reader(opened)
            if self._whole is not None:
                owner = self._owners[number]
                return self._whole.of(owner, read, self._cuts(number), self._plan.sizes[owner])
            return ObjectDigests({offset: digest_range(read, offset, length, self._checksum_type)}, {})

    def _reader(self, opened: OpenObject) -> Callable[[int, int], bytes]:
        """Return what reads from an object, and raises InterruptedRunError soon after the run is stopped."""
        stopped = self._transport.stop_token()

        def read(offset: int, length: int) -> bytes:
            if stopped.is_set():
                raise InterruptedRunError("stopped while it was digested")
            return opened.read(offset, length)

        return read

    def _cuts(self, number: int) -> list[tuple[int, int]]:
        """Return offset and length of each blob of the object that a blob is of, in their order."""
        numbers = self._state.numbers_of(self._owners[number])
        return sorted((self._blobs.offsets[one], self._blobs.lengths[one]) for one in numbers)

    def _metadata(self, opened: OpenObject) -> Mapping[str, str]:
        """Return what is stored with an object: the user's own words, and what the source says of it."""
        own = opened.metadata()
        return {**self._user_metadata, **own} if own else self._user_metadata

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Digest one blob, send it, and make sure that its source is still what was planned."""
        opened = self._open(number)
        try:
            return self._move_digested(number, opened, counter)
        finally:
            opened.close()

    def _move_digested(self, number: int, opened: OpenObject, counter: Callable[[int], None]) -> str | None:
        """Move a blob whose bytes are read twice: for their digest, which goes ahead, and while they are sent."""
        self._sent.pop(number, None)
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        marks = {mark_of(opened)}
        damaged = False
        while True:
            digests = self._digests(number, opened)
            checksum = digests.blobs.get(offset)
            opened.check_unchanged()
            self._attempted[number] = 1
            try:
                body = opened.body(offset, length, counter=counter)
                self._put(number, body, checksum, {**self._metadata(opened), **digests.metadata})
                break
            except (ApplianceError, ChecksumError, ProtocolError) as error:
                opened.check_unchanged()  # what is wrong with the bytes may be that they changed
                if after_try(error, sends=True, damaged=damaged, sent=False) is not Decision.AGAIN_AT_ONCE:
                    raise
                if self._whole is not None and checksum is not None:  # else it is digested again all the same
                    self._digest_again(number, opened, {offset: checksum})
                damaged = True
                _log.warning("job %s: %s; sent again", self.job_id, error)
        opened.check_unchanged()
        if checksum is not None:
            self._look_again(number, opened, checksum, {*marks, mark_of(opened)})
        return checksum

    def _put_held(self, number: int, body: OutgoingBody, checksum: str | None, stored_with: Mapping[str, str]) -> None:
        """Send a blob that can be sent again as it is, and do so once where it arrived damaged."""
        self._attempted[number] = 1
        try:
            self._put(number, body, checksum, stored_with)
        except (ApplianceError, ChecksumError, ProtocolError) as error:
            if after_try(error, sends=True, damaged=False, sent=False) is not Decision.AGAIN_AT_ONCE:
                raise
            _log.warning("job %s: %s; sent again", self.job_id, error)
            self._put(number, body, checksum, stored_with)

    def _look_again(self, number: int, opened: OpenObject, checksum: str, marks: set[int]) -> None:
        """Once all of an object is sent: see that it was of one moment, when something was done to it meanwhile."""
        owner = self._owners[number]
        blobs = sum(not self._blobs.in_cache[one] for one in self._state.numbers_of(owner))
        doubtful = self._steadiness.sent(owner, self._blobs.offsets[number], checksum, marks=marks, blobs=blobs)
        if doubtful is not None:
            self._digest_again(number, opened, doubtful)

    def _digest_again(self, number: int, opened: OpenObject, digests: Mapping[int, str]) -> None:
        """Raise SourceError when a blob of this blob's object, by offset, has not any more the digest that it had."""
        key, kind = self._blobs.keys[number], self._checksum_type
        if kind is None:
            return
        with ending_with(self._transport, self._source, key):
            read = self._reader(opened)
            for offset, length in self._cuts(number):
                if offset in digests and digest_range(read, offset, length, kind) != digests[offset]:
                    raise SourceError(
                        f"{key}: its source has changed while it was sent: the blob at {offset} has other bytes now, "
                        "though its size and its time are the same",
                        hint="put it again when it is at rest",
                    )

    def _put(self, number: int, body: OutgoingBody, checksum: str | None, stored_with: Mapping[str, str]) -> PutResult:
        """Send a blob, unless the appliance has it: where a reply was lost, that is asked before it is sent again.

        ChecksumError when it arrived with another digest, by the appliance's refusal or by its reply.
        """
        key, offset, kind = self._blobs.keys[number], self._blobs.offsets[number], self._checksum_type

        def ask() -> PutResult | None:
            return self._there(number, checksum)

        if number in self._unsure:
            self._unsure.discard(number)
            there = ask()
            if there is not None:
                return there
        try:
            result = self._client.put_object(
                self._plan.bucket,
                key,
                body,
                job_id=self.job_id,
                offset=offset,
                metadata=stored_with,
                checksum=None if kind is None or checksum is None else (kind, checksum),
                ask=ask,
            )
        except (ApplianceError, ProtocolError) as error:
            if isinstance(error, ApplianceError) and error.code == names.BAD_DIGEST and checksum is not None:
                compare_sent(key, offset, expected=checksum, actual=None)
            asked = ask() if after_try(error, sends=True, damaged=False) is Decision.ASK_FIRST else None
            if asked is None:
                raise
            result = asked
        self._compare_echo(number, result, checksum)
        return result

    def _there(self, number: int, checksum: str | None) -> PutResult | None:
        """Return what the appliance has of a blob that may have been sent; None when that is nothing, or not known.

        While it is in the cache its chunk says so, of this very job; later, and when all of its object has come, HEAD
        does, with its digest. Raises what is UNREACHABLE: then nobody could be asked.
        """
        if not (self._is_in_cache(number) or self._has(number, checksum)):
            return None
        key, offset = self._blobs.keys[number], self._blobs.offsets[number]
        _log.info("job %s: %s at %d was there already", self.job_id, key, offset)
        return PutResult(checksum_type=self._checksum_type, checksum=checksum)

    def _is_in_cache(self, number: int) -> bool:
        chunk_id = self._state.chunk_id_of(number)
        if chunk_id is None:
            return False
        try:
            chunk = self._client.get_chunk(chunk_id)
        except UNREACHABLE:
            raise
        except Ds3Error:
            return False
        place = self._blobs.keys[number], self._blobs.offsets[number]
        return any(blob.in_cache for blob in chunk.blobs if (blob.key, blob.offset) == place)

    def _has(self, number: int, checksum: str | None) -> bool:
        """Whether the appliance has this very blob: in the object that this job makes, and with our digest if any."""
        try:
            head = self._client.head_object(self._plan.bucket, self._blobs.keys[number])
        except UNREACHABLE:
            raise
        except Ds3Error:
            return False
        if head.version_id != self._blobs.version_ids[number]:
            return False
        there = head.checksums.get(self._blobs.offsets[number])
        if checksum is None:
            return head.version_id is not None and there is not None
        return head.checksum_type == self._checksum_type and there == checksum

    def small_requests(self, numbers: Iterable[int]) -> list[bytes]:
        """Return heads and bodies of plain small objects: up to 16 of them, and about 1 MiB."""
        made: list[bytes] = []
        if self._plain is None:
            return made
        blobs, plan, owners, common = self._blobs, self._plan, self._owners, self._common
        read, head, digest, kind = self._plain.read, self._heads.put, self._digest, self._checksum_type
        room = _AHEAD_BYTES
        for number in numbers:
            owner, key, length = owners[number], blobs.keys[number], blobs.lengths[number]
            if len(made) == _AHEAD or length > room or length != plan.sizes[owner] or may_be_escaped(key):
                break
            found = read(plan.source_names[owner], length, plan.modified_ns[owner], plan.inodes[owner])
            if found is None:
                break
            data, own = found
            lines = common.lines if own is None else common.beside(own)
            value, checksum = None, None
            if digest is not None and kind is not None:
                value = digest(data)
                checksum = (kind, value)
            try:
                request = head(key, blobs.offsets[number], length, checksum, lines)
            except Ds3Error:  # `small_request` says it
                break
            self._sent[number] = value
            self._attempted[number] = 1
            made.append(request + data)
            room -= length
        return made

    def small_request(self, number: int) -> bytes | None:
        """Return head and body of an object of one small blob; None for a blob of a larger one."""
        blobs, owner = self._blobs, self._owners[number]
        key, length = blobs.keys[number], blobs.lengths[number]
        if length != self._plan.sizes[owner]:
            return None
        careful = self._read_carefully(number, length)
        if careful is None:
            return None
        data, lines = careful
        digest = None if self._digest is None else self._digest(data)
        self._sent[number] = digest
        self._attempted[number] = 1
        kind = self._checksum_type
        checksum = None if kind is None or digest is None else (kind, digest)
        return self._heads.put(key, blobs.offsets[number], length, checksum, lines) + data

    def _read_carefully(self, number: int, length: int) -> tuple[bytes, HeaderLines | None] | None:
        """Return all bytes of an object, and the headers that carry its metadata; None while it is being written to."""
        opened = self._open(number)
        try:
            mark = mark_of(opened)
            data = opened.read(0, length)
            stored_with = self._metadata(opened)
            opened.check_unchanged()
            if mark_of(opened) != mark and opened.read(0, length) != data:
                return None  # the careful path says it
        finally:
            opened.close()
        if self._whole is not None:
            stored_with = {**stored_with, **self._whole.metadata_of(data)}
        if stored_with is self._user_metadata:
            return data, self._common.lines
        return data, metadata.lines_of(metadata.to_headers(stored_with))

    def small_answer(self, number: int, head: AnswerHead, body: memoryview) -> str | None:
        """Hold the appliance's digest, where it echoes one, against ours."""
        checksum = self._sent.pop(number)
        if head.names is not self._answers_like:
            echoes = AnswerKind.of(head.names).digests
            self._answers_like, self._echoes = head.names, bool(echoes)
            self._shown = echoes[0][1].lower() if len(echoes) == 1 else names.REQUEST_ID.lower()
        if head.status == 200 and not body:
            # What `responses.object_put` would say, without what nobody asks for here.
            shown = head.headers.get(self._shown)
            if shown and (not self._echoes or shown == checksum):
                return checksum
        headers = head.headers if isinstance(head.headers, Headers) else Headers(head.headers.items())
        result = responses.object_put(Response(head.status, headers, (bytes(body),), head.reason))
        self._compare_echo(number, result, checksum)
        return checksum

    def small_lost(self, number: int) -> None:
        """Ask before a small blob is sent again."""
        self._unsure.add(number)

    def _compare_echo(self, number: int, result: PutResult, checksum: str | None) -> None:
        if checksum is not None and result.checksum is not None and result.checksum_type == self._checksum_type:
            key, offset = self._blobs.keys[number], self._blobs.offsets[number]
            compare_sent(key, offset, expected=checksum, actual=result.checksum)

    def prove(self, owners: Iterable[int]) -> Iterator[tuple[int, MovedBlobs | Ds3Error]]:  # noqa: ARG002
        """Yield, of objects of which all blobs are through, what is left to be proved of them: nothing here."""
        return iter(())

    def checksum_kinds(self, numbers: Sequence[int]) -> list[ChecksumType | None]:
        """Return the job's type of digests for each."""
        return [self._checksum_type] * len(numbers)

    @property
    def keeps_back(self) -> Callable[[int], bool] | None:
        """Return None: the appliance has held each blob against its digest."""
        return None

    def object_moved(self, owner: int) -> None:
        """Forget what was read and sent of an object."""
        self._steadiness.forget(owner)
        if self._whole is not None:
            self._whole.forget(owner)

    def objects_through(self, owners: Sequence[int]) -> None:
        """Forget what was read and sent of objects."""
        self._steadiness.forget_all(owners)
        if self._whole is not None:
            for owner in owners:
                self._whole.forget(owner)

    def object_failed(self, owner: int) -> None:
        """Forget what was read and sent of an object."""
        self._steadiness.forget(owner)
        if self._whole is not None:
            self._whole.forget(owner)

    def close(self) -> None:
        """Let go of what was held to read small objects."""
        if self._plain is not None:
            self._plain.close()
