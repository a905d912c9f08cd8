"""`ds3tool s3 presign` and `acl`: who else may read or write an object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from ds3tool.addresses import parse_s3
from ds3tool.aws.failures import far_side
from ds3tool.aws.s3_objects import address_of
from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.part import check_version
from ds3tool.cli.prompts import confirm
from ds3tool.cli.s3_selection import check_key, parse_s3_object
from ds3tool.cli.settings import Settings
from ds3tool.errors import FarSideError, UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, parse_duration

PRESIGN_EXAMPLES = (
    "ds3tool s3 presign s3://incoming/2024/reel-1.mxf",
    "ds3tool s3 presign s3://incoming/2024/reel-1.mxf --expires 2d",
    "ds3tool s3 presign s3://incoming/upload.bin --method PUT --expires 30m",
)
ACL_EXAMPLES = (
    "ds3tool s3 acl s3://incoming/2024/reel-1.mxf",
    "ds3tool s3 acl s3://incoming --set private",
    "ds3tool s3 acl s3://incoming/2024/reel-1.mxf --set bucket-owner-full-control",
)

# The longest that a signature of version 4 is good for. Source: AWS, SigV4 query parameters.
_LONGEST_SECONDS = 7 * 86_400
_TEMPORARY = re.compile(r"[?&]x-amz-security-token=", re.IGNORECASE)


class Method(StrEnum):
    """What a link is good for."""

    GET = "GET"
    PUT = "PUT"


@dataclass(frozen=True, slots=True)
class Link:
    """A URL with which whoever has it may do one thing, for a time."""

    key: str
    method: Method
    expires: datetime
    url: str


LINK_FIELDS: list[Field[Link]] = [
    Field("key", lambda link: link.key),
    Field("method", lambda link: link.method),
    Field("expires", lambda link: link.expires),
    Field("url", lambda link: link.url),
]


def presign(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY", help="The object; of a PUT, its key.")],
    *,
    expires: Annotated[
        str, typer.Option("--expires", metavar="DURATION", help="How long it is good for: 30m, 12h, at most 7d.")
    ] = "1h",
    method: Annotated[Method, typer.Option("--method", help="To fetch the object, or to write it.")] = Method.GET,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version, not the latest.")
    ] = None,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Print a URL with which whoever has it may fetch one object, or write it, without any key of AWS.

    Nothing is sent: whether the object is there, and whether you may read it, shows when the URL is used. A list of
    such URLs can be put: ds3tool put https:// ds3://BUCKET/ --files-from urls.txt
    """
    target = parse_s3_object(address)
    check_version(version_id)
    seconds = parse_duration(expires)
    if not 1 <= seconds <= _LONGEST_SECONDS:
        raise UsageError(f"--expires {expires}: a URL is good for a second to 7 days", hint="write it like 30m or 7d")
    if method is Method.PUT and version_id is not None:
        raise UsageError("--version-id means nothing for a URL to write with: that makes a version of its own")
    # Without a word, boto3 signs links by version 2, which newer regions, encryption and other servers refuse.
    client = aws.settings(settings).client("s3", signature_version="s3v4")
    wanted = {"Bucket": target.bucket, "Key": target.key, **({} if version_id is None else {"VersionId": version_id})}
    with far_side(str(target)):
        url: str = client.generate_presigned_url(
            "get_object" if method is Method.GET else "put_object", Params=wanted, ExpiresIn=int(seconds)
        )
    if _TEMPORARY.search(url):
        messages.warn("your credentials are temporary ones: the URL dies with them, perhaps before its time")
    link = Link(target.key, method, datetime.now(UTC) + timedelta(seconds=int(seconds)), url)
    if settings.output is OutputFormat.TABLE:
        settings.results().line(url)
        messages.note(f"good for {format_duration(int(seconds))}, for whoever has it", quiet=settings.quiet)
    else:
        settings.results().record(link, LINK_FIELDS)


class Canned(StrEnum):
    """Access control lists that S3 has ready."""

    PRIVATE = "private"
    PUBLIC_READ = "public-read"
    PUBLIC_READ_WRITE = "public-read-write"
    AUTHENTICATED_READ = "authenticated-read"
    BUCKET_OWNER_READ = "bucket-owner-read"
    BUCKET_OWNER_FULL_CONTROL = "bucket-owner-full-control"


_OPEN = {
    Canned.PUBLIC_READ: "everybody may read it",
    Canned.PUBLIC_READ_WRITE: "everybody may read and write it",
    Canned.AUTHENTICATED_READ: "everybody who has any account may read it",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may do; `grantee` is an account's name or id, or the URI of a group."""

    grantee: str
    kind: str
    permission: str


GRANT_FIELDS: list[Field[Grant]] = [
    Field("permission", lambda grant: grant.permission),
    Field("type", lambda grant: grant.kind),
    Field("grantee", lambda grant: grant.grantee),
]
_SET_FIELDS: list[Field[tuple[str, Canned]]] = [
    Field("address", lambda done: done[0]),
    Field("acl", lambda done: done[1]),
]


def acl(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY", help="An object, or a bucket.")],
    *,
    canned: Annotated[
        Canned | None, typer.Option("--set", help="Give it one of S3's own lists; a public one asks first.")
    ] = None,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version, not the latest.")
    ] = None,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Show who may do what with an object or a bucket by its access control list, or set that.

    Many buckets have these lists switched off, and policies instead.
    """
    target = parse_s3(address)
    check_key(target)
    check_version(version_id)
    if version_id is not None and not target.key:
        raise UsageError("--version-id is about an object, and this is a bucket")
    client = aws.settings(settings).client("s3")
    what = {"Bucket": target.bucket}
    if target.key:
        what |= {"Key": target.key, **({} if version_id is None else {"VersionId": version_id})}
    place = address_of(target.bucket, target.key)
    if canned is not None:
        if canned in _OPEN:
            confirm(f"{place}: {_OPEN[canned]} then. Go on?", settings)
        _asked(client.put_object_acl if target.key else client.put_bucket_acl, place, ACL=canned.value, **what)
        messages.note(f"{place} is {canned} now", quiet=settings.quiet)
        if settings.output is not OutputFormat.TABLE:
            settings.results().record((place, canned), _SET_FIELDS)
        return
    found = _asked(client.get_object_acl if target.key else client.get_bucket_acl, place, **what)
    settings.results().records(map(_grant, found.get("Grants", ())), GRANT_FIELDS)


def _asked(call: Any, place: str, **values: str) -> Mapping[str, Any]:  # noqa: ANN401  # a method of boto3's
    try:
        with far_side(place):
            found: Mapping[str, Any] = call(**values)
            return found
    except FarSideError as error:
        if error.code == "AccessControlListNotSupported":
            error.hint = "its owner has switched these lists off; say who may read it in the bucket's policy"
        raise


def _grant(found: Mapping[str, Any]) -> Grant:
    who = found.get("Grantee", {})
    name = who.get("DisplayName") or who.get("ID") or who.get("URI") or who.get("EmailAddress") or ""
    return Grant(name, who.get("Type", ""), found.get("Permission", ""))
