"""What the names of a reply's headers tell, looked at once for all replies that are alike."""

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


class AnswerKinds:
    """Remembers the last kind, by the identity of its names. For one thread."""

    def __init__(self) -> None:
        self._names: Collection[str] = ()
        self._kind = AnswerKind.of(())

    def of(self, header_names: Collection[str]) -> AnswerKind:
        """Return what a reply with headers of these names is like; quick for names that are the same object again."""
        if header_names is not self._names:
            self._names, self._kind = header_names, AnswerKind.of(header_names)
        return self._kind
