"""A bucket with versions is emptied for good: every version and every marker of a deletion."""

from __future__ import annotations

from collections.abc import Iterator

from ds3tool.aws import s3_objects
from ds3tool.aws.s3_objects import Client, NotDeleted, ObjectName
from ds3tool.lazy_dataclass import dataclass

# So many are counted before somebody is asked; who has more knows that it is much.
COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Held:
    """What a bucket holds: versions and markers, and the bytes of the versions; `or_more` when counting ended early."""

    versions: int
    bytes: int
    or_more: bool = False


def held(client: Client, bucket: str) -> Held:
    """Count what a bucket holds, up to 10,000 versions."""
    versions = size = 0
    for page in s3_objects.pages(client, bucket, versions=True):
        versions += len(page.objects)
        size += sum(one.size or 0 for one in page.objects)
        if versions >= COUNTED:
            return Held(versions, size, or_more=True)
    return Held(versions, size)


def empty(client: Client, bucket: str) -> Iterator[tuple[int, list[NotDeleted]]]:
    """Delete everything in a bucket, a thousand at a time; yield how many went and which did not, batch by batch."""
    names = (
        ObjectName(one.key, one.version_id)
        for page in s3_objects.pages(client, bucket, versions=True)
        for one in page.objects
    )
    for done in s3_objects.delete(client, bucket, names):
        yield len(done.deleted), list(done.failed)
