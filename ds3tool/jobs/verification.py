"""The cheap check of what is archived: complete, whole, with digests, on as many media as promised. No bytes come.

What an object must be is a pure judgement (`judge`); `verify_objects` asks the appliance for what it needs: where a
thousand objects are in one request, and the digests of each in one.
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from ds3tool.client import Ds3Client
from ds3tool.errors import ApplianceError, ForbiddenError, NotFoundError
from ds3tool.jobs.copies import copies_of
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import ListedObject, ObjectHead, ObjectToGet, PlacedBlob

FAILED, DIFFERENT, OFFLINE = 3, 5, 8

# Questions for digests at once; each may also read and digest a local file.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an object, as a sentence that goes on after its key; `exit_code` by its kind."""

    text: str
    exit_code: int = FAILED


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one object; without `problems` it is as it should be.

    `copies` counts the complete ones on media, `bar_codes` are the tapes on a shelf without which it cannot be read.
    `as_sent`: the journal knows what was sent, and the appliance states the same; None where they cannot be compared.
    """

    key: str
    size: int
    problems: tuple[Problem, ...] = ()
    copies: int = 0
    version_id: str | None = None
    bar_codes: tuple[str, ...] = ()
    as_sent: bool | None = None

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def error(self) -> str | None:
        """All that is wrong, as one sentence."""
        return "; ".join(problem.text for problem in self.problems) or None


@dataclass(frozen=True, slots=True)
class Stated:
    """What is stated of an object's bytes: by the appliance, and by the journal where it knows the object."""

    appliance: KnownDigests
    journal: KnownDigests | None = None


class Counterpart(Protocol):
    """The other place where the same objects should be."""

    def problem(self, name: str, head: ObjectHead, stated: Stated, stopped: threading.Event) -> Problem | None:
        """Return how what is called `name` there differs from the object; None when the bytes are the same.

        They are held against what the appliance states, or where that tells nothing, the journal. Called by several
        threads at once. Gives up, with whatever answer, soon after `stopped` is set.
        """
        ...


class Ledger(Protocol):
    """What this host has recorded of one bucket's objects as they were sent: the journal, seen from here."""

    def digests_of(self, key: str, version_id: str | None) -> KnownDigests | None:
        """Return what was recorded of the object that is in the bucket now; None when nothing was, or of another one.

        `version_id` is that of the object now, None where nobody told: then the newest of the key is meant. Asked by
        one thread at a time: of a verification by the one that takes the findings, in the order of the listing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Expectation:
    """What every object is held against.

    `copies` on media are promised; None when nobody may know, and one is enough. `suspect` holds key and offset of
    the blobs of which the appliance doubts a copy. `counterpart` gets names without their first `base` characters.
    `ledger` is None where nothing was recorded.
    """

    copies: int | None = None
    suspect: frozenset[tuple[str, int]] = frozenset()
    digests: bool = True
    counterpart: Counterpart | None = None
    ledger: Ledger | None = None
    base: int = 0


def expectation_of(client: Ds3Client, bucket: str, *, digests: bool = True) -> Expectation:
    """Return what the bucket's data policy promises and what the appliance doubts; NotFoundError without the bucket.

    A user who may not read the policy, or a release that tells nothing of suspect blobs, leaves that part out.
    """
    details = client.get_bucket(bucket)
    copies = None
    try:
        rules = list(client.list_persistence_rules(details.data_policy_id))
        copies = sum(1 for rule in rules if rule.type == "PERMANENT")
    except (ForbiddenError, NotFoundError):
        copies = None
    try:
        suspect = frozenset((placed.blob.key, placed.blob.offset) for placed in client.list_suspect_blobs(bucket))
    except ApplianceError as error:
        if error.status >= 500:
            raise
        suspect = frozenset()
    return Expectation(copies, suspect, digests)


def verify_objects(
    client: Ds3Client, bucket: str, objects: Iterable[ListedObject], expectation: Expectation
) -> Generator[Finding]:
    """Yield what is found out about each object, in their order; a thousand are held at a time.

    Raises whatever the client raises but for objects that are gone since they were listed, which is a finding.
    """
    source = iter(objects)
    check = _Check(client, bucket, expectation)
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="verify")
    try:
        while batch := list(itertools.islice(source, names.MAX_KEYS_PER_REQUEST)):
            blobs = placed_by_object(client, bucket, batch)
            yield from pool.map(check.examine, batch, blobs, check.recorded(batch))
    finally:
        check.stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Check:
    """Asks the appliance, and perhaps somebody else, about objects; `stopped` is set when nobody wants to know."""

    def __init__(self, client: Ds3Client, bucket: str, expectation: Expectation) -> None:
        self.stopped = threading.Event()
        self._client = client
        self._bucket = bucket
        self._expectation = expectation

    def recorded(self, batch: Sequence[ListedObject]) -> list[KnownDigests | None]:
        """Return what was recorded of each object when it was sent."""
        ledger = self._expectation.ledger
        return [None if ledger is None else ledger.digests_of(one.key, one.version_id) for one in batch]

    def examine(self, listed: ListedObject, blobs: list[PlacedBlob], recorded: KnownDigests | None) -> Finding:
        """Return what is found out about one object; called by several threads."""
        if listed.last_modified is None or not self._expectation.digests:
            return judge(listed, None, blobs, self._expectation)
        try:
            head = self._client.head_object(self._bucket, listed.key, version_id=listed.version_id)
        except NotFoundError:
            return Finding(listed.key, listed.size, (Problem("was removed while it was verified"),))
        finding = judge(listed, head, blobs, self._expectation)
        stated = Stated(KnownDigests.of_head(head, [placed.blob.offset for placed in blobs]), recorded)
        as_sent = None if recorded is None else recorded.agrees_with(stated.appliance)
        problems = (*finding.problems, *self._compared(head, stated, as_sent=as_sent))
        return replace(finding, problems=problems, as_sent=as_sent)

    def _compared(self, head: ObjectHead, stated: Stated, *, as_sent: bool | None) -> Iterator[Problem]:
        """Yield how the object differs from what was sent, and from what is elsewhere."""
        if stated.journal is not None and as_sent is False:
            yield Problem(_unlike(stated.journal, stated.appliance), DIFFERENT)
        if self._expectation.counterpart is not None:
            name = head.key[self._expectation.base :]
            problem = self._expectation.counterpart.problem(name, head, stated, self.stopped)
            if problem is not None:
                yield problem


def placed_by_object(client: Ds3Client, bucket: str, batch: Sequence[ListedObject]) -> list[list[PlacedBlob]]:
    """Return the blobs of each object, in their order; by one request, so at most a thousand objects."""
    found: dict[str, list[PlacedBlob]] = defaultdict(list)
    wanted = [ObjectToGet(one.key, version_id=one.version_id) for one in batch]
    for placed in client.get_blob_placement(bucket, wanted):
        found[placed.blob.key].append(placed)
    return [
        [placed for placed in found[one.key] if placed.blob.version_id in {one.version_id, None}]
        if one.version_id is not None
        else found[one.key]
        for one in batch
    ]


def _unlike(sent: KnownDigests, stated: KnownDigests) -> str:
    if sent.size != stated.size:
        return f"has {stated.size} bytes, and {sent.size} were sent (journal)"
    return "differs from what was sent (journal)"


def judge(listed: ListedObject, head: ObjectHead | None, blobs: list[PlacedBlob], expectation: Expectation) -> Finding:
    """Return what is wrong with an object, as the listing, its head and the placement of its blobs tell it.

    `head` None leaves out what only it knows: the digests.
    """
    if listed.last_modified is None:
        return Finding(listed.key, listed.size, (Problem("is not complete: a job has declared it"),))
    blobs = sorted(blobs, key=lambda placed: placed.blob.offset)
    problems = list(_coverage(listed, blobs))
    if head is not None:
        problems += _digests(listed, head, blobs)
    doubted = [placed.blob.offset for placed in blobs if (listed.key, placed.blob.offset) in expectation.suspect]
    if doubted:
        problems.append(Problem(f"the appliance doubts a copy of its blob at {doubted[0]}{_more(doubted)}"))
    copies = copies_of(blobs)
    in_cache = bool(blobs) and all(placed.blob.in_cache for placed in blobs)
    wanted = max(1, expectation.copies or 1)  # a policy whose copies are all temporary promises no tape, and yet one
    if blobs and copies.total < wanted:
        problems.append(Problem(_too_few(copies.total, wanted, copies.unusable, in_cache=in_cache)))
    away: tuple[str, ...] = ()
    if copies.total and not copies.online and not in_cache:
        away = copies.away
        problems.append(Problem(f"is only on tapes that are not in the library: {', '.join(away)}", OFFLINE))
    return Finding(listed.key, listed.size, tuple(problems), copies.total, listed.version_id, away)


def _coverage(listed: ListedObject, blobs: list[PlacedBlob]) -> Iterator[Problem]:
    """Yield what is wrong with the blobs as parts of the object: they must follow each other from 0 to its size."""
    if not blobs:
        # Releases before 3.5 keep no blob of an object that has no bytes.
        if listed.size:
            yield Problem("the appliance knows no blob of it")
        return
    end = 0
    for placed in blobs:
        if placed.blob.offset != end:
            break
        end += placed.blob.length
    if end != listed.size:
        yield Problem(f"its blobs do not make up its {listed.size} bytes: they end, or leave a gap, at {end}")


def _digests(listed: ListedObject, head: ObjectHead, blobs: list[PlacedBlob]) -> Iterator[Problem]:
    if head.size != listed.size:
        yield Problem(f"has {head.size} bytes, and {listed.size} in the listing")
    if not listed.size:
        return
    missing = [placed.blob.offset for placed in blobs if not head.checksums.get(placed.blob.offset)]
    if head.checksum_type is None or missing:
        yield Problem(f"no digest is stated of its blob at {missing[0] if missing else 0}{_more(missing)}")


def _more(offsets: list[int]) -> str:
    return f" and {len(offsets) - 1:,} more" if len(offsets) > 1 else ""


def _too_few(copies: int, wanted: int, unusable: tuple[str, ...], *, in_cache: bool) -> str:
    where = f"; no copy is what is on {', '.join(unusable)}" if unusable else ""
    if copies:
        return f"is on media {copies} times, and {wanted} are promised{where}"
    return ("is in the cache, and on no medium yet" if in_cache and not unusable else "is on no medium") + where
