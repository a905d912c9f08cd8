"""The fifteen kinds of notifications: how their resources, records and documents are called, and what narrows them."""

from __future__ import annotations

from ds3tool.lazy_dataclass import dataclass

_SUFFIX = "NotificationRegistration"


@dataclass(frozen=True, slots=True)
class NoticeKind:
    """One kind. `name` as operations have it, `record` and `payload` the contract's types of registration and document.

    `scope` is the property that narrows a registration to one job or bucket (`JobId`, `BucketId`), or None. `failure`
    is the type of the records that are told as they are, or None.
    """

    name: str
    record: str
    payload: str
    scope: str | None = None
    failure: str | None = None

    def operation(self, verb: str, *, several: bool = False) -> str:
        """Return the contract's name of an operation: `verb` is Create, Get or Delete."""
        return f"{verb}{self.name}{_SUFFIX}{'s' if several else ''}"


def _plain(name: str, scope: str | None = None) -> NoticeKind:
    return NoticeKind(name, f"{name}{_SUFFIX}", f"{name}NotificationPayload", scope)


def _object(name: str, scope: str | None = None) -> NoticeKind:
    return NoticeKind(f"Object{name}", f"S3Object{name}{_SUFFIX}", f"S3Objects{name}NotificationPayload", scope)


def _failure(name: str) -> NoticeKind:
    return NoticeKind(name, f"{name}{_SUFFIX}", f"{name}NotificationPayload", failure=name)


JOB_CREATED = _plain("JobCreated")
JOB_COMPLETED = _plain("JobCompleted", "JobId")
OBJECT_CACHED = _object("Cached", "JobId")
OBJECT_PERSISTED = _object("Persisted", "JobId")
OBJECT_LOST = _object("Lost")
BUCKET_CHANGES = _plain("BucketChanges", "BucketId")
JOB_CREATION_FAILED = _failure("JobCreationFailed")
FAILURES = (
    *(_failure("TapeFailure"), _failure("TapePartitionFailure"), _failure("StorageDomainFailure")),
    *(_failure("SystemFailure"), _failure("PoolFailure")),
    *(_failure("AzureTargetFailure"), _failure("Ds3TargetFailure"), _failure("S3TargetFailure")),
)
KINDS = (
    *(JOB_CREATED, JOB_COMPLETED, OBJECT_CACHED, OBJECT_PERSISTED, OBJECT_LOST, BUCKET_CHANGES, JOB_CREATION_FAILED),
    *FAILURES,
)
BY_NAME = {kind.name: kind for kind in KINDS}
BY_RECORD = {kind.record: kind for kind in KINDS}
BY_FAILURE = {kind.failure: kind for kind in KINDS if kind.failure is not None}
