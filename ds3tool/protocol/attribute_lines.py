"""Attributes of many files as header lines: what is the same for most of them is formatted once."""

from __future__ import annotations

from collections.abc import Mapping

from ds3tool.protocol import metadata, names
from ds3tool.protocol.attributes import NS_IN_MS, FileAttributes, xattrs_text
from ds3tool.protocol.metadata import HeaderLines

# What differs from file to file, by its place in the arguments of `AttributeLines.of`. A value is percent-encoded where
# it needs to be, so that it holds no brace; these are digits, and base64 with what headers leave as it is.
_FIELDS = {
    "ds3-last-modified-time": "{0}",
    "ds3tool-mtime-ns": "{1}",
    "ds3-last-access-time": "{2}",
    "ds3tool-atime-ns": "{3}",
    "ds3-creation-time": "{4}",
    "ds3tool-xattrs": "{5}",
}


class AttributeLines:
    """The header lines of files that are alike but for their times and their extended attributes.

    `like` is one of them; it has all three times, and extended attributes if any of them has.
    """

    __slots__ = ("_head", "_signed")

    def __init__(self, like: FileAttributes) -> None:
        headers = metadata.to_headers(like.to_metadata())
        template = metadata.lines_of(
            (name, _FIELDS.get(name.removeprefix(names.METADATA), value)) for name, value in headers
        )
        self._head, self._signed = template.head.format, template.signed.format

    def of(
        self, modified_ns: int, accessed_ns: int, created_ns: int, xattrs: Mapping[str, bytes] | None = None
    ) -> HeaderLines:
        """Return the lines of `to_metadata` for a file of these times, nanoseconds since 1970."""
        given = (
            modified_ns // NS_IN_MS,
            modified_ns,
            accessed_ns // NS_IN_MS,
            accessed_ns,
            created_ns // NS_IN_MS,
            xattrs_text(xattrs) if xattrs else "",
        )
        return HeaderLines(self._head(*given), self._signed(*given))
