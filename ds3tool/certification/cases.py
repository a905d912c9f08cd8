"""The list: each case with its name, what is expected, and who tries it. Its place is its number."""

from __future__ import annotations

from collections.abc import Callable

from ds3tool.certification import ending, listing, moving, refusing, taping
from ds3tool.certification.ground import Ground
from ds3tool.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `run` returns what was seen, in a sentence, when that is as `expected`.

    It raises UnexpectedError when it is not, NotApplicableError when the case has no meaning here; whatever Ds3Error
    it lets pass was not expected either.
    """

    name: str
    expected: str
    run: Callable[[Ground], str]


CASES: tuple[Case, ...] = (
    Case("large-object", "One object of many blobs goes in and comes back byte for byte", moving.large_object),
    Case("mixed-objects", "Objects of many sizes, names and folders go in and come back", moving.mixed_objects),
    Case("part", "Bytes of the midst of an object come alone, across the seam of two blobs", moving.part),
    Case("metadata", "What is stored with an object comes back, letter for letter", moving.metadata),
    Case("missing-object", "An object that is not there is 404, by itself and in a job", refusing.missing_object),
    Case("wrong-keys", "A wrong secret key and an unknown access key are 403", refusing.wrong_keys),
    Case("no-permission", "A user whom nobody has let in is 403 at a bucket and at an object", refusing.no_permission),
    Case("skewed-clock", "A request dated an hour ago is 403, and says that it is the clock", refusing.skewed_clock),
    Case("wrong-port", "The management port serves no data, and is known by its answer", refusing.wrong_port),
    Case("bad-digest", "Bytes that are not those of their digest are 400, and are not kept", refusing.bad_digest),
    Case("same-name", "A name that is taken is refused, or kept as one more version", refusing.same_name),
    Case("cut-put", "A put cut off in its midst leaves nothing, and its job is gone on with", ending.cut_put),
    Case("cancelled-job", "A cancelled job takes no more blobs, and leaves no object", ending.cancelled_job),
    Case("paging", "A listing in pages tells every key, once, in order", listing.paging),
    Case("delimiter", "A delimiter folds keys into their prefixes", listing.delimiter),
    Case("versions", "Each put of a name is a version that can be listed and read", listing.versions),
    Case("undelete", "A deleted object is gone from the list, and back after undelete", listing.undelete),
    Case("persisted", "What was put is on as many tapes or pools as its policy wants", taping.persisted),
    Case("after-reclaim", "What has left the cache is read from tape and comes back", taping.after_reclaim),
    Case("cache-full", "A full cache makes clients wait, and all arrives in the end", taping.cache_full),
)
