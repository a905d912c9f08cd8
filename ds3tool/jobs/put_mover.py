"""Sends the blobs of one put job: digest first, then the bytes, then a look whether the source has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ds3tool.client import Ds3Client
from ds3tool.errors import ApplianceError, ConflictError, Ds3Error, NotFoundError
from ds3tool.jobs.ends import OpenObject, Source
from ds3tool.jobs.integrity import compare_sent, digest_range
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.state import JobState
from ds3tool.protocol import metadata, names, responses
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType, PutResult
from ds3tool.transport.bodies import OutgoingBody
from ds3tool.transport.pool import Transport
from ds3tool.transport.replies import ReplyHead
from ds3tool.transport.templates import BlobHeads

_log = logging.getLogger(__name__)


class PutMover:
    """Moves the blobs of one put job for the engine.

    `checksum_type` None sends them without digests, which then nobody compares. `user_metadata` goes out with every
    blob, beside what the source stores with its object. `digest_demanded`: the appliance refuses a blob without one.
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
        self._heads = BlobHeads(transport, method="PUT", bucket=plan.bucket, job_id=job_id)
        self._digest_demanded = digest_demanded
        self._user_metadata = user_metadata
        self._common_headers = metadata.to_headers(user_metadata)
        self._sent: dict[int, str | None] = {}
        # Blobs that may be on the appliance: they were sent, or at least their sending was begun.
        self._attempted = bytearray(len(state.blobs))

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

    def _digest(self, opened: OpenObject, offset: int, length: int) -> str | None:
        return None if self._checksum_type is None else digest_range(opened.read, offset, length, self._checksum_type)

    def _metadata(self, opened: OpenObject) -> Mapping[str, str]:
        """Return what is stored with an object: the user's own words, and what the source says of it."""
        own = opened.metadata()
        return {**self._user_metadata, **own} if own else self._user_metadata

    def _metadata_headers(self, opened: OpenObject) -> tuple[tuple[str, str], ...]:
        own = opened.metadata()
        return metadata.to_headers({**self._user_metadata, **own}) if own else self._common_headers

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Digest one blob, send it, and make sure that its source is still what was planned."""
        self._sent.pop(number, None)
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        opened = self._open(number)
        try:
            for last in (False, True):
                checksum = self._digest(opened, offset, length)
                opened.check_unchanged()
                self._attempted[number] = 1
                try:
                    body = opened.body(offset, length, counter=counter)
                    result = self._put(number, body, checksum, self._metadata(opened))
                    break
                except ApplianceError as error:
                    opened.check_unchanged()  # what is wrong with the bytes may be that they changed
                    if error.code != names.BAD_DIGEST or checksum is None:
                        raise
                    if last:
                        compare_sent(self._blobs.keys[number], offset, expected=checksum, actual=None)
                    _log.warning("job %s: %s; sent again", self.job_id, error)
            opened.check_unchanged()
        finally:
            opened.close()
        self._compare_echo(number, result, checksum)
        return checksum

    def _put(self, number: int, body: OutgoingBody, checksum: str | None, stored_with: Mapping[str, str]) -> PutResult:
        """Send a blob. A refusal to take it is no failure when the appliance has it: the reply before was lost."""
        key, offset = self._blobs.keys[number], self._blobs.offsets[number]
        kind = self._checksum_type
        try:
            return self._client.put_object(
                self._plan.bucket,
                key,
                body,
                job_id=self.job_id,
                offset=offset,
                metadata=stored_with,
                checksum=None if kind is None or checksum is None else (kind, checksum),
            )
        except (NotFoundError, ConflictError):
            if not self._has(number, checksum):
                raise
        _log.info("job %s: %s at %d was there already", self.job_id, key, offset)
        return PutResult(checksum_type=kind, checksum=checksum)

    def _has(self, number: int, checksum: str | None) -> bool:
        """Whether the appliance has this very blob: in the object that this job makes, and with our digest if any."""
        try:
            head = self._client.head_object(self._plan.bucket, self._blobs.keys[number])
        except Ds3Error:
            return False
        if head.version_id != self._blobs.version_ids[number]:
            return False
        there = head.checksums.get(self._blobs.offsets[number])
        if checksum is None:
            return head.version_id is not None and there is not None
        return head.checksum_type == self._checksum_type and there == checksum

    def small_request(self, number: int) -> bytes:
        """Return head and body of a small blob."""
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        opened = self._open(number)
        try:
            data = opened.read(offset, length)
            headers = self._metadata_headers(opened)
            opened.check_unchanged()
        finally:
            opened.close()
        kind = self._checksum_type
        digest = None if kind is None else (kind, to_base64(digest_of(kind, data)))
        self._sent[number] = None if digest is None else digest[1]
        self._attempted[number] = 1
        return self._heads.put(self._blobs.keys[number], offset, length, digest, headers) + data

    def small_answer(self, number: int, head: ReplyHead, body: memoryview) -> str | None:
        """Hold the appliance's digest, where it echoes one, against ours."""
        checksum = self._sent.pop(number)
        result = responses.object_put(Response(head.status, head.headers, (bytes(body),), head.reason))
        self._compare_echo(number, result, checksum)
        return checksum

    def _compare_echo(self, number: int, result: PutResult, checksum: str | None) -> None:
        if checksum is not None and result.checksum is not None and result.checksum_type == self._checksum_type:
            key, offset = self._blobs.keys[number], self._blobs.offsets[number]
            compare_sent(key, offset, expected=checksum, actual=result.checksum)

    def checksum_kind(self, number: int) -> ChecksumType | None:  # noqa: ARG002  # one for all
        """Return the job's type of digests."""
        return self._checksum_type

    def object_moved(self, owner: int) -> None:
        """Nothing is held for an object."""

    def object_failed(self, owner: int) -> None:
        """Nothing is held for an object."""

    def close(self) -> None:
        """Nothing is held beyond a blob."""
