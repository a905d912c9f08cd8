"""Deleting what a put has made and nobody vouches for: only ever its own job's objects."""

from __future__ import annotations

from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error, NotFoundError
from ds3tool.protocol.model import Versioning


def drop_object(
    client: Ds3Client, bucket: str, key: str, version_id: str | None, versioning: Versioning
) -> tuple[str, ...]:
    """Delete an object that a job has just made; return what a person should know where that cannot be done.

    Where versions are kept, or may be, it must be the very version that the job made.
    """
    try:
        head = client.head_object(bucket, key)
        known = version_id is not None and head.version_id is not None
        if known and head.version_id != version_id:
            return ()  # an older version, which this job did not replace
        if known or versioning == Versioning.NONE:
            client.delete_object(bucket, key, version_id=version_id if known else None)
            return ()
    except NotFoundError:
        return ()
    except Ds3Error as error:
        reason = f" ({error.message})"
    else:
        reason = ", which keeps versions"
    return (f"{key} failed here but may be on the appliance{reason}; remove it",)
