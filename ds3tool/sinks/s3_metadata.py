"""What is stored with an object on the appliance, as S3 takes it beside the object's bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

from ds3tool.protocol.object_attributes import ObjectAttributes

# Limits of S3. Source: its user guide, "Working with object metadata" and "Categorizing your storage using tags".
_USER_BYTES = 2 * 1024
_MOST_TAGS = 10
_TAG_NAME_CHARACTERS = 128
_TAG_VALUE_CHARACTERS = 256
# What boto3 calls the headers that an object keeps.
_HEADERS = {
    "content_type": "ContentType",
    "content_encoding": "ContentEncoding",
    "content_language": "ContentLanguage",
    "content_disposition": "ContentDisposition",
    "cache_control": "CacheControl",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# One blank, or none, at either end would not come back.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?|")
# The class of what nobody gave one; S3 does not name it either.
_STANDARD = "STANDARD"
# What S3 says of what nobody gave a type. Other servers guess one from name or bytes, and nobody has said that.
_NO_TYPE = "binary/octet-stream"


def arguments(attributes: ObjectAttributes, storage_class: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what `put_object` and `create_multipart_upload` are given beside the bytes, and what S3 cannot keep.

    That is told by name: user metadata beyond 2 KiB in all (the largest go first) or not of plain ASCII, tags beyond
    ten. `storage_class` stands in for the object's own.
    """
    left_out: list[str] = []
    found: dict[str, Any] = {}
    for field, name in _HEADERS.items():
        value = getattr(attributes, field)
        if value is None:
            continue
        if value and _HEADER_VALUE.fullmatch(value):
            found[name] = value
        else:
            left_out.append(field.replace("_", "-"))
    found.setdefault("ContentType", _NO_TYPE)
    if attributes.expires is not None:
        try:
            found["Expires"] = parsedate_to_datetime(attributes.expires)
        except (TypeError, ValueError):
            left_out.append("expires")
    chosen = storage_class or attributes.storage_class
    if chosen is not None and chosen != _STANDARD:
        found["StorageClass"] = chosen
    user = _user_metadata(attributes.user, left_out)
    if user:
        found["Metadata"] = user
    tags = _tags(attributes.tags, left_out)
    if tags:
        found["Tagging"] = urlencode(tags, quote_via=quote)
    return found, tuple(left_out)


def _user_metadata(user: Mapping[str, str], left_out: list[str]) -> dict[str, str]:
    room = _USER_BYTES
    kept = set()
    for name, value in sorted(user.items(), key=lambda one: len(one[0]) + len(one[1])):
        size = len(name) + len(value)
        if size <= room and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value):
            room -= size
            kept.add(name)
        else:
            left_out.append(name)
    return {name: value for name, value in user.items() if name in kept}


def _tags(tags: tuple[tuple[str, str], ...], left_out: list[str]) -> list[tuple[str, str]]:
    kept: dict[str, str] = {}
    for name, value in tags:
        fits = 0 < len(name) <= _TAG_NAME_CHARACTERS and len(value) <= _TAG_VALUE_CHARACTERS
        if fits and name not in kept and len(kept) < _MOST_TAGS:
            kept[name] = value
        else:
            left_out.append(f"tag {name}")
    return list(kept.items())
