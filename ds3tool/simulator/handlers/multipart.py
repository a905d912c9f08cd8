"""Amazon style: multipart uploads begun, sent, listed, completed, aborted."""

from __future__ import annotations

from urllib.parse import quote

from ds3tool.protocol import names
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.dispatch import Call, s3
from ds3tool.simulator.handlers.service import owner
from ds3tool.simulator.jobs.multipart import MOST_PARTS
from ds3tool.simulator.jobs.plans import metadata_text
from ds3tool.simulator.wire import checksums, xmlin, xmlout
from ds3tool.simulator.wire.messages import Reply, xml_reply
from ds3tool.simulator.wire.refusals import Refusal
from ds3tool.simulator.wire.targets import check_name
from ds3tool.simulator.wire.xmlout import Value, Xml, bean, date, element, fields

# Default and most of one page, of parts and of uploads. Source: Amazon S3.
_PAGE = 1000


def _bucket(call: Call) -> Bucket:
    return call.machine.buckets.named(call.bucket)


def _owner(call: Call, user_id: str) -> Xml:
    return owner(call.machine.beans.get("User", user_id) or call.user)


@s3("InitiateMultiPartUpload")
def initiate(call: Call) -> Reply:
    """Begin an upload in parts."""
    upload = call.machine.multiparts.initiate(
        _bucket(call),
        check_name(call.name),
        user_id=str(call.user["Id"]),
        client=call.request.client,
        metadata=metadata_text(call.request.pairs),
    )
    values = {"Bucket": call.bucket, "Key": call.name, "UploadId": upload.id}
    return xml_reply(xmlout.document(bean("InitiateMultipartUploadResult", values)))


@s3("CreateMultiPartUploadPart")
def put_part(call: Call) -> Reply:
    """Take one part."""
    request = call.request
    if "content-length" not in request.headers:
        message = f"{names.MISSING_CONTENT_LENGTH}[411]: A PUT needs a Content-Length."
        raise Refusal(411, names.MISSING_CONTENT_LENGTH, message)
    part = call.machine.multiparts.put_part(
        _bucket(call),
        call.name,
        call.needed("upload_id"),
        int(call.number("part_number") or 0),
        digest=checksums.from_headers(request.headers),
        body=request.body,
    )
    return Reply(200, ((names.ETAG, f'"{part.etag}"'),))


@s3("CompleteMultiPartUpload")
def complete(call: Call) -> Reply:
    """Make an object of the parts that are named."""
    wanted = xmlin.read_parts(call.request.body.pieces())
    etag = call.machine.assembly.complete(_bucket(call), call.name, call.needed("upload_id"), wanted)
    host = call.request.headers.get("host", "")
    values = {
        "Bucket": call.bucket,
        "ETag": f'"{etag}"',
        "Key": call.name,
        "Location": f"http://{host}/{quote(call.bucket)}/{quote(call.name)}",
    }
    return xml_reply(xmlout.document(bean("CompleteMultipartUploadResult", values)))


@s3("AbortMultiPartUpload")
def abort(call: Call) -> Reply:
    """Give an upload up."""
    call.machine.multiparts.abort(_bucket(call), call.name, call.needed("upload_id"))
    return Reply(204)


@s3("ListMultiPartUploadParts")
def list_parts(call: Call) -> Reply:
    """List the parts that are there, one page; none of an upload that is unknown, as a suite of the vendor's has it."""
    machine = call.machine
    bucket, upload_id = _bucket(call), call.needed("upload_id")
    asked, marker = call.number("max_parts"), call.number("part_number_marker") or 0
    limit = _PAGE if asked is None else min(asked, _PAGE)
    with machine.store.lock:
        try:
            upload = machine.multiparts.find(bucket, call.name, upload_id)
            found = machine.multiparts.parts(upload, min(marker, MOST_PARTS), limit + 1)
            user_id = upload.user_id
        except Refusal:
            found, user_id = [], str(call.user["Id"])
    shown = found[:limit]
    parts = [
        bean("Part", {"ETag": f'"{part.etag}"', "LastModified": date(part.modified), "PartNumber": part.number})
        for part in shown
    ]
    before: dict[str, Value] = {
        "Bucket": call.bucket,
        "IsTruncated": bool(limit) and len(found) > limit,
        "Key": call.name,
        "MaxParts": limit,
        "NextPartNumberMarker": shown[-1].number if shown else 0,
        "Owner": _owner(call, user_id),
    }
    after: dict[str, Value] = {"PartNumberMarker": marker, "UploadId": upload_id.lower()}
    return xml_reply(xmlout.document(element("ListPartsResult", [fields(before), *parts, fields(after)])))


@s3("ListMultiPartUploads")
def list_uploads(call: Call) -> Reply:
    """List the uploads of a bucket that are not complete, one page."""
    prefix, delimiter = call.text("prefix") or "", call.text("delimiter") or ""
    key_marker, id_marker = call.text("key_marker") or "", call.text("upload_id_marker") or ""
    asked = call.number("max_uploads")
    limit = _PAGE if asked is None else min(asked, _PAGE)
    found, prefixes, truncated = call.machine.multiparts.listed(
        _bucket(call), prefix=prefix, delimiter=delimiter, key_marker=key_marker, id_marker=id_marker, limit=limit
    )
    last = max((*prefixes, *(each.name for each in found)), default="") if truncated else ""
    uploads = [
        bean(
            "Upload",
            {
                "Initiated": date(each.started),
                "Key": each.name,
                "Owner": _owner(call, each.user_id),
                "UploadId": each.id,
            },
        )
        for each in found
    ]
    values: dict[str, Value] = {
        "Bucket": call.bucket,
        "Delimiter": delimiter or None,
        "IsTruncated": truncated,
        "KeyMarker": key_marker or None,
        "MaxUploads": limit,
        "NextKeyMarker": last or None,
        "NextUploadIdMarker": found[-1].id if truncated and found and found[-1].name == last else None,
        "Prefix": prefix or None,
    }
    common = [Xml(f"<CommonPrefixes>{element('Prefix', each)}</CommonPrefixes>") for each in prefixes]
    marker = element("UploadIdMarker", id_marker or None)
    return xml_reply(
        xmlout.document(element("ListMultipartUploadsResult", [*common, fields(values), *uploads, marker]))
    )
