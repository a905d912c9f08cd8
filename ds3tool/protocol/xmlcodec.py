"""XML, in and out: a strict, bounded, streaming reader over expat, and a writer in blocks of known length.

Reading refuses DOCTYPE, and with it every entity but the five built-in ones; it bounds depth, attributes, the size
of one tag or text, of one item and of the whole document. Name spaces are ignored. Whatever is not XML, or ends
early, is a ProtocolError that says what was being read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, NoReturn, TypeVar
from xml.parsers import expat

from ds3tool.errors import ProtocolError, UsageError

T = TypeVar("T")

MAX_DEPTH = 64
MAX_ATTRIBUTES = 64
# A tag holds a key of at most a few kilobytes; a message or a summary may be a longer text.
MAX_TOKEN_BYTES = 256 * 1024
MAX_TEXT_CHARACTERS = 1024 * 1024
# One item of a list: an object of 1,000 blobs on three tapes has about 100,000 elements.
MAX_ITEM_ELEMENTS = 1_000_000

# Bounds of whole documents: one value; a page of a list; a list whose length the request decides.
SMALL_DOCUMENT_BYTES = 4 * 1024 * 1024
PAGE_BYTES = 256 * 1024 * 1024
JOB_DOCUMENT_BYTES = 4 * 1024 * 1024 * 1024

# Fewer and larger calls of expat are cheaper; a piece that is too large would outgrow the token bound unseen.
_FEED_BYTES = 64 * 1024
_MAX_FEED_BYTES = 256 * 1024


# Most elements are leaves without attributes; they share these, which nobody changes.
_NO_ATTRIBUTES: Mapping[str, str] = {}
_NO_CHILDREN: Sequence[Element] = ()


class Element:
    """One element: its local name, its attributes without name-spaced ones, its children and its own text."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> None:
        self.name = name
        self.attributes = attributes
        self.children: Sequence[Element] = _NO_CHILDREN
        self.text = ""

    def add(self, child: Element) -> None:
        """Add a child at the end."""
        if isinstance(self.children, list):
            self.children.append(child)
        else:
            self.children = [child]

    def __repr__(self) -> str:
        return f"<Element {self.name} with {len(self.children)} children>"

    def child(self, name: str) -> Element | None:
        """Return the first child called `name`, or None."""
        for one in self.children:
            if one.name == name:
                return one
        return None

    def all(self, name: str) -> Iterator[Element]:
        """Yield the children called `name`, in order."""
        for one in self.children:
            if one.name == name:
                yield one

    def value(self, name: str) -> str | None:
        """Return the text of the first child called `name`; None when it is not there or empty."""
        one = self.child(name)
        return one.text or None if one is not None else None


def local_name(name: str) -> str:
    """Return an element's name without its name space's prefix."""
    return name.rpartition(":")[2]


def local_attributes(attributes: dict[str, str]) -> dict[str, str]:
    """Return the attributes of no name space."""
    # Those of another name space (`xmlns:x`, `x:Name`) are none of ours and must not stand in for ours.
    return {name: value for name, value in attributes.items() if ":" not in name}


class Document:
    """One document being read: feeds expat, and turns everything that goes wrong into ProtocolError.

    `fed` counts the bytes that expat was given.
    """

    def __init__(self, what: str, max_bytes: int) -> None:
        self._what = what
        self._max_bytes = max_bytes
        self.fed = 0
        self._passed_over = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype

    @property
    def parser(self) -> expat.XMLParserType:
        """Expat itself, for its handlers."""
        return self._parser

    def refuse(self, why: str) -> NoReturn:
        """Raise ProtocolError, which says what was being read."""
        raise ProtocolError(f"cannot read {self._what}: {why}")

    def _doctype(self, *_: object) -> None:
        self.refuse("it declares a document type, which no appliance sends")

    def pass_over(self, count: int) -> None:
        """Count bytes that the caller has read by itself; they are not fed."""
        self._passed_over += count

    def feed(self, piece: bytes) -> None:
        """Give the handlers what comes next; call it inside `reading`."""
        self.fed += len(piece)
        if self.fed + self._passed_over > self._max_bytes:
            self.refuse(f"it is larger than {self._max_bytes} bytes")
        self._parser.Parse(piece, False)
        if self.fed - self._parser.CurrentByteIndex > MAX_TOKEN_BYTES:
            self.refuse(f"it has a tag of more than {MAX_TOKEN_BYTES} bytes")

    def read(self, blocks: Iterable[bytes]) -> None:
        """Feed the whole document to the handlers that the caller has set."""
        with self.reading():
            for piece in pieces(blocks):
                self.feed(piece)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Feed the document in the block, piece after piece; see at its end that it is whole."""
        parser = self._parser
        try:
            yield
            if not self.fed:
                self.refuse("it is empty")
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            where = f"line {error.lineno}, column {error.offset}"
            if self._passed_over:
                where = f"byte {parser.ErrorByteIndex + self._passed_over}"
            raise ProtocolError(
                f"cannot read {self._what}: it is not XML, or not all of it: {expat.ErrorString(error.code)}, {where}"
            ) from error
        except (ValueError, LookupError) as error:  # an encoding that Python does not have, or has in several bytes
            raise ProtocolError(f"cannot read {self._what}: {error}") from error
        finally:
            # Handlers refer to the reader and the reader to the parser: undone by hand, not by the collector.
            parser.StartElementHandler = parser.EndElementHandler = None
            parser.CharacterDataHandler = parser.StartDoctypeDeclHandler = None
            parser.XmlDeclHandler = None


def pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of 64 to 256 KiB; only the last may be smaller."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        if size >= _FEED_BYTES:
            whole = waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
            if len(whole) <= _MAX_FEED_BYTES:
                yield whole
            else:
                for start in range(0, len(whole), _MAX_FEED_BYTES):
                    yield whole[start : start + _MAX_FEED_BYTES]
    if size:
        yield b"".join(waiting)


class ItemReader:
    """Reads a document whose root holds a list: see `read_items`.

    `items` counts those that were handed over, and `item_at` is where the last one begins, in what expat was fed.
    """

    def __init__(
        self, on_item: Callable[[Element], None], *, what: str, root: str | tuple[str, ...], max_bytes: int
    ) -> None:
        self.document = Document(what, max_bytes)
        self.items = 0
        self.item_at = -1
        self.is_utf8 = True
        self.top: Element | None = None
        document, parser = self.document, self.document.parser
        roots = (root,) if isinstance(root, str) else root
        path: list[Element] = []
        elements = 0
        text: list[str] = []
        text_size = 0

        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal elements, text_size
            if len(attributes) > MAX_ATTRIBUTES:
                document.refuse(f"it has an element with {len(attributes)} attributes")
            if len(path) >= MAX_DEPTH:
                document.refuse(f"its elements are nested deeper than {MAX_DEPTH}")
            element = Element(local_name(name), local_attributes(attributes) if attributes else _NO_ATTRIBUTES)
            if path:
                elements += 1
                if elements > MAX_ITEM_ELEMENTS:
                    document.refuse(f"one of its items has more than {MAX_ITEM_ELEMENTS} elements")
                if len(path) > 1:
                    path[-1].add(element)
                else:
                    self.item_at = parser.CurrentByteIndex
            else:
                if element.name not in roots:
                    document.refuse(f"its root is {element.name[:40]!r}, not {' or '.join(roots)}")
                self.top = element
            if text:
                path[-1].text += "".join(text)
                text.clear()
            text_size = 0
            path.append(element)

        def end(_: str) -> None:
            nonlocal elements, text_size
            element = path.pop()
            if text:
                element.text += "".join(text)
                text.clear()
            text_size = 0
            if element.children and not element.text.strip():
                element.text = ""  # layout
            if len(path) == 1:
                elements = 0
                self.items += 1
                on_item(element)

        def characters(data: str) -> None:
            nonlocal text_size
            if len(path) > 1:
                text_size += len(data)
                if text_size > MAX_TEXT_CHARACTERS or len(path[-1].text) > MAX_TEXT_CHARACTERS:
                    document.refuse(f"it has a text of more than {MAX_TEXT_CHARACTERS} characters")
                text.append(data)

        def declared(_version: str, encoding: str | None, _standalone: int) -> None:
            self.is_utf8 = encoding is None or encoding.lower() == "utf-8"

        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = characters
        parser.XmlDeclHandler = declared

    def read(self, blocks: Iterable[bytes], feed: Callable[[bytes], bytes] | None = None) -> Element:
        """Read all of it; return the root. `feed` takes each piece with what it has returned of the one before."""
        document = self.document
        if feed is None:
            document.read(blocks)
        else:
            tail = b""
            with document.reading():
                for piece in pieces(blocks):
                    tail = feed(tail + piece if tail else piece)
                if tail:
                    document.feed(tail)
        assert self.top is not None  # expat accepts no document without a root
        return self.top


def read_items(
    blocks: Iterable[bytes],
    on_item: Callable[[Element], None],
    *,
    what: str,
    root: str | tuple[str, ...],
    max_bytes: int = PAGE_BYTES,
) -> Element:
    """Read a document, hand each direct child of its root to `on_item`, and return the root without children.

    A child is forgotten once handed over, so memory holds one at a time. `root` names the elements that may
    stand at the top. ProtocolError for anything else.
    """
    return ItemReader(on_item, what=what, root=root, max_bytes=max_bytes).read(blocks)


def read_tree(
    blocks: Iterable[bytes], *, what: str, root: str | tuple[str, ...], max_bytes: int = SMALL_DOCUMENT_BYTES
) -> Element:
    """Read a small document whole and return its root."""
    children: list[Element] = []
    top = read_items(blocks, children.append, what=what, root=root, max_bytes=max_bytes)
    top.children = children
    return top


# -- writing ---------------------------------------------------------------------------------------------------------

_ITEMS_PER_BLOCK = 2048
_SPECIAL = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_SPECIAL_BYTES = bytes(range(32)) + b'&<>"'
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ILLEGAL_BYTES = bytes(code for code in range(32) if code not in b"\t\n\r")
_IN_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_TEXT_TABLE = str.maketrans(_IN_TEXT)
_ATTRIBUTE_TABLE = str.maketrans({**_IN_TEXT, '"': "&quot;"})

# Joins names for one test over many; legal in XML, so it can hide nothing and can start nothing.
_BETWEEN = " "


def fits(text: str) -> bool:
    """Return whether XML 1.0 can carry `text`, so that a job can name it."""
    return _ILLEGAL.search(text) is None


def _check(text: str) -> None:
    bad = _ILLEGAL.search(text)
    if bad is not None:
        raise UsageError(
            f"{text!a} holds U+{ord(bad[0]):04X}, which XML 1.0 cannot carry: no job and no list of keys can name it",
            hint="give the object another key",
        )


def attribute(text: str) -> str:
    """Return `text` escaped for an attribute in double quotes; UsageError for what XML 1.0 cannot carry."""
    if _SPECIAL.search(text) is None:
        return text
    _check(text)
    return text.translate(_ATTRIBUTE_TABLE)


def content(text: str) -> str:
    """Return `text` escaped as an element's content; UsageError for what XML 1.0 cannot carry."""
    if _SPECIAL.search(text) is None:
        return text
    _check(text)
    return text.translate(_TEXT_TABLE)


class ItemsBody(Generic[T]):
    """A document of one root around many items, made in blocks: a `BlockBody`.

    `write` turns a slice of the items into text, and `measure` tells how many bytes that has. The length comes from a
    first walk, which also finds every name that cannot be sent, before anything is.
    """

    __slots__ = ("_items", "_length", "_root", "_write")

    def __init__(
        self,
        root: str,
        items: Sequence[T],
        write: Callable[[Sequence[T]], str],
        measure: Callable[[Sequence[T]], int],
    ) -> None:
        self._root = root
        self._items = items
        self._write = write
        self._length = 2 * len(root) + len("<></>") + sum(map(measure, self._slices()))

    @property
    def length(self) -> int:
        """Bytes in all."""
        return self._length

    def _slices(self) -> Iterator[Sequence[T]]:
        items = self._items
        return (items[start : start + _ITEMS_PER_BLOCK] for start in range(0, len(items), _ITEMS_PER_BLOCK))

    def __iter__(self) -> Iterator[bytes]:
        yield f"<{self._root}>".encode()
        for items in self._slices():
            yield self._write(items).encode()
        yield f"</{self._root}>".encode()


def write_items(
    root: str,
    items: Sequence[T],
    write: Callable[[Sequence[T]], str],
    measure: Callable[[Sequence[T]], int] | None = None,
) -> bytes | ItemsBody[T]:
    """Return the document of `root` around `items`: as bytes when it is small, else in blocks.

    `measure` tells the bytes of what `write` makes; it may refuse items, and must where `write` would.
    """
    if len(items) <= _ITEMS_PER_BLOCK:
        return f"<{root}>{write(items)}</{root}>".encode()
    return ItemsBody(root, items, write, measure or (lambda some: len(write(some).encode())))


def any_special(texts: Iterable[str]) -> bool:
    """Return whether any of `texts` needs escaping or refusing; one test over all of them."""
    return not _is_free_of(_BETWEEN.join(texts), _SPECIAL_BYTES)


def all_fit(texts: Iterable[str]) -> bool:
    """Return whether XML 1.0 can carry all of `texts`; one test over all of them."""
    return _is_free_of(_BETWEEN.join(texts), _ILLEGAL_BYTES)


def _is_free_of(text: str, unwanted: bytes) -> bool:
    """Whether a text has none of these characters, no surrogate and none of the two that are no characters."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return False
    # Deleting what is not there is by far the quickest search for one of many.
    if len(raw.translate(None, unwanted)) != len(raw):
        return False
    return text.isascii() or not ("\ufffe" in text or "\uffff" in text)
