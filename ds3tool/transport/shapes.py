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


class _Shape:
    """A pattern of heads, and in which of its groups each header's value stands."""

    __slots__ = ("groups", "keep_alive", "length_group", "match", "names", "reason")

    def __init__(self, pattern: bytes, groups: dict[str, int], head: ReplyHead) -> None:
        self.match = re.compile(pattern).match
        self.groups = groups
        self.names = groups.keys()
        self.length_group = groups["content-length"]
        self.keep_alive = head.keep_alive
        self.reason = head.reason


class _ShapedHeaders(Mapping[str, str]):
    """Headers of a head that matched a shape, each decoded when it is asked for."""

    __slots__ = ("_groups", "_match")

    def __init__(self, groups: dict[str, int], match: re.Match[bytes]) -> None:
        self._groups = groups
        self._match = match

    def __getitem__(self, name: str) -> str:
        return self._match[self._groups[name.lower()]].strip(b" \t").decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # as Mapping has it
        """Return a header's value, `default` when there is none: quicker than by way of KeyError."""
        group = self._groups.get(name.lower())
        return default if group is None else self._match[group].strip(b" \t").decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


class ShapedHead:
    """The head of a successful reply that matched a shape; to be asked only while the bytes it was read from stand.

    `end` is where its body begins in those bytes, and `length` how long that is.
    """

    __slots__ = ("_match", "_shape", "end", "headers", "length")
    status = _SHAPED_STATUS

    def __init__(self, shape: _Shape, match: re.Match[bytes]) -> None:
        self._shape = shape
        self._match = match
        self.end = match.end()
        self.length = int(match[shape.length_group])
        self.headers: Mapping[str, str] = _ShapedHeaders(shape.groups, match)

    @property
    def names(self) -> Collection[str]:
        """The names of its headers, one object for all of its shape."""
        return self._shape.names

    @property
    def reason(self) -> str:
        """The words beside the status."""
        return self._shape.reason

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow."""
        return self._shape.keep_alive


class Shapes:
    """The shapes of one server's replies to one method. For one thread."""

    def __init__(self, method: str) -> None:
        self._learns = method != "HEAD"  # its length is not that of its body
        self._shapes: list[_Shape] = []

    def read(self, buffer: bytearray, filled: int) -> ShapedHead | None:
        """Return the head that the first `filled` bytes begin with; None when `parse_head` must look at them."""
        for number, shape in enumerate(self._shapes):
            match = shape.match(buffer, 0, filled)
            if match is not None:
                if number:
                    self._shapes.insert(0, self._shapes.pop(number))
                return ShapedHead(shape, match)
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
        self._shapes.append(_Shape(pattern + rb"\r\n", groups, head))
