"""What an interrupted put has left: which blobs are there after all, which objects are not, and a plan of them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence

from ds3tool.client import Ds3Client
from ds3tool.errors import ChecksumError, Ds3Error, ForbiddenError, NotFoundError
from ds3tool.jobs.distant_ends import StatedObject
from ds3tool.jobs.doubts import Doubt
from ds3tool.jobs.ends import OpenObject, Source
from ds3tool.jobs.integrity import compare_sent, digest_range, has_digests, md5_of_etag
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.mover import There
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.jobs.state import JobState
from ds3tool.protocol.model import ChecksumType, ListedObject, ObjectHead, Versioning

_log = logging.getLogger(__name__)


# -- a job that goes on -----------------------------------------------------------------------------------------------


class Confirmation:
    """Says of the doubtful blobs of a resumed job whether the appliance has them; `confirm` from any thread.

    HEAD tells the digests of an object once all of it is there. A blob that nobody recorded, of an object that is not,
    counts as there on the appliance's word, and is proved when its object is complete.
    """

    def __init__(
        self,
        client: Ds3Client,
        source: Source,
        plan: PlannedJob,
        state: JobState,
        *,
        held: HeldBlobs,
        kind: ChecksumType | None,
    ) -> None:
        self._client = client
        self._source = source
        self._plan = plan
        self._state = state
        self._held = held
        self._kind = kind
        self._lock = threading.Lock()
        self._unproved: dict[int, dict[int, str | None]] = {}

    def confirm(self, number: int) -> There | None:
        """Return what is known of a doubtful blob that is there, None for one that is not known to be.

        ChecksumError when the appliance has other bytes than were to be sent, SourceError when the source has changed.
        """
        state, owner = self._state, self._state.object_of[number]
        offset, length, doubt = state.blobs.offsets[number], state.blobs.lengths[number], state.doubt_of(number)
        head = self._head(owner)
        if head is None:
            if doubt is not Doubt.UNRECORDED:
                return None
            self._to_be_proved(owner, offset, self._digest(owner, offset, length))
            return There(None)
        cuts = _cuts(head, offset, length)
        if doubt is Doubt.NOT_IN_CACHE:
            return self._recorded(owner, offset, length, head, alone=len(cuts) == 1)
        digests = self._compare(owner, head, cuts)
        if doubt is Doubt.UNLISTED and not digests and head.size and self._version(owner) is None:
            return None  # it may be an older version of the object
        return There(digests[0] if len(digests) == 1 else None)

    def _recorded(self, owner: int, offset: int, length: int, head: ObjectHead, *, alone: bool) -> There:
        """Return what was recorded of a blob, when the appliance does not say otherwise."""
        place = self._held.find(owner, offset, length)
        checksum = None if place is None else self._held.checksums[place]
        if place is not None and checksum is not None and alone and head.checksum_type == self._held.kinds[place]:
            compare_sent(self._plan.keys[owner], offset, expected=checksum, actual=head.checksums[offset])
        return There(checksum)

    def _compare(self, owner: int, head: ObjectHead, cuts: Sequence[tuple[int, int]]) -> list[str]:
        """Hold the blobs that the appliance states digests of against the source; return those digests."""
        if head.checksum_type is None or head.checksum_type != self._kind:
            return []
        digests = []
        for offset, length in cuts:
            digest = self._digest(owner, offset, length)
            if digest is not None:
                compare_sent(self._plan.keys[owner], offset, expected=digest, actual=head.checksums[offset])
                digests.append(digest)
        return digests

    def _digest(self, owner: int, offset: int, length: int) -> str | None:
        if self._kind is None:
            return None
        opened = self._source.open(self._plan.source_object(owner))
        try:
            digest = digest_range(opened.read, offset, length, self._kind)
            opened.check_unchanged()
        finally:
            opened.close()
        return digest

    def _head(self, owner: int) -> ObjectHead | None:
        """Return what HEAD tells of the object that this job makes, None when that is not complete."""
        try:
            head = self._client.head_object(self._plan.bucket, self._plan.keys[owner])
        except (NotFoundError, ForbiddenError):
            return None
        version = self._version(owner)
        if head.size != self._plan.sizes[owner] or (version and head.version_id and head.version_id != version):
            return None
        return head

    def _version(self, owner: int) -> str | None:
        versions = (self._state.blobs.version_ids[number] for number in self._state.numbers_of(owner))
        return next((version for version in versions if version is not None), None)

    def _to_be_proved(self, owner: int, offset: int, digest: str | None) -> None:
        if digest is not None:
            with self._lock:
                self._unproved.setdefault(owner, {})[offset] = digest

    def prove(self, owners: Iterable[int]) -> Iterator[tuple[int, MovedBlobs | ChecksumError]]:
        """Yield, of objects that are complete now, what is known of the blobs that nobody had recorded.

        That is a ChecksumError where the appliance has other bytes than the source. Of what it does not tell digests,
        its word and the size must do.
        """
        for owner in owners:
            with self._lock:
                digests = self._unproved.pop(owner, None)
            head = self._head(owner) if digests else None
            if digests and head is not None and head.checksum_type == self._kind:
                yield owner, self._proof(owner, head, digests)

    def _proof(self, owner: int, head: ObjectHead, digests: dict[int, str | None]) -> MovedBlobs | ChecksumError:
        lengths = {
            self._state.blobs.offsets[number]: self._state.blobs.lengths[number]
            for number in self._state.numbers_of(owner)
        }
        proved = [offset for offset in digests if offset in head.checksums]
        try:
            for offset in proved:
                expected = digests[offset] or ""
                compare_sent(self._plan.keys[owner], offset, expected=expected, actual=head.checksums[offset])
        except ChecksumError as error:
            return error
        return MovedBlobs(
            [owner] * len(proved),
            proved,
            [lengths[offset] for offset in proved],
            [self._kind] * len(proved),
            [digests[offset] for offset in proved],
        )


def _cuts(head: ObjectHead, offset: int, length: int) -> list[tuple[int, int]]:
    """Return offset and length of the blobs of an object that lie in a range, by the digests that are stated.

    None of them when they do not begin and end where the range does.
    """
    offsets = sorted(head.checksums)
    ends = [*offsets[1:], head.size]
    if not length:
        return [(offset, 0)] if offset in head.checksums else []
    cuts = [(at, end - at) for at, end in zip(offsets, ends, strict=False) if offset <= at < offset + length]
    covered = cuts and cuts[0][0] == offset and sum(cuts[-1]) == offset + length
    return cuts if covered else []


# -- a job that is over -----------------------------------------------------------------------------------------------


def left_of(
    client: Ds3Client,
    source: Source,
    plan: PlannedJob,
    held: HeldBlobs,
    *,
    versioning: Versioning,
    trusted: bool,
    among: Iterable[int] | None = None,
) -> list[int]:
    """Return the numbers of a plan's objects that the bucket does not hold, complete and with the source's bytes.

    `among` these alone. `trusted`: the job has completed, so what it is known to have received is there, whoever has
    deleted it since. Memory holds the plan's keys once more, and one page of the listing.
    """
    wanted = {plan.keys[number]: number for number in (range(len(plan)) if among is None else among)}
    if trusted:
        for key, number in list(wanted.items()):
            if plan.sizes[number] and _received(held, number) == plan.sizes[number]:
                del wanted[key]
    common = os.path.commonprefix(list(wanted))  # noqa: RUF071 - keys are texts, and so is their prefix
    for listed in client.list_objects(plan.bucket, prefix=common) if wanted else ():
        number = wanted.get(listed.key, -1)
        if number < 0 or listed.last_modified is None or listed.size != plan.sizes[number]:
            continue
        if _is_ours(client, source, plan, number, listed, held=held, versioning=versioning):
            del wanted[listed.key]
            if not wanted:
                break
    return sorted(wanted.values())


def _received(held: HeldBlobs, owner: int) -> int:
    return sum({held.offsets[place]: held.lengths[place] for place in held.numbers_of(owner)}.values())


def _is_ours(
    client: Ds3Client,
    source: Source,
    plan: PlannedJob,
    owner: int,
    listed: ListedObject,
    *,
    held: HeldBlobs,
    versioning: Versioning,
) -> bool:
    """Whether an object of the right name and size has the bytes that were to be put."""
    size = plan.sizes[owner]
    if not size:
        return True
    recorded = _recorded_digests(held, owner, size)
    md5 = md5_of_etag(listed.etag)
    if md5 is not None and recorded.whole.get(ChecksumType.MD5) == md5:
        return True
    try:
        head = client.head_object(plan.bucket, plan.keys[owner])
    except NotFoundError:
        return False
    same = recorded.agrees_with(KnownDigests.of_head(head))
    if same is None and not source.sequential:
        try:
            opened = source.open(plan.source_object(owner))
        except Ds3Error:
            return False  # whoever puts it says what is wrong with it
        same = _has_bytes(head, opened, size)
    # Without versions the name was free when the job was made, so that what has it now came with the job.
    return versioning == Versioning.NONE if same is None else same


def _has_bytes(head: ObjectHead, opened: OpenObject, size: int) -> bool | None:
    try:
        same = opened.is_same(head) if isinstance(opened, StatedObject) else has_digests(head, opened.read, size)
        opened.check_unchanged()
    except Ds3Error:
        return False
    finally:
        opened.close()
    return same


def _recorded_digests(held: HeldBlobs, owner: int, size: int) -> KnownDigests:
    """Return what was recorded of an object's blobs: all of them, or nothing."""
    places = {held.offsets[place]: place for place in reversed(list(held.numbers_of(owner)))}
    kinds = {held.kinds[place] for place in places.values()}
    digests = {offset: held.checksums[place] for offset, place in places.items()}
    known = {offset: digest for offset, digest in digests.items() if digest is not None}
    if len(kinds) != 1 or len(known) != len(digests) or sum(held.lengths[place] for place in places.values()) != size:
        return KnownDigests(size)
    return KnownDigests(size, kinds.pop(), known)
