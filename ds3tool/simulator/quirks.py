"""What an appliance may do that a careless client does not expect, each by name; and what some releases did.

All of it is allowed by the protocol, or was seen of some release, or of what stands before an appliance.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from ds3tool.errors import UsageError


class Quirk(StrEnum):
    """One awkwardness. Those about documents rewrite what is said, never what is stored."""

    what: str
    exposes: str

    def __new__(cls, name: str, what: str, exposes: str) -> Self:
        """Make the quirk `name`: `what` the appliance does, and the mistake of a client that this `exposes`."""
        quirk = str.__new__(cls, name)
        quirk._value_ = name
        quirk.what = what
        quirk.exposes = exposes
        return quirk

    UNKNOWN_WORDS = (
        "unknown-words",
        "Elements, attributes and words of a newer release",
        "readers that refuse what they do not know",
    )
    EMPTY_VALUES = ("empty-values", "Nothing where a number, a date or a truth could be done without", 'int("")')
    FEW_ATTRIBUTES = (
        "few-attributes",
        "Of jobs, chunks and blobs only what nobody can do without",
        "readers that index what may be absent",
    )
    LEAN_BLOBS = (
        "lean-blobs",
        "Blobs of a job do not name its bucket, and no job says whether it is in the cache as a whole",
        "readers that index what may be absent",
    )
    INTEGER_VERSIONS = (
        "integer-versions",
        "`Version` instead of `VersionId`, and no version header",
        "clients that need an id to put or get",
    )
    OLD_DATES = (
        "old-dates",
        "Dates with a blank and without a zone",
        "strict readers of dates, and against local time",
    )
    CHUNKS_FROM_ZERO = ("chunks-from-zero", "The first chunk has number 0", "those who take 0 for none")
    NO_HEAD_DIGESTS = (
        "no-head-digests",
        "HEAD tells no digests of blobs",
        "those who take an absent digest for an equal one",
    )
    EMPTY_AT_CREATION = (
        "empty-at-creation",
        "Empty objects are made with the job and are in no chunk",
        "clients that wait for every name to be offered",
    )
    DONE_AT_CREATION = (
        "done-at-creation",
        "A job of which nothing is left to move has ended when its creation is answered",
        "a poll as a first step",
    )
    NO_JOB_FOR_NOTHING = (
        "no-job-for-nothing",
        "No job at all (204) where nothing is left to move",
        "readers that need a document",
    )
    POLL_ENDS_IN_404 = (
        "poll-ends-in-404",
        "Polling a job without work for the client is a 404",
        "clients that know but one of them",
    )
    POLL_ENDS_IN_410 = (
        "poll-ends-in-410",
        "Polling a job without work for the client is a 410",
        "clients that know but one of them",
    )
    FORGETS_JOBS = ("forgets-jobs", "Jobs are forgotten the moment they end", 'taking "not found" for "cancelled"')
    OFFERS_AGAIN = (
        "offers-again",
        "Chunks are offered twice in one answer, and again after their blobs came, as they were",
        "sending twice",
    )
    ANY_CHUNK_FIRST = ("any-chunk-first", "Of many chunks, any finds room first", "working through a list from its top")
    SCATTERED_BLOBS = (
        "scattered-blobs",
        "Blobs of an object lie in any chunks, in any order",
        "one file, one chunk, and against appending",
    )
    SLOW_TAPES = (
        "slow-tapes",
        "The first hundred answers to a poll are empty, with five minutes between them",
        "a limit on patience",
    )
    SHARED_JOBS = (
        "shared-jobs",
        "A new job joins whatever job of the bucket is open, asked or not",
        "taking all that is listed for one's own",
    )
    LATE_NUMBERS = ("late-numbers", "Sizes of jobs and the lists of them are five seconds old", "deciding by them")
    NODES_ELSEWHERE = (
        "nodes-elsewhere",
        "Nodes without an address that could be reached",
        "following the node of a chunk",
    )
    BARE_ERRORS = (
        "bare-errors",
        "Refusals have no body",
        "believing the document",
    )
    HTML_ERRORS = (
        "html-errors",
        "Refusals are a proxy's page",
        "believing the document",
    )
    ODD_ERROR_NUMBERS = (
        "odd-error-numbers",
        "Refusals have another number inside than their status",
        "believing the document",
    )
    MANAGEMENT_PORT = ("management-port", "It is the management port that listens", 'taking its 404 for "not there"')


# The release that the appliance is when no quirk makes it an older one.
_VERSION = "5.8.0"
_BEFORE_5 = frozenset({Quirk.INTEGER_VERSIONS})
_BEFORE_4 = _BEFORE_5 | {Quirk.NO_HEAD_DIGESTS, Quirk.EMPTY_AT_CREATION, Quirk.POLL_ENDS_IN_410}
# Releases as far as they differ in puts, gets and lists. Source: protocol, sections 9.7 and 17.
RELEASES: dict[str, frozenset[Quirk]] = {
    "release-3.4": _BEFORE_4,
    "release-3.0": _BEFORE_4 | {Quirk.LEAN_BLOBS},
    "release-1.2": (_BEFORE_4 - {Quirk.POLL_ENDS_IN_410})
    | {Quirk.POLL_ENDS_IN_404, Quirk.FEW_ATTRIBUTES, Quirk.OLD_DATES, Quirk.CHUNKS_FROM_ZERO},
}
_VERSIONS = {"release-3.4": "3.4.1", "release-3.0": "3.0.1", "release-1.2": "1.2.0"}
_BY_NAME = {quirk.value: quirk for quirk in Quirk}
NAMES = (*_BY_NAME, *RELEASES)


def named_quirks(names: Iterable[str]) -> frozenset[Quirk]:
    """Return the quirks that names of quirks and of releases stand for; UsageError for another name."""
    found: frozenset[Quirk] = frozenset()
    for name in names:
        if name in RELEASES:
            found |= RELEASES[name]
        elif name in _BY_NAME:
            found |= {_BY_NAME[name]}
        else:
            raise UsageError(f"there is no quirk {name!r}", hint=f"the quirks are: {', '.join(NAMES)}")
    return found


def version_told(quirks: frozenset[Quirk]) -> str:
    """Return the version that an appliance with `quirks` says it has: the oldest release that is wholly among them."""
    told = _VERSION
    for name, version in _VERSIONS.items():
        told = version if RELEASES[name] <= quirks else told
    return told
