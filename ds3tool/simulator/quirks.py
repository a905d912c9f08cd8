"""What an appliance may do that a careless client does not expect, each by name; and what some releases did.

All of it is allowed by the protocol, or was seen of some release, or of what stands before an appliance. A comment
names the mistake that the quirk exposes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from ds3tool.errors import UsageError


class Quirk(StrEnum):
    """One awkwardness. Those about documents rewrite what is said, never what is stored."""

    # Elements, attributes and words of a newer release: against readers that refuse what they do not know.
    UNKNOWN_WORDS = "unknown-words"
    # Nothing where a number, a date or a truth could be done without: against int("").
    EMPTY_VALUES = "empty-values"
    # Of jobs, chunks and blobs only what nobody can do without: against readers that index what may be absent.
    FEW_ATTRIBUTES = "few-attributes"
    # `Version` instead of `VersionId`, and no version header: against clients that need an id to put or get.
    INTEGER_VERSIONS = "integer-versions"
    # Dates with a blank and without a zone: against strict readers of dates, and against local time.
    OLD_DATES = "old-dates"
    # The first chunk has number 0: against those who take 0 for none.
    CHUNKS_FROM_ZERO = "chunks-from-zero"
    # HEAD tells no digests of blobs: against those who take an absent digest for an equal one.
    NO_HEAD_DIGESTS = "no-head-digests"
    # Empty objects are made with the job and are in no chunk: against clients that wait for every name to be offered.
    EMPTY_AT_CREATION = "empty-at-creation"
    # A job of which nothing is left to move has ended when its creation is answered: against a poll as a first step.
    DONE_AT_CREATION = "done-at-creation"
    # No job at all (204) where nothing is left to move: against readers that need a document.
    NO_JOB_FOR_NOTHING = "no-job-for-nothing"
    # Polling a job without work for the client is a 404 / a 410: against clients that know but one of them.
    POLL_ENDS_IN_404 = "poll-ends-in-404"
    POLL_ENDS_IN_410 = "poll-ends-in-410"
    # Jobs are forgotten the moment they end: against taking "not found" for "cancelled".
    FORGETS_JOBS = "forgets-jobs"
    # Chunks are offered twice in one answer, and again after their blobs came, as they were: against sending twice.
    OFFERS_AGAIN = "offers-again"
    # Of many chunks, any finds room first: against working through a list from its top.
    ANY_CHUNK_FIRST = "any-chunk-first"
    # Blobs of an object lie in any chunks, in any order: against one file, one chunk, and against appending.
    SCATTERED_BLOBS = "scattered-blobs"
    # The first hundred answers to a poll are empty, with five minutes between them: against a limit on patience.
    SLOW_TAPES = "slow-tapes"
    # A new job joins whatever job of the bucket is open, asked or not: against taking all that is listed for one's own.
    SHARED_JOBS = "shared-jobs"
    # Sizes of jobs and the lists of them are five seconds old: against deciding by them.
    LATE_NUMBERS = "late-numbers"
    # Nodes without an address that could be reached: against following the node of a chunk.
    NODES_ELSEWHERE = "nodes-elsewhere"
    # Refusals without a body, of a proxy's making, or with another number inside: against believing the document.
    BARE_ERRORS = "bare-errors"
    HTML_ERRORS = "html-errors"
    ODD_ERROR_NUMBERS = "odd-error-numbers"
    # It is the management port that listens: against taking its 404 for "not there".
    MANAGEMENT_PORT = "management-port"


_BEFORE_5 = frozenset({Quirk.INTEGER_VERSIONS})
_BEFORE_4 = _BEFORE_5 | {Quirk.NO_HEAD_DIGESTS, Quirk.EMPTY_AT_CREATION, Quirk.POLL_ENDS_IN_410}
# Releases as far as they differ in puts, gets and lists. Source: protocol, sections 9.7 and 17.
RELEASES: dict[str, frozenset[Quirk]] = {
    "release-3.4": _BEFORE_4,
    "release-3.0": _BEFORE_4 | {Quirk.FEW_ATTRIBUTES},
    "release-1.2": (_BEFORE_4 - {Quirk.POLL_ENDS_IN_410})
    | {Quirk.POLL_ENDS_IN_404, Quirk.FEW_ATTRIBUTES, Quirk.OLD_DATES, Quirk.CHUNKS_FROM_ZERO},
}
NAMES = (*(quirk.value for quirk in Quirk), *RELEASES)


def named_quirks(names: Iterable[str]) -> frozenset[Quirk]:
    """Return the quirks that names of quirks and of releases stand for; UsageError for another name."""
    found: frozenset[Quirk] = frozenset()
    for name in names:
        if name in RELEASES:
            found |= RELEASES[name]
        elif name in {quirk.value for quirk in Quirk}:
            found |= {Quirk(name)}
        else:
            raise UsageError(f"there is no quirk {name!r}", hint=f"the quirks are: {', '.join(NAMES)}")
    return found
