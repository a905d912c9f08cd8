"""What the names of a reply's headers tell: to be looked at once for all replies that are alike."""

from __future__ import annotations

from collections.abc import Collection

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import metadata, names
from ds3tool.protocol.checksums import HEADER_NAMES
from ds3tool.protocol.model import ChecksumType


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """Which digests a reply states, by the names of their headers, and whether it carries metadata or a version."""

    digests: tuple[tuple[ChecksumType, str], ...]
    has_metadata: bool
    has_version: bool

    @classmethod
    def of(cls, header_names: Collection[str]) -> AnswerKind:
        """Look at names in lower case."""
        return cls(
            tuple((kind, name) for kind, name in HEADER_NAMES.items() if name.lower() in header_names),
            metadata.is_in(dict.fromkeys(header_names, "")),
            names.VERSION_ID.lower() in header_names,
        )
