"""Listing a bucket of S3: page after page, one of them asked for while the one before is being looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.errors import FarSideError, FarSideUnreachableError
from ds3tool.lazy_dataclass import dataclass

STANDARD = "STANDARD"
# Classes of which the bytes can be had only after somebody has asked for it, and hours later.
ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_STATUSES = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented", "MethodNotAllowed"})


class Restore(Enum):
    """Where the restoring of an archived object stands."""

    ONGOING = "ongoing"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class S3Listed:
    """An object as a listing shows it: `size` in bytes, `etag` without its quotes (empty where there is none).

    `restore` is None where nobody has asked for the object to be restored, and also where the service does not tell
    it in listings.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime
    storage_class: str = STANDARD
    restore: Restore | None = None

    @property
    def modified_ns(self) -> int:
        """When it was modified, in nanoseconds since 1970."""
        since = self.last_modified - _NEVER
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


@dataclass(frozen=True, slots=True)
class S3Page:
    """One page of a listing: objects, and with a delimiter the prefixes below which more lies."""

    objects: tuple[S3Listed, ...]
    prefixes: tuple[str, ...]


def listed(client: Any, bucket: str, prefix: str, *, delimiter: str | None = None) -> Iterator[S3Listed]:  # noqa: ANN401
    """Yield every object whose key begins with `prefix`, in the service's order; errors as those of `pages`.

    With a delimiter only those in whose key none comes after the prefix.
    """
    for page in pages(client, bucket, prefix, delimiter=delimiter):
        yield from page.objects


def pages(client: Any, bucket: str, prefix: str, *, delimiter: str | None = None) -> Iterator[S3Page]:  # noqa: ANN401
    """Yield the pages of a listing; `client` is boto3's. At most two are in memory.

    Raises FarSideNotFoundError for a bucket that is not there, FarSideForbiddenError for one that may not be listed,
    FarSideDeniedError where nobody knows us, FarSideUnreachableError when nobody answers.
    """
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    if delimiter is not None:
        asked["Delimiter"] = delimiter
    ask = _Asking(client, asked, f"s3://{bucket}/{prefix}")
    with ThreadPoolExecutor(1, "ds3tool-s3-listing") as ahead:
        coming: Any = None
        token: str | None = None
        while True:
            reply = ask(token) if coming is None else coming.result()
            last, token = token, reply.get("NextContinuationToken")
            if reply.get("IsTruncated") and (not token or token == last):
                raise FarSideError(f"{ask.what}: the listing breaks off: the service does not say how it goes on")
            more = bool(reply.get("IsTruncated"))
            coming = ahead.submit(ask, token) if more else None
            yield S3Page(
                tuple(_listed(one) for one in reply.get("Contents", ())),
                tuple(str(one["Prefix"]) for one in reply.get("CommonPrefixes", ())),
            )
            if coming is None:
                return


def is_archived(one: S3Listed) -> bool:
    """Whether an object's bytes cannot be had, as far as a listing tells: some services tell nothing of restoring."""
    return one.storage_class in ARCHIVED_CLASSES and one.restore is not Restore.READY


class _Asking:
    """Asks for one page after the other; the states of restoring too, as long as the service knows what that is."""

    def __init__(self, client: Any, asked: dict[str, Any], what: str) -> None:  # noqa: ANN401
        self._list: Callable[..., Any] = client.list_objects_v2
        self._asked = asked
        self._optional: dict[str, Any] = {"OptionalObjectAttributes": ["RestoreStatus"]}
        self.what = what

    def __call__(self, token: str | None) -> Any:  # noqa: ANN401  # botocore's own dict
        place = {} if token is None else {"ContinuationToken": token}
        try:
            with far_side(self.what):
                reply = self._list(**self._asked, **place, **self._optional)
        except FarSideError as error:
            if not self._optional or error.code not in _STATUSES:
                raise
            self._optional = {}
            return self(token)
        if "IsTruncated" not in reply:  # a proxy's page, or nothing: an empty bucket says more
            raise FarSideUnreachableError(f"{self.what}: the answer is none of the service's: it is no listing")
        return reply


def _listed(one: Any) -> S3Listed:  # noqa: ANN401  # botocore's own dict
    status = one.get("RestoreStatus") or {}
    restore = Restore.ONGOING if status.get("IsRestoreInProgress") else None
    if restore is None and status.get("RestoreExpiryDate") is not None:
        restore = Restore.READY
    return S3Listed(
        one["Key"],
        int(one["Size"]),
        str(one.get("ETag", "")).strip('"'),
        one.get("LastModified") or _NEVER,
        one.get("StorageClass") or STANDARD,
        restore,
    )


def restore_of(header: str | None) -> Restore | None:
    """Return where restoring stands by the header of an object's HEAD (`ongoing-request="false", ...`)."""
    if not header:
        return None
    return Restore.ONGOING if re.search(r'ongoing-request\s*=\s*"true"', header) else Restore.READY
