"""Amazon style: the service, buckets, listings, multi-object delete."""

from __future__ import annotations

from ds3tool.protocol import names
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.dispatch import Call, s3
from ds3tool.simulator.documents import optional_date
from ds3tool.simulator.objects import StoredObject
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.references import forget_references
from ds3tool.simulator.wire import xmlin, xmlout
from ds3tool.simulator.wire.messages import Reply, xml_reply
from ds3tool.simulator.wire.refusals import Refusal, bad_request, conflict
from ds3tool.simulator.wire.xmlout import Xml, bean, date, element, fields


def owner(user: Fields) -> Xml:
    """Return the `Owner` element of a user."""
    return bean("Owner", {"DisplayName": str(user["Name"]), "ID": str(user["Id"])})


@s3("GetService")
def get_service(call: Call) -> Reply:
    """List the buckets that the caller may list."""
    buckets = [
        bean("Bucket", {"CreationDate": date(bucket.created), "Name": bucket.name})
        for bucket in call.machine.access.listable(call.user)
    ]
    inner = {"Buckets": element("Buckets", buckets), "Owner": owner(call.user)}
    return xml_reply(xmlout.document(bean("ListAllMyBucketsResult", inner)))


@s3("PutBucket")
def put_bucket(call: Call) -> Reply:
    """Create a bucket under the caller's default data policy."""
    create_bucket(call, call.bucket, policy=None, user_id=str(call.user["Id"]), identifier=None, protected=False)
    return Reply(200)


def create_bucket(
    call: Call, name: str, *, policy: str | None, user_id: str, identifier: str | None, protected: bool
) -> Bucket:
    """Create a bucket for a user.

    A 400 when no data policy is named and the user has none, or for one bucket too many; a 403 for a data policy that
    the caller may not use. The user's default needs no further permission: an administrator chose it.
    """
    machine = call.machine
    with machine.store.lock:  # from the first look on, lest the owner or the data policy go meanwhile
        owner_to_be = machine.beans.find("User", user_id)
        if policy:
            found = machine.beans.find("DataPolicy", policy)
            machine.access.check_policy(call.user, found)
        elif owner_to_be["DefaultDataPolicyId"]:
            found = machine.beans.find("DataPolicy", owner_to_be["DefaultDataPolicyId"])
        else:
            raise bad_request("The user has no default data policy, and none is given.")
        refuse_too_many(call, owner_to_be)
        return machine.buckets.create(
            name,
            identifier=identifier or machine.new_id(),
            policy=str(found["Id"]),
            user=user_id,
            now=machine.clock.now(),
            protected=protected,
        )


def refuse_too_many(call: Call, user: Fields) -> None:
    """Raise a 400 when a user owns as many buckets as the user may. Source of the code: Amazon's."""
    owned = sum(1 for bucket in call.machine.buckets.all() if bucket.user_id == user["Id"])
    if owned >= user["MaxBuckets"]:
        message = f"The user '{user['Name']}' may own {user['MaxBuckets']} buckets, and does."
        raise Refusal(400, "TooManyBuckets", message)


@s3("HeadBucket")
def head_bucket(call: Call) -> Reply:
    """Tell whether a bucket is there."""
    call.machine.buckets.named(call.bucket)
    return Reply(200)


@s3("DeleteBucket")
def delete_bucket(call: Call) -> Reply:
    """Delete an empty bucket."""
    remove_bucket(call, call.machine.buckets.named(call.bucket), force=False)
    return Reply(204)


def remove_bucket(call: Call, bucket: Bucket, *, force: bool) -> None:
    """Delete a bucket; its objects too when forced, else a 409 while it has any."""
    machine = call.machine
    with machine.store.lock:
        bucket = machine.buckets.current(bucket)  # it may have been deleted meanwhile, and be another one by now
        if bucket.protected:
            raise conflict(f"Conflict[409]: The bucket '{bucket.name}' is protected.")
        if not force and machine.objects.count("bucket = ? LIMIT 1", (bucket.n,)):
            message = f"BucketNotEmpty[409]: The bucket '{bucket.name}' holds objects."
            raise conflict(message, names.BUCKET_NOT_EMPTY)
        for job in [job for job in machine.jobs.active.values() if job.bucket == bucket.n]:
            machine.cancel(job)
        some = f"bucket = ? LIMIT {names.MAX_KEYS_PER_REQUEST:d}"  # memory does not grow with the bucket
        while numbers := [each.n for each in machine.objects.select(some, (bucket.n,))]:
            with machine.store.writing() as db:
                machine.objects.remove(db, numbers)
        with machine.store.writing() as db:
            machine.multiparts.forget_bucket(bucket)
            forget_references(machine, "Bucket", bucket.id)
            machine.buckets.remove(db, bucket)


@s3("GetBucketLocation")
def get_location(call: Call) -> Reply:
    """Answer what generic S3 clients ask first; the appliance itself has no such operation."""
    call.machine.buckets.named(call.bucket)
    return xml_reply(xmlout.document(element("LocationConstraint", None)))


@s3("GetBucket")
def get_bucket(call: Call) -> Reply:
    """List a bucket's objects, one page."""
    machine = call.machine
    bucket = machine.buckets.named(call.bucket)
    prefix, delimiter = call.text("prefix") or "", call.text("delimiter") or ""
    marker = call.text("marker") or call.text("key_marker") or ""
    asked = call.number("max_keys")
    limit = names.MAX_KEYS_PER_REQUEST if asked is None else min(asked, names.MAX_KEYS_PER_REQUEST)
    versions = call.has("versions")
    with machine.store.lock:
        found, prefixes, following = machine.objects.page(
            bucket.n,
            prefix=prefix,
            delimiter=delimiter,
            marker=marker,
            limit=limit,
            versions=versions,
            after=call.text("version_id_marker") or None,
        )
    user = machine.beans.get("User", bucket.user_id) or call.user
    tag = "Version" if versions else "Contents"
    entries = [_listed(call, each, tag, user) for each in found]
    common = [Xml(f"<CommonPrefixes>{element('Prefix', each)}</CommonPrefixes>") for each in prefixes]
    head = fields({"CreationDate": date(bucket.created), "Delimiter": delimiter or None})
    middle = fields(
        {
            "IsTruncated": following is not None,
            "Marker": marker or None,
            "MaxKeys": limit,
            "Name": bucket.name,
            "NextMarker": following,
            "Prefix": prefix or None,
        }
    )
    if versions and following is not None:  # where Amazon's tools look for it
        last = call.machine.objects.ids.of(found[-1].n) if found and found[-1].name == following else None
        middle = Xml(middle + fields({"NextKeyMarker": following, "NextVersionIdMarker": last}))
    contents, listed_versions = ([], entries) if versions else (entries, [])
    document = element("ListBucketResult", [*common, *contents, head, middle, *listed_versions])
    return xml_reply(xmlout.document(document))


def _listed(call: Call, each: StoredObject, tag: str, user: Fields) -> Xml:
    complete = each.created is not None
    return bean(
        tag,
        {
            "ETag": f'"{each.etag}"' if complete else None,
            "IsLatest": each.latest,
            "Key": each.name,
            "LastModified": optional_date(each.created),
            "Owner": owner(user),
            "Size": each.size if complete else 0,
            "StorageClass": None,
            "VersionId": call.machine.objects.ids.of(each.n),
        },
    )


@s3("DeleteObjects")
def delete_objects(call: Call) -> Reply:
    """Delete up to 1000 objects; unknown keys are told as errors."""
    machine = call.machine
    bucket = machine.buckets.named(call.bucket)
    asked = xmlin.read_delete(call.request.body.pieces())
    rules = machine.buckets.rules(bucket)
    deleted: list[Xml] = []
    errors: list[Xml] = []
    for key, version_id in asked.keys:
        try:
            with machine.store.writing() as db:
                machine.objects.delete(db, bucket, key, version_id, rules)
        except Refusal as refusal:
            code = names.OBJECT_NOT_FOUND if refusal.status == 404 else refusal.code
            message = "Object not found" if refusal.status == 404 else refusal.message
            values: dict[str, xmlout.Value] = {"Code": code, "Key": key, "Message": message}
            errors.append(bean("Error", {**values, "VersionId": version_id} if version_id else values))
        else:
            named: dict[str, xmlout.Value] = {"Key": key}
            deleted.append(bean("Deleted", {**named, "VersionId": version_id} if version_id else named))
    return xml_reply(xmlout.document(element("DeleteResult", [*([] if asked.quiet else deleted), *errors])))
