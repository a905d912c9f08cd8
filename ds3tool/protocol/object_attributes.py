"""What an object store says of an object beside its bytes, as metadata of the appliance's object, and back.

Headers of S3 have metadata names of ours (`ds3tool-content-type`, `ds3tool-tags`, ...); what users have stored with
their object keeps its own name. Names are in lower case, since the appliance does not tell the cases apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from urllib.parse import unquote

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import metadata as wire

# What the object was called by, when it was read from S3: its ETag there (without quotes), and when it was modified
# (ISO 8601, UTC). They say of the copy on the appliance where it came from, and go back to nothing.
ETAG = "ds3tool-etag"
LAST_MODIFIED = "ds3tool-last-modified"

_TAGS = "ds3tool-tags"
# Leads the name of what a user has stored under a name that means something else here.
_USERS = "ds3tool-user-"
# Field of ObjectAttributes, name of metadata.
_NAMES = {
    "content_type": "ds3tool-content-type",
    "content_encoding": "ds3tool-content-encoding",
    "content_language": "ds3tool-content-language",
    "content_disposition": "ds3tool-content-disposition",
    "cache_control": "ds3tool-cache-control",
    "expires": "ds3tool-expires",
    "storage_class": "ds3tool-storage-class",
}
_OURS = frozenset({*_NAMES.values(), _TAGS, ETAG, LAST_MODIFIED})

# The appliance's limit for the headers of a request is not documented. Web servers commonly take 8 KiB in all, of
# which the path, the signature and the other metadata need their share.
MAX_HEADER_CHARACTERS = 5 * 1024


@dataclass(frozen=True, slots=True)
class ObjectAttributes:
    """What S3 keeps with an object; None, or nothing, is what nobody said.

    Texts are those of the headers (`expires` too: an HTTP date). `storage_class` is S3's word, `GLACIER_IR`. `tags`
    are pairs in S3's order. `user` is what S3 calls user metadata: name, in lower case and without `x-amz-meta-`, to
    value; a file's attributes (`ds3-mode`, ...) are among them.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = None
    cache_control: str | None = None
    expires: str | None = None
    storage_class: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    user: Mapping[str, str] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of the appliance's object that say the same."""
        found = {name: value for one, name in _NAMES.items() if (value := getattr(self, one)) is not None}
        if self.tags:
            found[_TAGS] = "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in self.tags)
        for name, value in self.user.items():
            lower = name.lower()
            taken = lower in _OURS or lower.startswith(_USERS)
            found[_USERS + lower if taken else lower] = value
        return found

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ObjectAttributes:
        """Return what the metadata of an object of the appliance say; never raises: they may be anybody's."""
        lower = {name.lower(): value for name, value in metadata.items()}
        pairs = (pair.partition("=") for pair in lower.get(_TAGS, "").split("&") if pair)
        return cls(
            **{one: lower.get(name) for one, name in _NAMES.items()},
            tags=tuple((unquote(name), unquote(value)) for name, _, value in pairs if name),
            user={name.removeprefix(_USERS): value for name, value in lower.items() if name not in _OURS},
        )

    def fitting(self, room: int = MAX_HEADER_CHARACTERS) -> tuple[ObjectAttributes, tuple[str, ...]]:
        """Return what of it fits into so many characters of a request's headers, and what was left out, by name.

        What no header can carry does not fit either. Tags go last, and of user metadata the largest.
        """
        kept, left_out = replace(self, tags=(), user={}), []
        room -= _characters(kept.to_metadata()) or 0
        user: dict[str, str] = {}
        for name, value in sorted(self.user.items(), key=lambda one: len(one[1])):
            size = _characters(ObjectAttributes(user={name: value}).to_metadata())
            if size is None or size > room:
                left_out.append(name)
            else:
                room -= size
                user[name] = value
        tags: list[tuple[str, str]] = []
        for tag in self.tags:
            size = _characters(ObjectAttributes(tags=(tag,)).to_metadata())
            if size is None or size > room:
                left_out.append(f"tag {tag[0]}")
            else:
                room -= size
                tags.append(tag)
        kept = replace(kept, tags=tuple(tags), user={name: user[name] for name in self.user if name in user})
        return kept, tuple(left_out)


def _escaped(text: str) -> str:
    """Escape what separates tags and nothing else: a header's own escaping comes on top."""
    return text.replace("%", "%25").replace("&", "%26").replace("=", "%3D")


def _characters(metadata: Mapping[str, str]) -> int | None:
    """Return what metadata take of a request's head; None where no header can carry them."""
    try:
        return sum(len(name) + len(value) + 4 for name, value in wire.to_headers(metadata))
    except UsageError:
        return None
