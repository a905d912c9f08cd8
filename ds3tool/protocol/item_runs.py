"""Runs of like items in a document: each the same elements in the same order, in the plainest form that XML has.

As with blobs (`job_documents`), expat's word counts: a run is taken in one go only where expat has read the item before
it, and the run follows without a gap. Items without attributes, comments or escapes, whose tags are those of an item
that expat has accepted, are whole by themselves; so the document is well-formed with them just if it is without them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ds3tool.protocol.xmlcodec import MAX_TOKEN_BYTES, ItemReader

# Tags without attributes, each with text behind it that hides nothing.
_PLAIN = re.compile(rb"(?:</?[A-Za-z]+/?>[^<>&]*)+")
_NOT_PLAIN = bytes(range(32)) + b"&"
_NO_CHARACTERS = ("\ufffe", "\uffff")
_MOST_MISSES = 4

# Texts by the names of the elements that hold them, below the item: `Key`, `Owner/ID`; one for each item.
Columns = Mapping[str, list[str]]


class ItemRuns:
    """Feeds a document to an `ItemReader`, but for runs of items called `name`, which `take` is given as columns.

    `take` gets also the number of items, and returns False for what it would refuse: expat reads that then.
    """

    def __init__(self, reader: ItemReader, name: str, take: Callable[[Columns, int], bool]) -> None:
        self._reader = reader
        self._document = reader.document
        self._take = take
        self._start = f"<{name}>".encode()
        self._end = f"</{name}>".encode()
        self._misses = 0

    def feed(self, data: bytes) -> bytes:
        """Read a piece of the document but for the start of an item at its end, which is returned."""
        document, at = self._document, 0
        while self._misses < _MOST_MISSES and (begin := data.find(self._start, at)) >= 0:
            stop = data.find(self._end, begin)
            if stop < 0:
                if len(data) - begin > MAX_TOKEN_BYTES:
                    self._misses = _MOST_MISSES
                    break
                document.feed(data[at:begin])
                return data[begin:]
            end = stop + len(self._end)
            first = data[begin:end]
            expected, ended = document.fed + begin - at, self._reader.items
            document.feed(data[at:end])
            at = end
            if (self._reader.item_at, self._reader.items) != (expected, ended + 1) or not self._reader.is_utf8:
                self._misses += 1  # it stands in a comment, or the like
                continue
            run = _run(data, at, self._start, self._end)
            if not run:
                continue
            if _PLAIN.fullmatch(first) and self._take_run(run, first):
                self._misses = 0
                document.pass_over(len(run))
                at += len(run)
            else:
                self._misses += 1
                break
        document.feed(data[at:])
        return b""

    def _take_run(self, run: bytes, first: bytes) -> bool:
        if len(run.translate(None, _NOT_PLAIN)) != len(run) or run.count(b"<") != run.count(b">"):
            return False
        try:
            text, template = run.decode(), first.decode().split("<")[1:]
        except UnicodeDecodeError:
            return False
        if not text.isascii() and any(no_character in text for no_character in _NO_CHARACTERS):
            return False
        parts = text.split("<")[1:]
        width = len(template)
        count, odd = divmod(len(parts), width)
        if odd:
            return False
        columns: dict[str, list[str]] = {}
        names: set[str] = set()
        path: list[str] = []
        for place, part in enumerate(template):
            column = parts[place::width]
            tag, _, behind = part.partition(">")
            name = "/".join((*path[1:], tag.removesuffix("/")))
            if not tag.startswith("/"):
                if name in names:
                    return False  # the first of a name counts, with all that it has and has not
                names.add(name)
            is_leaf = place + 1 < width and template[place + 1].partition(">")[0] == f"/{tag}"
            if is_leaf:
                values = [behind] * count if column.count(part) == count else _values(column, f"{tag}>")
                if values is None:
                    return False
                columns[name] = values
            elif behind or column.count(part) != count:
                return False
            elif tag.endswith("/"):
                columns[name] = [""] * count
            if tag.startswith("/"):
                path.pop()
            elif not tag.endswith("/"):
                path.append(tag)
        return self._take(columns, count)


def _run(data: bytes, at: int, start: bytes, end: bytes) -> bytes:
    """Return what may be a run: from `at` to the last end of an item, if an item begins just there.

    What stands between items is found out later.
    """
    if not data.startswith(start, at):
        return b""
    last = data.rfind(end, at)
    return data[at : last + len(end)] if last >= 0 else b""


def _values(column: list[str], tag: str) -> list[str] | None:
    """Return what stands behind a tag in each; None where one has another tag."""
    joined = "\0".join(column)  # no text of a document holds that
    if not joined.startswith(tag) or joined.count(f"\0{tag}") != len(column) - 1:
        return None
    return joined[len(tag) :].split(f"\0{tag}")
