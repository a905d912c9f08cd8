"""Buckets and objects below `/_rest_/`: lists, details, folders, undelete."""

from __future__ import annotations

from collections.abc import Callable

from ds3tool.protocol import names
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import bucket_fields, data, data_list, object_fields, placement
from ds3tool.simulator.handlers.placement import blob_attributes, tapes_of
from ds3tool.simulator.handlers.policies import check_move
from ds3tool.simulator.handlers.service import create_bucket, refuse_too_many, remove_bucket
from ds3tool.simulator.objects import StoredObject
from ds3tool.simulator.records.paging import glob, headers, matcher, page, window
from ds3tool.simulator.records.parameters import moment
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import Refusal, denied, not_found
from ds3tool.simulator.wire.xmlout import Value, Xml, bean, element

_ORDER = "ORDER BY name, created DESC, n"


@rest("GetBuckets")
def get_buckets(call: Call) -> Reply:
    """List the buckets that the caller may list."""
    return bucket_list(call, lambda _: True)


def bucket_list(call: Call, wanted: Callable[[Bucket], bool]) -> Reply:
    """List those of the buckets that the caller may list which match the call's filters and are `wanted`."""
    machine = call.machine
    name, policy, user = call.text("name"), call.text("data_policy_id"), call.text("user_id")
    policy_id = machine.beans.find("DataPolicy", policy)["Id"] if policy else None
    user_id = machine.beans.find("User", user)["Id"] if user else None
    test = matcher(name) if name else None
    with machine.store.lock:
        found = [
            bucket
            for bucket in machine.access.listable(call.user)
            if (test is None or test(bucket.name))
            and policy_id in (None, bucket.data_policy_id)
            and user_id in (None, bucket.user_id)
            and wanted(bucket)
        ]
        chosen, paging = page(call, found, lambda bucket: bucket.id)
        return data_list([bean("Bucket", bucket_fields(machine, bucket, full=False)) for bucket in chosen], paging)


@rest("GetBucket")
def get_bucket(call: Call) -> Reply:
    """Show a bucket."""
    machine = call.machine
    with machine.store.lock:
        return data(bucket_fields(machine, machine.buckets.find(call.identifier)))


@rest("CreateBucket")
def post_bucket(call: Call) -> Reply:
    """Create a bucket; only administrators make one for somebody else."""
    machine = call.machine
    user = machine.beans.find("User", call.text("user_id") or str(call.user["Id"]))
    if user["Id"] != call.user["Id"] and not machine.access.standing(call.user).administrator:
        raise denied(f"The user '{call.user['Name']}' may not make a bucket for the user '{user['Name']}'.")
    bucket = create_bucket(
        call,
        call.needed("name"),
        policy=call.text("data_policy_id"),
        user_id=str(user["Id"]),
        identifier=(call.text("id") or "").lower() or None,
        protected=bool(call.flag("protected")),
    )
    with machine.store.lock:
        reply = data(bucket_fields(machine, bucket, full=False))
    reply.status = 201
    return reply


@rest("ModifyBucket")
def modify_bucket(call: Call) -> Reply:
    """Change a bucket's policy, owner or protection."""
    machine = call.machine
    policy, user = call.text("data_policy_id"), call.text("user_id")
    with machine.store.lock:
        bucket = machine.buckets.find(call.identifier)
        policy_id = user_id = None
        if policy:
            found = machine.beans.find("DataPolicy", policy)
            policy_id = str(found["Id"])
            if policy_id != bucket.data_policy_id:
                machine.access.check_policy(call.user, found)
                check_move(machine, bucket, found)
        if user:
            owner = machine.beans.find("User", user)
            user_id = str(owner["Id"])
            if user_id != bucket.user_id:
                refuse_too_many(call, owner)
        changed = machine.buckets.modify(bucket, policy=policy_id, user=user_id, protected=call.flag("protected"))
        if changed.data_policy_id != bucket.data_policy_id:
            machine.rebuild.need()
        return data(bucket_fields(machine, changed))


@rest("DeleteBucket")
def delete_bucket(call: Call) -> Reply:
    """Delete a bucket; with `force` also what it holds."""
    remove_bucket(call, call.machine.buckets.find(call.identifier), force=call.has("force"))
    return Reply(204)


# Objects.


def _selection(call: Call) -> tuple[str, list[object]]:
    """Return the SQL condition, and its values, of the filters that object lists share."""
    machine = call.machine
    conditions, values = ["1"], list[object]()

    def where(condition: str, value: object) -> None:
        conditions.append(condition)
        values.append(value)

    if call.has("bucket_id"):
        where("bucket = ?", machine.buckets.find(call.needed("bucket_id")).n)
    if call.flag("latest") is not None:
        where("latest = ?", call.flag("latest"))
    name = call.text("name")
    if name:
        wild = "%" in name or "*" in name
        where("name GLOB ?" if wild else "name = ?", glob(name) if wild else name)
    kind = call.choice("type", ("DATA", "FOLDER"))
    if kind is not None:
        conditions.append("name LIKE '%/'" if kind == "FOLDER" else "name NOT LIKE '%/'")
    if call.text("start_date"):
        where("created >= ?", moment(call.needed("start_date")))
    if call.text("end_date"):
        where("created <= ?", moment(call.needed("end_date")))
    return " AND ".join(conditions), values


def _select_page(call: Call) -> tuple[list[StoredObject], tuple[tuple[str, str], ...]]:
    machine = call.machine
    condition, values = _selection(call)
    total = machine.objects.count(condition, tuple(values))

    def position_of(marker: str) -> int | None:
        number = machine.objects.ids.number(marker)
        numbers = machine.store.db.execute(f"SELECT n FROM objects WHERE {condition} {_ORDER}", values)  # noqa: S608 - built from constants
        return next((place for place, (each,) in enumerate(numbers) if each == number), None)

    start, end = window(call, total, position_of)
    found = list(machine.objects.select(f"{condition} {_ORDER} LIMIT {end - start:d} OFFSET {start:d}", tuple(values)))
    return found, headers(total, end)


@rest("GetObjects")
def get_objects(call: Call) -> Reply:
    """List objects, all versions of them."""
    machine = call.machine
    with machine.store.lock:
        found, paging = _select_page(call)
        items = [bean("S3Object", object_fields(machine, each, _bucket_of(call, each).id)) for each in found]
    return data_list(items, paging)


def _bucket_of(call: Call, found: StoredObject) -> Bucket:
    return call.machine.buckets.numbered(found.bucket)


@rest("GetObjectsWithFullDetails")
def get_objects_with_details(call: Call) -> Reply:
    """List objects with size, ETag, counts of blobs, and on request every blob with its tapes."""
    machine = call.machine
    with machine.store.lock:
        found, paging = _select_page(call)
        items = [_detailed(call, each) for each in found]
    return data_list(items, paging)


def _detailed(call: Call, each: StoredObject) -> Xml:
    machine = call.machine
    bucket = _bucket_of(call, each)
    owner = machine.beans.get("User", bucket.user_id)
    blobs = machine.store.db.execute(
        "SELECT n, offset, length, cached, persisted, checksum IS NOT NULL FROM blobs WHERE object = ? ORDER BY offset",
        (each.n,),
    ).fetchall()
    values: dict[str, Value] = {
        **object_fields(machine, each, bucket.id),
        "BlobsBeingPersisted": sum(1 for blob in blobs if blob[5] and not blob[4]),
        "BlobsDegraded": machine.degraded.of_object(bucket, each.n),
        "BlobsInCache": sum(1 for blob in blobs if blob[3]),
        "BlobsTotal": len(blobs),
        "ETag": each.etag or "",
        "Owner": "" if owner is None else str(owner["Name"]),
        "Size": each.size,
    }
    if call.has("include_physical_placement"):
        inner = [
            Xml(
                f"<Object{blob_attributes(machine, bucket.name, each, blob, offset, length, in_cache=bool(cached))}>"
                f"{element('PhysicalPlacement', placement(tapes_of(machine, blob)))}</Object>"
            )
            for blob, offset, length, cached, *_ in blobs
        ]
        values["Blobs"] = element("Blobs", inner)
    return bean("Object", values)


@rest("GetObject")
def get_object(call: Call) -> Reply:
    """Show one object, by id or name."""
    machine = call.machine
    with machine.store.lock:
        bucket = machine.buckets.find(call.needed("bucket_id"))
        number = machine.objects.ids.number(call.identifier)
        if number is not None:
            found = list(machine.objects.select("n = ? AND bucket = ?", (number, bucket.n)))
        else:
            found = list(
                machine.objects.select(
                    "bucket = ? AND name = ? ORDER BY latest DESC, n DESC", (bucket.n, call.identifier)
                )
            )
        if not found:
            raise not_found("S3Object", call.identifier)
        return data(object_fields(machine, found[0], bucket.id))


@rest("UndeleteObject")
def undelete_object(call: Call) -> Reply:
    """Make a version of an object the latest again."""
    machine = call.machine
    with machine.store.lock:
        bucket = machine.buckets.find(call.needed("bucket_id"))
        found = machine.objects.undelete(bucket, call.needed("name"), call.text("version_id") or None)
        return data(object_fields(machine, found, bucket.id))


@rest("DeleteFolderRecursively")
def delete_folder(call: Call) -> Reply:
    """Delete all objects below a folder, and the folder itself."""
    machine = call.machine
    if not call.text("bucket_id"):
        # A fault of the real one that the SDKs' suites hold it to. Source: protocol, 10.6.
        raise Refusal(500, names.INTERNAL_ERROR, "InternalError[500]: The parameter bucket_id is empty.")
    with machine.store.lock:
        bucket = machine.buckets.find(call.needed("bucket_id"))
        rules = machine.buckets.rules(bucket)
        prefix = call.identifier.rstrip("/") + "/"
        deleted = 0
        # Page by page, so that memory does not grow with the folder; what is deleted is on no later page.
        while found := machine.objects.page(
            bucket.n, prefix=prefix, delimiter="", marker="", limit=names.MAX_KEYS_PER_REQUEST, versions=False
        )[0]:
            with machine.store.writing() as db:
                for each in found:
                    machine.objects.delete(db, bucket, each.name, None, rules)
            deleted += len(found)
        if not deleted:
            raise Refusal(404, names.NOT_FOUND, f"NotFound[404]: Nothing is below the folder '{prefix}'.")
    return Reply(204)
