"""Which operation needs which permission, asked in one place before every handler.

What no line below names is for administrators alone: whoever adds an operation need not think of it here for the
appliance to be safe. The choices, where public sources are silent:

- An unknown bucket, job or chunk is a 404 to everybody, as an unknown bucket is to Amazon; one that is there and may
  not be used is a 403.
- Everybody sees all jobs in lists, and who did not begin one needs JOB on its bucket to see its chunks or to touch it.
  Source: the vendor's pages on global access control lists and on creating users.
- Everybody may read how the system is built and how it does: policies, domains, tapes, drives, pools, nodes, cache,
  failures. Secrets are in none of these. Accounts of others, targets, feature keys and registrations of others are not
  for everybody, nor is changing any of it.
- A list that could name objects of every bucket (objects, blobs on a tape, bucket history) needs LIST on all buckets,
  unless it is asked of one.
- Registrations for notifications of a job need what seeing the job needs; of all jobs, JOB on all buckets; of a
  bucket's changes, LIST on it. Those of failures are for administrators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from ds3tool.simulator.access import Permission, Standing
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.contract import Operation
from ds3tool.simulator.dispatch import Call, Served
from ds3tool.simulator.wire.refusals import denied

# Returns when the user whose standing it is may make the call; raises a 403, or a 404 for what is not there.
Rule = Callable[[Call, Standing], None]


def check(call: Call, served: Served) -> None:
    """Raise the refusal of a call that its user may not make; a 403, or the 404 of a bucket that is not there."""
    standing = call.machine.access.standing(call.user)
    if not standing.administrator:
        rule_of(served.operation)(call, standing)


def rule_of(operation: Operation) -> Rule:
    """Return what decides whether a user who is no administrator may call an operation."""
    rule = (S3_RULES if operation.style == "s3" else REST_RULES).get(operation.name)
    if rule is not None:
        return rule
    readable = operation.verb == "GET" and not operation.operation and operation.resource in _READABLE
    return anyone if readable else administrators


def anyone(_: Call, __: Standing) -> None:
    """Let every user pass."""


def administrators(call: Call, standing: Standing) -> None:
    """Let nobody pass: administrators are not asked."""
    operation = call.row.name if call.row is not None else call.request.verb
    raise denied(f"The user '{standing.user_name}' is no administrator, and may not call {operation}.")


# Buckets.


def _require(standing: Standing, permission: Permission, bucket: Bucket | None) -> None:
    if not standing.may(permission, bucket):
        where = "all buckets" if bucket is None else f"the bucket '{bucket.name}'"
        raise denied(f"The user '{standing.user_name}' needs the permission {permission} on {where}.")


def _s3_bucket(permission: Permission) -> Rule:
    """Ask for a permission on the bucket in the path."""

    def rule(call: Call, standing: Standing) -> None:
        _require(standing, permission, call.machine.buckets.named(call.bucket))

    return rule


def _rest_bucket(permission: Permission) -> Rule:
    """Ask for a permission on the bucket whose name or id ends the path."""

    def rule(call: Call, standing: Standing) -> None:
        _require(standing, permission, call.machine.buckets.find(call.identifier))

    return rule


def _bucket_parameter(permission: Permission) -> Rule:
    """Ask for a permission on the bucket that `bucket_id` names, or on all buckets when it names none."""

    def rule(call: Call, standing: Standing) -> None:
        text = call.text("bucket_id")
        _require(standing, permission, call.machine.buckets.find(text) if text else None)

    return rule


def _list_everywhere(_: Call, standing: Standing) -> None:
    """Ask for LIST on all buckets."""
    _require(standing, Permission.LIST, None)


def _acl_entry(call: Call, standing: Standing) -> None:
    """Ask for OWNER on the bucket of an entry of its list; entries of all buckets need it on all."""
    entry = call.machine.beans.find("BucketAcl", call.identifier)
    bucket = call.machine.buckets.find(entry["BucketId"]) if entry["BucketId"] else None
    _require(standing, Permission.OWNER, bucket)


# Jobs.


def _job_number(call: Call, number: int | None, standing: Standing) -> None:
    """Ask who did not begin a job for JOB on its bucket; what is no job is left to the handler's 404."""
    machine = call.machine
    with machine.store.lock:
        job = machine.jobs.active.get(number) if number is not None else None
        if job is not None:
            user_id, bucket = job.user_id, job.bucket
        else:
            row = machine.store.db.execute("SELECT user_id, bucket FROM jobs WHERE n = ?", (number,)).fetchone()
            if row is None:
                return
            user_id, bucket = row
    if user_id != standing.user_id:
        _require(standing, Permission.JOB, machine.buckets.find_number(bucket))


def _job(call: Call, standing: Standing) -> None:
    _job_number(call, call.machine.jobs.ids.number(call.identifier), standing)


def _job_parameter(call: Call, standing: Standing) -> None:
    _job_number(call, call.machine.jobs.ids.number(call.text("job") or ""), standing)


def _chunk(call: Call, standing: Standing) -> None:
    machine = call.machine
    number = machine.jobs.chunk_ids.number(call.identifier)
    if number is None:  # some clients name the job instead, and mean its first chunk
        _job(call, standing)
        return
    with machine.store.lock:
        row = machine.store.db.execute("SELECT job FROM chunks WHERE n = ?", (number,)).fetchone()
    if row is not None:
        _job_number(call, row[0], standing)


# What belongs to a user.


def _is_own(call: Call, text: str) -> bool:
    # As the handlers look it up: a user may be called like the id of another.
    found = call.machine.beans.get("User", text)
    return found is not None and found["Id"] == call.user["Id"]


def _own_user(call: Call, standing: Standing) -> None:
    """Let users see themselves; an unknown one is not told from one of another."""
    if not _is_own(call, call.identifier):
        administrators(call, standing)


def _own_membership(call: Call, standing: Standing) -> None:
    """Let users ask which groups they are in."""
    text = call.text("user_id")
    if text and not _is_own(call, text):
        administrators(call, standing)


def _narrowed(parameter: str, field: str) -> Rule:
    """Let a list be asked for, and have it show what is the user's own; a 403 when it is asked of another."""

    def rule(call: Call, standing: Standing) -> None:
        text = call.text(parameter)
        if text and text != call.user[field] and not (parameter == "user_id" and _is_own(call, text)):
            administrators(call, standing)
        call.parameters = {**call.parameters, parameter: call.user[field]}

    return rule


def _own_record(kind: str) -> Rule:
    """Let users see and delete the records that they made."""

    def rule(call: Call, standing: Standing) -> None:
        record = call.machine.beans.find(kind, call.identifier)
        if record.get("UserId") != standing.user_id:
            raise denied(f"The {kind} '{call.identifier}' is not of the user '{standing.user_name}'.")

    return rule


def _job_notices(call: Call, standing: Standing) -> None:
    """Let users be told of the jobs that they may see."""
    text = call.text("job_id")
    if not text:
        _require(standing, Permission.JOB, None)
        return
    _job_number(call, call.machine.jobs.ids.number(text), standing)


# The tables.


def _of(rule: Rule, *operations: str) -> Iterable[tuple[str, Rule]]:
    return ((name, rule) for name in operations)


S3_RULES: Mapping[str, Rule] = MappingProxyType(
    dict(
        (
            *_of(anyone, "GetService", "PutBucket"),
            *_of(_s3_bucket(Permission.LIST), "HeadBucket", "GetBucket", "GetBucketLocation"),
            *_of(_s3_bucket(Permission.OWNER), "DeleteBucket"),
            *_of(_s3_bucket(Permission.READ), "GetObject", "HeadObject"),
            *_of(_s3_bucket(Permission.WRITE), "PutObject", "CompleteBlob", "InitiateMultiPartUpload"),
            *_of(_s3_bucket(Permission.WRITE), "CreateMultiPartUploadPart", "CompleteMultiPartUpload"),
            *_of(_s3_bucket(Permission.WRITE), "AbortMultiPartUpload", "ListMultiPartUploadParts"),
            *_of(_s3_bucket(Permission.WRITE), "ListMultiPartUploads"),
            *_of(_s3_bucket(Permission.DELETE), "DeleteObject", "DeleteObjects"),
        )
    )
)
# Registrations of notices, by the event; the contract's name of the record differs from that of its operations.
_JOB_NOTICES = {
    "JobCreated": "JobCreatedNotificationRegistration",
    "JobCompleted": "JobCompletedNotificationRegistration",
    "JobCreationFailed": "JobCreationFailedNotificationRegistration",
    "ObjectCached": "S3ObjectCachedNotificationRegistration",
    "ObjectLost": "S3ObjectLostNotificationRegistration",
    "ObjectPersisted": "S3ObjectPersistedNotificationRegistration",
}
_NOTICES = {**_JOB_NOTICES, "BucketChanges": "BucketChangesNotificationRegistration"}
REST_RULES: Mapping[str, Rule] = MappingProxyType(
    dict(
        (
            # Lists that show only what the user may see, and the making of what will be the user's own.
            *_of(anyone, "GetBuckets", "CreateBucket", "GetSuspectBuckets", "GetDegradedBuckets"),
            *_of(_rest_bucket(Permission.LIST), "GetBucket"),
            *_of(_rest_bucket(Permission.OWNER), "ModifyBucket", "DeleteBucket"),
            *_of(_rest_bucket(Permission.READ), "CreateGetJob", "CreateVerifyJob", "StageObjectsJob"),
            *_of(_rest_bucket(Permission.READ), "GetPhysicalPlacementForObjects"),
            *_of(_rest_bucket(Permission.READ), "GetPhysicalPlacementForObjectsWithFullDetails"),
            *_of(_rest_bucket(Permission.READ), "VerifyPhysicalPlacementForObjects"),
            *_of(_rest_bucket(Permission.READ), "VerifyPhysicalPlacementForObjectsWithFullDetails"),
            *_of(_rest_bucket(Permission.WRITE), "CreatePutJob", "ReplicatePutJob", "VerifySafeToCreatePutJob"),
            *_of(_bucket_parameter(Permission.LIST), "GetObjects", "GetObjectsWithFullDetails", "GetObject"),
            *_of(_bucket_parameter(Permission.LIST), "GetSuspectObjects", "GetSuspectObjectsWithFullDetails"),
            *_of(_bucket_parameter(Permission.LIST), "GetDegradedBlobs", "GetBucketHistory"),
            *_of(_bucket_parameter(Permission.LIST), "GetBucketCapacitySummary"),
            *_of(_list_everywhere, "GetBlobsOnTape", "GetBlobsOnPool", "GetBlobsOnAzureTarget"),
            *_of(_list_everywhere, "GetBlobsOnDs3Target", "GetBlobsOnS3Target"),
            *_of(_bucket_parameter(Permission.WRITE), "UndeleteObject"),
            *_of(_bucket_parameter(Permission.DELETE), "DeleteFolderRecursively"),
            # Permissions themselves.
            *_of(_bucket_parameter(Permission.OWNER), "GetBucketAcls", "CreateBucketAclForGroup"),
            *_of(_bucket_parameter(Permission.OWNER), "CreateBucketAclForUser", "CreateGlobalBucketAclForGroup"),
            *_of(_bucket_parameter(Permission.OWNER), "CreateGlobalBucketAclForUser"),
            *_of(_acl_entry, "GetBucketAcl", "DeleteBucketAcl"),
            # Jobs.
            *_of(anyone, "GetJobs", "GetActiveJobs", "GetCompletedJobs", "GetCanceledJobs"),
            *_of(_job, "GetJob", "ModifyJob", "CancelJob", "TruncateJob", "CloseAggregatingJob", "GetJobToReplicate"),
            *_of(_job, "GetActiveJob", "ModifyActiveJob", "CancelActiveJob", "TruncateActiveJob"),
            *_of(_job, "GetCompletedJob", "GetCanceledJob"),
            *_of(_job_parameter, "GetJobChunksReadyForClientProcessing"),
            *_of(_chunk, "GetJobChunk", "GetJobChunkDao", "AllocateJobChunk"),
            # Users and what is theirs.
            *_of(_narrowed("auth_id", "AuthId"), "GetUsers"),
            *_of(_own_user, "GetUser", "RegenerateUserSecretKey"),
            *_of(_own_membership, "VerifyUserIsMemberOfGroup"),
            *((f"Create{event}NotificationRegistration", _job_notices) for event in _JOB_NOTICES),
            *_of(_bucket_parameter(Permission.LIST), "CreateBucketChangesNotificationRegistration"),
            *((f"Get{event}NotificationRegistrations", _narrowed("user_id", "Id")) for event in _NOTICES),
            *((f"Get{event}NotificationRegistration", _own_record(kind)) for event, kind in _NOTICES.items()),
            *((f"Delete{event}NotificationRegistration", _own_record(kind)) for event, kind in _NOTICES.items()),
        )
    )
)
# Resources that every user may list and show.
_READABLE = frozenset(
    (
        *("data_policy", "data_policy_acl", "data_persistence_rule", "storage_domain", "storage_domain_member"),
        *("ds3_data_replication_rule", "azure_data_replication_rule", "s3_data_replication_rule"),
        *("degraded_data_persistence_rule", "degraded_ds3_data_replication_rule"),
        *("degraded_azure_data_replication_rule", "degraded_s3_data_replication_rule"),
        *("suspect_blob_tape", "suspect_blob_pool", "suspect_blob_ds3_target", "suspect_blob_azure_target"),
        *("suspect_blob_s3_target", "tape", "tape_drive", "tape_library", "tape_partition", "tape_density_directive"),
        *("pool", "pool_partition", "node", "cache_filesystem", "cache_state", "data_path_backend"),
        *("system_information", "system_health", "capacity_summary", "blob_store_task", "group", "group_member"),
        *("tape_failure", "pool_failure", "tape_partition_failure", "storage_domain_failure", "system_failure"),
        "job_creation_failed",
    )
)
