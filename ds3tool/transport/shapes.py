"""Heads of replies that differ in nothing but values: read at a glance, and only where the strict reader would agree.

One server's answers to one kind of request are alike but for an ETag, a digest, a number. The first is read by
`parse_head`; of what it accepts a pattern is made, and whatever matches that is what `parse_head` would make of it:
the same status, the same names in the same order, the same length but for its digits. Whatever does not match,
malformed heads among it, goes to `parse_head`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from ds3tool.transport.replies import ReplyHead, parse_header_line

# A server has a few shapes of good answers; one that had a new one each time would have each made for nothing.
_MOST_SHAPES = 4
_SHAPED_STATUS = 200
_LENGTH = rb":[ \t]*([0-9]{1,19})[ \t]*\r\n"
_VALUE = rb":([\t\x20-\x7e\x80-\xff]*)\r\n"
# What these say decides how a reply ends: they must stand there byte for byte as in the reply that was learned from.
_FRAMING = {"connection", "transfer-encoding"}


class AnswerHead(Protocol):
    """What is known of a reply before its body: `ReplyHead` is one."""

    @property
    def status(self) -> int:
        """Its status code."""
        ...

    @property
    def reason(self) -> str:
        """The words beside it."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, looked up without regard to case."""
        ...

    @property
    def names(self) -> Collection[str]:
        """The names of its headers in lower case: the very same object for heads that are alike but for values."""
        ...


class _ShapedHeaders(Mapping[str, str]):
    """Headers of the head that matched a shape last, each decoded when it is asked for."""

    __slots__ = ("_groups", "match")

    def __init__(self, groups: dict[str, int]) -> None:
        self._groups = groups
        self.match: re.Match[bytes] | None = None

    def __getitem__(self, name: str) -> str:
        assert self.match is not None
        return self.match[self._groups[name.lower()]].strip(b" \t").decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # as Mapping has it
        """Return a header's value, `default` when there is none; quickest for a name in lower case."""
        group = self._groups.get(name) or self._groups.get(name.lower())
        if group is None:
            return default
        assert self.match is not None
        return self.match[group].strip(b" \t").decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


class ShapedHead:
    """A pattern of the heads of successful replies, and the last head that matched it.

    One object serves all heads of its shape: it is to be asked only until the next one is read, and while the bytes
    that it was read from stand. `end` is where the body begins in those bytes, and `length` how long that is.
    `values.match` is what tells one head's values from another's: set back, it has those of that head again.
    """

    __slots__ = ("end", "headers", "keep_alive", "length", "length_group", "names", "pattern", "reason", "values")
    status = _SHAPED_STATUS

    def __init__(self, pattern: bytes, groups: dict[str, int], head: ReplyHead) -> None:
        self.pattern = re.compile(pattern).match
        # In which of its groups the length stands.
        self.length_group = groups["content-length"]
        self.values = _ShapedHeaders(groups)
        self.headers: Mapping[str, str] = self.values
        # One object for all heads of this shape.
        self.names: Collection[str] = groups.keys()
        self.keep_alive = head.keep_alive
        self.reason = head.reason
        self.end = self.length = 0


class Shapes:
    """The shapes of one server's replies to one method. For one thread."""

    def __init__(self, method: str) -> None:
        self._learns = method != "HEAD"  # its length is not that of its body
        self._shapes: list[ShapedHead] = []

    def read(self, buffer: bytearray, filled: int) -> ShapedHead | None:
        """Return the head that the first `filled` bytes begin with; None when `parse_head` must look at them."""
        for shape in self._shapes:
            match = shape.pattern(buffer, 0, filled)
            if match is not None:
                if shape is not self._shapes[0]:
                    self._shapes.remove(shape)
                    self._shapes.insert(0, shape)
                shape.values.match = match
                shape.end = match.end()
                shape.length = int(match[shape.length_group])
                return shape
        return None

    def learn(self, raw: bytes, head: ReplyHead) -> None:
        """Take a head that `parse_head` has made of `raw`, where others may look like it."""
        if not self._learns or len(self._shapes) >= _MOST_SHAPES:
            return
        if head.status != _SHAPED_STATUS or head.length is None or "content-length" not in head.headers:
            return
        status_line, *lines = raw.split(b"\r\n")
        pattern, groups = re.escape(status_line) + rb"\r\n", {}
        for number, line in enumerate(lines, 1):
            name, _, _ = line.partition(b":")
            lower = parse_header_line(line)[0].lower()
            if lower in groups:
                return  # values of several lines would have to be joined
            groups[lower] = number
            if lower in _FRAMING:
                pattern += rb"%s:(%s)\r\n" % (re.escape(name), re.escape(line[len(name) + 1 :]))
            else:
                pattern += re.escape(name) + (_LENGTH if lower == "content-length" else _VALUE)
        self._shapes.append(ShapedHead(pattern + rb"\r\n", groups, head))
