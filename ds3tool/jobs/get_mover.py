"""Fetches the blobs of one get job into a sink: each is held against its digest, or cut where ranges are wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ds3tool.client import Ds3Client
from ds3tool.errors import (
    ApplianceError,
    ChecksumError,
    Ds3Error,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    TransportError,
)
from ds3tool.jobs.answer_kinds import AnswerKind
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.decisions import Decision, after_try
from ds3tool.jobs.ends import GatheringSink, KeepingSink, PlainWriter, PreparingSink, Sink, TargetObject
from ds3tool.jobs.get_found import Begun, Found
from ds3tool.jobs.integrity import check_length, compare, expected_checksum
from ds3tool.jobs.known_digests import READ_BYTES
from ds3tool.jobs.pieces import Cutter, pieces_of, ranges_to_ask
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Arriving
from ds3tool.jobs.sent_digests import SentDigests
from ds3tool.jobs.state import JobState
from ds3tool.jobs.waiting import ending_with
from ds3tool.protocol import metadata as metadata_codec
from ds3tool.protocol import names
from ds3tool.protocol.checksums import HEADER_NAMES, ExpectedChecksum, digest_of, digester, new_hasher, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.transport.pool import Transport
from ds3tool.transport.shapes import AnswerHead
from ds3tool.transport.templates import BlobHeads

_log = logging.getLogger(__name__)

# What an appliance may say to a range that it does not want to serve. Source: protocol, 7.6.
_NO_RANGES = {400, 416}
_VERSION_ID = names.VERSION_ID.lower()


class GetMover:
    """Fetches the blobs of one get job into a sink.

    `whole_blobs`: also where only ranges are wanted, so that their digests can be checked. `unverified` flags, by
    number, the blobs of which no digest was checked. Called from several threads.

    `found` is what is on the disk already, for a run that goes on: objects of which blobs are kept are never joined
    with bytes of another digest than the appliance stated when those were looked at, a blob that was cut off is gone on
    with where it ended, and `unfinished` objects get no name, since this job has not all of them. `cached_only`: what
    the appliance would have to wait for, or load, is a failure at once. `sent` is what this host knows of the objects
    because it has put them, None where nobody is to ask for that. `writer` is the sink's quicker way for small objects.
    """

    method = "GET"

    def __init__(
        self,
        client: Ds3Client,
        transport: Transport,
        *,
        sink: Sink,
        plan: PlannedJob,
        state: JobState,
        job_id: str,
        whole_blobs: bool = False,
        found: Found | None = None,
        unfinished: Collection[int] = (),
        cached_only: bool = False,
        sent: SentDigests | None = None,
        writer: PlainWriter | None = None,
    ) -> None:
        self._sent = sent
        self._writer = writer
        self._client = client
        self._transport = transport
        self._sink = sink
        self._gathering = sink if isinstance(sink, GatheringSink) else None
        self._preparing = sink if isinstance(sink, PreparingSink) else None
        self._plan = plan
        self._blobs = state.blobs
        self._owners = state.object_of
        self._job_id = job_id
        self._whole_blobs = whole_blobs
        self._heads = BlobHeads(transport, method="GET", bucket=plan.bucket, job_id=job_id)
        self.unverified = bytearray(len(state.blobs))
        self._kinds: dict[int, ChecksumType] = {}
        # What is alike in all small answers with headers of these very names; `_learn_answer` says it.
        self._answers_like: Collection[str] | None = None
        self._has_metadata = self._states_version = False
        self._plain_digest: Callable[[bytes], str] | None = None
        self._plain_digest_name = ""
        self._plain_kind = ChecksumType.MD5
        # Whether a digest that the appliance states settles what a blob must be held against.
        self._stated_settles = sent is None or not sent.asked_always
        # Objects of which `sent` was asked, so that it may remember something of them.
        self._sent_asked: set[int] = set()
        # Objects that came in one small blob, until they are through.
        self._whole: dict[int, TargetObject] = {}
        # What HEAD says of objects under way, by number: the digests' kind, and each blob's by its offset.
        self._known: dict[int, tuple[ChecksumType | None, Mapping[int, str]]] = {}
        self._described = bytearray(len(plan))
        self._describing = threading.Lock()
        self._begun: Mapping[int, Begun] = {} if found is None else found.begun
        for owner in () if found is None else found.described:
            self._described[owner] = 1
        self._unfinished = unfinished
        self._cached_only = cached_only
        self._names, self._sizes, self._ranges = plan.target_names, plan.sizes, plan.ranges
        # Objects that `writer` is not for.
        self._not_plain = {*self._begun, *unfinished, *plan.replaces}
        if found is not None:
            self._not_plain |= found.unsure
        self._arriving: dict[int, Arrival] = {}
        self._arriving_lock = threading.Lock()

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Fetch one blob, or what is wanted of it, and verify it where it came whole."""
        with ending_with(self._transport, self._sink, self._blobs.keys[number]):
            return self._move_blob(number, counter)

    def _move_blob(self, number: int, counter: Callable[[int], None]) -> str | None:
        offset, length = self._blobs.offsets[number], self._blobs.lengths[number]
        item = self._plan.target_object(self._owners[number])
        blob = ByteRange(offset, offset + length)
        if item.ranges:
            return self._move_pieces(number, item, blob, counter)
        arrival = Arrival(item.key, blob)
        done = self._take_up(number, item, arrival)
        if done is not None:
            return done

        def take(response: Response) -> str | None:
            if not length:  # a digest beside nothing must be that of nothing
                for block in response.body:
                    arrival.check_room(len(block))
                return arrival.verified()
            return self._sink.receive(item, arrival, response, counter=counter)

        if self._preparing is not None and length:
            self._preparing.prepare(item)
        with self._arriving_lock:
            self._arriving[number] = arrival
        try:
            return self._fetch(number, item, arrival, take)
        finally:
            with self._arriving_lock:
                del self._arriving[number]

    def _take_up(self, number: int, item: TargetObject, arrival: Arrival) -> str | None:
        """Go on with a blob that an earlier run has begun; return its digest when there is nothing left to fetch.

        What is on the disk is hashed anew: whether it is right, the digest of the whole blob tells in the end.
        """
        begun = self._begun.get(self._owners[number])
        done = 0 if begun is None else begun.cut.pop(arrival.blob.start, 0)
        if begun is None or not done or begun.known.kind is None:
            return None
        expected = ExpectedChecksum(begun.known.kind, begun.known.blobs[arrival.blob.start])
        hasher, end = new_hasher(expected.type), arrival.blob.start + done
        stopped = self._transport.stop_token()
        for start in range(arrival.blob.start, end, READ_BYTES):
            if stopped.is_set():
                raise TransportError(f"{item.key}: stopped while it was looked at how far it had come")
            assert isinstance(self._sink, KeepingSink)  # none other has anything to take up
            hasher.update(self._sink.read_unfinished(item, start, min(READ_BYTES, end - start)))
        arrival.take_up(done, hasher, expected)
        if done < arrival.length:
            return None
        try:
            digest = arrival.verified()
        except ChecksumError:
            arrival.start_over()
            return None
        self._kinds[number] = expected.type
        return digest

    def arriving(self, *, least: int) -> list[Arriving]:
        """Return how far blobs of at least so many bytes have come that are under way, where a later run can go on."""
        with self._arriving_lock:
            under_way = list(self._arriving.items())
        return [
            Arriving(self._owners[number], one.blob.start, one.length, one.done)
            for number, one in under_way
            if one.length >= least and one.done and one.hasher is not None
        ]

    def _move_pieces(
        self, number: int, item: TargetObject, blob: ByteRange, counter: Callable[[int], None]
    ) -> str | None:
        """Fetch the wanted ranges of a blob; when the answer is not what was asked for, the whole blob, and cut it."""
        pieces = pieces_of(item.ranges, blob)
        arrival = Arrival(item.key, blob, () if self._whole_blobs else ranges_to_ask(pieces, blob))
        cutter = Cutter(
            pieces,
            lambda target, data: self._sink.receive_small(item, target, data),
            key=item.key,
            sequential=self._sink.sequential,
        )
        return self._fetch(number, item, arrival, lambda response: cutter.cut(response.body, arrival, counter))

    def _fetch(
        self, number: int, item: TargetObject, arrival: Arrival, take: Callable[[Response], str | None]
    ) -> str | None:
        """Ask for a blob until it is through: for its rest where an answer broke off, for all of it after damage.

        Most damage is done on the way, and a second try mends it.
        """

        def receive(response: Response) -> str | None:
            expected = self._vouch(number, response.headers)
            arrival.answered(response, expected)
            self.unverified[number] = arrival.expected is None
            self._describe(number, item, response.headers)
            return take(response)

        damaged: Ds3Error | None = None
        while True:
            could_join = arrival.joinable
            try:
                return self._client.get_object(
                    self._plan.bucket,
                    item.key,
                    receive,
                    job_id=self._job_id,
                    offset=arrival.blob.start,
                    ranges=arrival.to_ask(),
                    version_id=item.version_id,
                    again=arrival.to_ask,
                    retry_busy=not self._cached_only,
                    cached_only=self._cached_only,
                )
            except (ChecksumError, ProtocolError) as error:
                # Two answers that cannot be joined are no damage; what a stream's reader was handed is not taken back.
                counts = arrival.joinable == could_join
                taken = isinstance(error, ChecksumError) and self._sink.sequential and bool(item.ranges)
                once_more = counts and damaged is not None
                if after_try(error, sends=False, damaged=once_more, repeatable=not taken) is not Decision.AGAIN_AT_ONCE:
                    raise
                if counts:
                    damaged = error
                _log.warning("job %s: %s; the whole blob is fetched again", self._job_id, error)
                self._known.pop(self._owners[number], None)  # it may be what was wrong
                arrival.whole_blob()
            except ApplianceError as error:
                if damaged is not None:  # the job may have ended with the first try
                    raise damaged from error
                if not arrival.done or error.status not in _NO_RANGES:
                    raise
                _log.info("job %s: %s: the rest of a blob is refused; all of it is fetched", self._job_id, item.key)
                arrival.joinable = False

    # -- whose answer it is ------------------------------------------------------------------------------------

    def _vouch(self, number: int, headers: Mapping[str, str]) -> ExpectedChecksum | None:
        """Make sure that a reply is the answer for this very blob; return what the blob's bytes must be held against.

        Bytes agree with the digest beside them also when a reply was taken for another's on the way, or when the
        offset, which no signature covers, was changed; and a reply without one may be that to a HEAD. The version
        tells objects apart; blobs of one object only HEAD does. Raises ChecksumError or ProtocolError for another's.
        """
        expected = self._expected(number, headers)
        if self._sent is not None:
            start, version = self._blobs.offsets[number], self._blobs.version_ids[number]
            blob = ByteRange(start, start + self._blobs.lengths[number])
            self._sent_asked.add(self._owners[number])
            expected = self._sent.expected(self._blobs.keys[number], version, blob, expected)
        if expected is not None:
            self._kinds[number] = expected.type
        return expected

    def _expected(self, number: int, headers: Mapping[str, str]) -> ExpectedChecksum | None:
        owner, offset = self._owners[number], self._blobs.offsets[number]
        version, told = self._blobs.version_ids[number], headers.get(names.VERSION_ID)
        stated = expected_checksum(headers)
        is_whole = self._blobs.lengths[number] == self._plan.sizes[owner] and owner not in self._plan.ranges
        right_version = version is None or not told or told == version
        if stated is not None and is_whole and right_version:
            return stated
        begun = self._begun.get(owner)
        if begun is not None and begun.kept:
            kind, digests = begun.known.kind, begun.known.blobs
        else:
            kind, digests = self._known.get(owner) or self._ask_digests(owner, version)
        if kind in HEADER_NAMES and offset in digests:
            if stated is None:
                return ExpectedChecksum(kind, digests[offset])
            if kind == stated.type:
                compare(self._plan.keys[owner], offset, expected=digests[offset], actual=stated.value)
                return stated
        if not right_version:
            raise ProtocolError(f"{self._plan.keys[owner]}: the answer is of version {told}, not {version}")
        return stated

    def _ask_digests(self, owner: int, version: str | None) -> tuple[ChecksumType | None, Mapping[int, str]]:
        try:
            head = self._client.head_object(self._plan.bucket, self._plan.keys[owner], version_id=version)
        except (ForbiddenError, NotFoundError):  # what the appliance does not tell cannot be held against it
            known: tuple[ChecksumType | None, Mapping[int, str]] = (None, {})
        else:
            ranges = self._plan.ranges.get(owner, ())
            if version is not None and head.version_id not in {None, version}:
                raise ProtocolError(
                    f"{head.key}: asked for version {version}, the appliance tells of {head.version_id}"
                )
            if head.size < max((one.end for one in ranges), default=0) or (
                not ranges and head.size != self._plan.sizes[owner]
            ):
                raise ProtocolError(f"{head.key}: the appliance says that it has {head.size} bytes now")
            known = (head.checksum_type, head.checksums)
        self._known[owner] = known
        return known

    def _describe(self, number: int, item: TargetObject, headers: Mapping[str, str]) -> None:
        """Tell the sink what is stored with an object, before its first bytes and once; nothing when that is nothing.

        Whoever brings a second blob of it waits until it is told.
        """
        owner = self._owners[number]
        if self._described[owner] or not metadata_codec.is_in(headers):
            return
        with self._describing:
            if not self._described[owner]:
                self._sink.describe(item, metadata_codec.from_headers(headers))
                self._described[owner] = 1

    # -- small blobs -------------------------------------------------------------------------------------------

    def small_request(self, number: int) -> bytes:
        """Return the head that asks for a small blob."""
        return self._heads.get(self._blobs.keys[number], self._blobs.offsets[number])

    def small_requests(self, numbers: Iterable[int]) -> list[bytes]:
        """Return the heads that ask for these small blobs; none where `small_request` must look at their keys."""
        keys, offsets = self._blobs.keys, self._blobs.offsets
        return self._heads.get_all([keys[number] for number in numbers], [offsets[number] for number in numbers])

    def small_answer(self, number: int, head: AnswerHead, body: memoryview) -> str | None:
        """Verify a small blob and store it."""
        if head.names is not self._answers_like:
            self._learn_answer(head.names)
        blobs, owner = self._blobs, self._owners[number]
        length = len(body)
        actual = None
        digest = self._plain_digest
        # A blob that is all of its object is what the answer to just this states, unless a version says otherwise.
        if digest is not None and length == blobs.lengths[number] == self._sizes[owner] and owner not in self._ranges:
            headers = head.headers
            if not self._states_version or blobs.version_ids[number] in {None, headers.get(_VERSION_ID)}:
                actual = digest(bytes(body))
                if headers.get(self._plain_digest_name) != actual:
                    actual = None
        if actual is None:
            return self._small_answer(number, head, body)
        self._kinds[number] = self._plain_kind
        self.unverified[number] = 0
        writer = self._writer
        if (
            writer is not None
            and length
            and not self._described[owner]
            and owner not in self._not_plain
            and not self._has_metadata
            and writer.store(owner, self._names[owner], body)
        ):
            return actual
        self._keep(number, head, body)
        return actual

    def _learn_answer(self, header_names: Collection[str]) -> None:
        """Look once at what is alike in all answers whose headers have these names."""
        kind = AnswerKind.of(header_names)
        self._answers_like = header_names
        self._has_metadata, self._states_version = kind.has_metadata, kind.has_version
        self._plain_digest = None
        if len(kind.digests) == 1 and self._stated_settles:
            self._plain_kind, name = kind.digests[0]
            self._plain_digest, self._plain_digest_name = digester(self._plain_kind), name.lower()

    def _small_answer(self, number: int, head: AnswerHead, body: memoryview) -> str | None:
        """Do what `small_answer` does, where the digest beside the blob does not settle what it should be."""
        blobs, item_key = self._blobs, self._plan.keys[self._owners[number]]
        check_length(item_key, came=len(body), length=blobs.lengths[number])
        expected = self._vouch(number, head.headers)
        self.unverified[number] = expected is None
        actual = None
        if expected is not None:
            actual = to_base64(digest_of(expected.type, body))
            compare(item_key, blobs.offsets[number], expected=expected.value, actual=actual)
        self._keep(number, head, body)
        return actual

    def _keep(self, number: int, head: AnswerHead, body: memoryview) -> None:
        """Hand a verified small blob to the sink."""
        owner = self._owners[number]
        item = self._plan.target_object(owner)
        if self._has_metadata:
            self._describe(number, item, head.headers)
        if body:
            self._sink.receive_small(item, self._blobs.offsets[number], body)
        if len(body) == item.size:
            self._whole[owner] = item

    # -- objects -----------------------------------------------------------------------------------------------

    def small_lost(self, number: int) -> None:
        """A blob may be fetched twice."""

    def checksum_kinds(self, numbers: Sequence[int]) -> list[ChecksumType | None]:
        """Return the types of the digests that blobs were held against; asked once for each."""
        take = self._kinds.pop
        return [take(number, None) for number in numbers]

    @property
    def keeps_back(self) -> Callable[[int], bool] | None:
        """Return None: what has come was verified, or never can be."""
        return None

    def _forget(self, owner: int) -> None:
        """Forget what is known of the digests of an object."""
        self._known.pop(owner, None)
        if self._sent is not None and owner in self._sent_asked:
            self._sent_asked.discard(owner)
            self._sent.forget(self._plan.keys[owner])

    def object_moved(self, owner: int) -> None:
        """Let the whole object appear."""
        self.objects_through((owner,))

    def objects_through(self, owners: Sequence[int]) -> None:
        """Let whole objects appear."""
        if self._writer is not None:
            owners = self._writer.finish(owners)
        items: list[TargetObject] = []
        for owner in owners:
            item = self._whole.pop(owner, None)
            if owner in self._known or owner in self._sent_asked:
                self._forget(owner)
            if owner not in self._unfinished:
                items.append(item or self._plan.target_object(owner))
        if self._gathering is not None:
            self._gathering.finish_all(items)
        else:
            for item in items:
                self._sink.finish(item)

    def object_failed(self, owner: int) -> None:
        """Drop what came of it."""
        self._forget(owner)
        self._whole.pop(owner, None)
        if self._writer is not None:
            self._writer.drop(owner)
        self._sink.abandon(self._plan.target_object(owner))
