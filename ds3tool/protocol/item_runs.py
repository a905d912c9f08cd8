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
        if len(run.translate(None, _NOT_PLAIN)) != len(run):
            return False
        try:
            text, form = run.decode(), _Form.of(first.decode())
        except UnicodeDecodeError:
            return False
        if form is None or (not text.isascii() and any(no_character in text for no_character in _NO_CHARACTERS)):
            return False
        # What stands between two closing tags: other tags, always the same, and perhaps a text.
        pieces = (form.ending + text).split("</")
        width = len(form.pieces)
        count, odd = divmod(len(pieces) - 1, width)
        tags = form.tags * count
        if odd or pieces.pop() != form.ending or run.count(b"<") != tags or run.count(b">") != tags:
            return False
        columns = {name: [""] * count for name in form.empty}
        for place, (before, name, value) in enumerate(form.pieces):
            column = pieces[place::width]
            if column.count(before + value) == count:
                values: list[str] | None = [value] * count
            else:
                values = None if name is None else _values(column, before)
            if values is None:
                return False
            if name is not None:
                columns[name] = values
        return self._take(columns, count)


class _Form:
    """How an item is written: what stands before each closing tag, and in which of these places a text does.

    `pieces` are what stands there behind the closing tag before, the name of the element whose text follows (None where
    there is none) and that text; the first begins with the `ending` of the item before. `empty` are the names of
    elements that are one tag, and `tags` is how many there are in all.
    """

    __slots__ = ("empty", "ending", "pieces", "tags")

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str | None, str]] = []
        self.empty: list[str] = []
        self.ending = ""
        self.tags = 0

    @classmethod
    def of(cls, item: str) -> _Form | None:
        """Return the form of a plain item that is whole; None where its texts cannot be told by their place."""
        form = cls()
        tags = item.split("<")[1:]
        form.tags = len(tags)
        names: set[str] = set()
        path: list[str] = []
        before, value = "", ""
        name: str | None = None
        for tag, _, behind in (tag.partition(">") for tag in tags):
            if tag.startswith("/"):
                if value and name is None:
                    return None  # a text beside elements
                form.pieces.append((before, name, value))
                before, name, value = f"{path.pop()}>", None, behind
            elif value:
                return None
            else:
                called = "/".join((*path[1:], tag.removesuffix("/")))
                if called in names:
                    return None  # the first of a name counts, with all that it has and has not
                names.add(called)
                before += f"<{tag}>"
                if tag.endswith("/"):
                    form.empty.append(called)
                    name, value = None, behind
                else:
                    path.append(tag)
                    name, value = called, behind
        form.ending = before
        form.pieces[0] = (before + form.pieces[0][0], *form.pieces[0][1:])
        return form


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
