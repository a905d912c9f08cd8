"""A job's document, `MasterObjectList`, read into columns: by expat, and its long runs of like blobs in blocks.

What counts is expat's word alone: a run is taken in one go only where expat has just read a blob, the run follows it
without a gap, and each element of it has the same attributes in the same order, in the plainest form that XML has.
Such elements are whole by themselves, so the document is well-formed with them just if it is without them. Whatever
is otherwise goes to expat.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable

from ds3tool.protocol.blob_columns import BlobColumns
from ds3tool.protocol.known_blobs import KnownBlobs, known_run
from ds3tool.protocol.xmlcodec import (
    JOB_DOCUMENT_BYTES,
    MAX_ATTRIBUTES,
    MAX_DEPTH,
    MAX_TOKEN_BYTES,
    Document,
    local_attributes,
    local_name,
    pieces,
)

_TRUTH = {"true": True, "false": False, "": False}

_BLOB = b"<Object "
_CHUNK_END = b"</Objects>"
# A blob in the form that runs are made of. A quote ends a value, so the match is what expat takes for the tag.
_PLAIN_BLOB = re.compile(rb'<Object((?: [A-Za-z]+="[^"<&]*")+)( ?/>)')
# What expat would read as something else, or refuse.
_NOT_PLAIN = bytes(range(32)) + b"&"
_NO_CHARACTERS = ("\ufffe", "\uffff")
# So often may what looks like a run turn out to be none, in a row, before the rest is left to expat.
_MOST_MISSES = 4
# So often is it looked for where the keys of a document go on among those that are known.
_MOST_SEARCHES = 64


class ChunkRows:
    """A chunk as it is read: its attributes and its blobs as columns."""

    __slots__ = ("attributes", "blobs")

    def __init__(self, attributes: dict[str, str]) -> None:
        self.attributes = attributes
        self.blobs = BlobColumns()


class JobRows:
    """A `MasterObjectList` as it is read: the root's attributes, those of each node, and the chunks."""

    __slots__ = ("attributes", "chunks", "nodes")

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.nodes: list[dict[str, str]] = []
        self.chunks: list[ChunkRows] = []


def read_job(
    blocks: Iterable[bytes],
    *,
    what: str,
    root: str = "MasterObjectList",
    max_bytes: int = JOB_DOCUMENT_BYTES,
    known: KnownBlobs | None = None,
    blobs: bool = True,
) -> JobRows:
    """Read a job's document into columns, without making anything per blob but its name.

    With `root` "Objects" the document is one chunk by itself. Of a blob, `Name`, `Offset` and `Length` must be
    there; a missing `InCache` means False. An integer `Version`, of releases before 5.0, names nothing that can
    be asked for and is passed over. What the document names in the order of the keys that are `known` shares their
    texts. Without `blobs` the chunks stay empty, though each blob is read as strictly.
    """
    reader = _Reader(Document(what, max_bytes), root, known, keeps=blobs)
    reader.read(blocks)
    return reader.rows


class _Reader:
    """Reads one document; expat calls `start` and `end`."""

    def __init__(self, document: Document, root: str, known: KnownBlobs | None, *, keeps: bool) -> None:
        self.rows = JobRows()
        self._document = document
        self._parser = document.parser
        self._root = root
        self._keeps = keeps
        # Depth of the chunk elements: below the root, or the root itself.
        self._chunk_depth = 1 if root == "Objects" else 2
        self._blob_depth = self._chunk_depth + 1
        self._depth = 0
        self._in_chunk = False
        self._in_nodes = False
        self._columns = BlobColumns()
        self._last_key = ""
        # Where the last blob that expat has read begins, in what it was fed.
        self._blob_at = -1
        self._is_utf8 = True
        self._misses = 0
        self._known = known
        self._keys = [] if known is None else known.keys
        self._next_key = 0
        self._searches = 0

    def read(self, blocks: Iterable[bytes]) -> None:
        """Read all of it."""
        document, parser = self._document, self._parser
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.XmlDeclHandler = self._declared
        tail = b""
        with document.reading():
            for piece in pieces(blocks):
                tail = self._take(tail + piece if tail else piece)
            if tail:
                document.feed(tail)

    # -- what expat reads ------------------------------------------------------------------------------------------

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            self._is_utf8 = False

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if len(attributes) > MAX_ATTRIBUTES:
            self._document.refuse(f"it has an element with {len(attributes)} attributes")
        if self._depth == self._blob_depth and self._in_chunk:
            if name == "Object" or local_name(name) == "Object":
                self._blob_at = self._parser.CurrentByteIndex
                self._add_blob(attributes)
            return
        if self._depth == self._chunk_depth:
            local = local_name(name)
            self._in_chunk = local == "Objects"
            self._in_nodes = local == "Nodes"
            if self._in_chunk:
                self.rows.chunks.append(ChunkRows(local_attributes(attributes)))
                self._columns = self.rows.chunks[-1].blobs
        elif self._depth == self._blob_depth and self._in_nodes and local_name(name) == "Node":
            self.rows.nodes.append(local_attributes(attributes))
        elif self._depth > MAX_DEPTH:
            self._document.refuse(f"its elements are nested deeper than {MAX_DEPTH}")
        if self._depth == 1:
            if local_name(name) != self._root:
                self._document.refuse(f"its root is {local_name(name)[:40]!r}, not {self._root}")
            self.rows.attributes = local_attributes(attributes)

    def _end(self, _: str) -> None:
        self._depth -= 1

    def _add_blob(self, attributes: dict[str, str]) -> None:
        refuse = self._document.refuse
        try:
            key, offset, length = attributes["Name"], attributes["Offset"], attributes["Length"]
        except KeyError as error:
            refuse(f"a blob of it has no {error.args[0]}")
        if not (offset.isdigit() and length.isdigit() and key):
            refuse(f"a blob of it is named {key[:80]!r}, offset {offset[:20]!r}, length {length[:20]!r}")
        in_cache = attributes.get("InCache", "")
        truth = _TRUTH.get(in_cache)
        if truth is None:
            truth = _TRUTH.get(in_cache.lower())
            if truth is None:
                refuse(f"a blob of it has InCache={in_cache[:20]!r}")
        if key == self._last_key:
            key = self._last_key  # blobs of one object share its text
        elif self._next_key < len(self._keys) and self._keys[self._next_key] == key:
            self._last_key = key = self._keys[self._next_key]
            self._next_key += 1
        else:
            self._last_key = key
        columns = self._columns if self._keeps else BlobColumns()
        try:
            columns.offsets.append(int(offset))
            columns.lengths.append(int(length))
        except (OverflowError, ValueError):
            refuse(f"a blob of it has offset {offset[:20]!r} and length {length[:20]!r}")
        columns.keys.append(key)
        columns.in_cache.append(truth)
        columns.version_ids.append(attributes.get("VersionId") or None)

    # -- runs of like blobs ----------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> bytes:
        """Read a piece of the document but for the start of a blob at its end, which is returned."""
        document, at = self._document, 0
        while self._misses < _MOST_MISSES and (begin := data.find(_BLOB, at)) >= 0:
            first = _PLAIN_BLOB.match(data, begin)
            if first is None:
                if data.find(b">", begin) >= 0 or len(data) - begin > MAX_TOKEN_BYTES:
                    self._misses += 1
                    break
                document.feed(data[at:begin])
                return data[begin:]
            expected = document.fed + begin - at
            document.feed(data[at : first.end()])
            at = first.end()
            if self._blob_at != expected or not self._is_utf8:
                self._misses += 1  # it stands in a comment, or the like
                continue
            chunk_end = data.find(_CHUNK_END, at)
            end = data.rfind(b"/>", at, chunk_end if chunk_end >= 0 else len(data)) + 2
            if end > at + 1:
                if self._take_run(data[at:end], first):
                    self._misses = 0
                    document.pass_over(end - at)
                    at = end
                else:
                    self._misses += 1
                    break
        document.feed(data[at:])
        return b""

    def _take_run(self, run: bytes, first: re.Match[bytes]) -> bool:
        """Take blobs that follow each other, all written like the `first`; return False where they are not."""
        try:
            text = run.decode()
        except UnicodeDecodeError:
            return False
        if self._known is not None and self._keeps and self._take_known(text, first, self._known):
            return True
        if len(run.translate(None, _NOT_PLAIN)) != len(run):
            return False
        if not text.isascii() and any(no_character in text for no_character in _NO_CHARACTERS):
            return False
        names = [one.strip(" =") for one in first[1].decode().split('"')[:-1:2]]
        ending = first[2].decode()
        parts = text.split('"')
        width = 2 * len(names)
        count, odd = divmod(len(parts) - 1, width)
        start = f"<Object {names[0]}="
        if (
            odd
            or text.count("<") != count
            or parts[0] != start
            or parts[-1] != ending
            or parts[width:-1:width].count(ending + start) != count - 1
            or any(
                parts[place::width].count(f" {name}=") != count
                for place, name in zip(range(2, width, 2), names[1:], strict=True)
            )
        ):
            return False
        values = {name: parts[place::width] for place, name in zip(range(1, width, 2), names, strict=True)}
        return self._add_blobs(values, count)

    def _take_known(self, text: str, first: re.Match[bytes], known: KnownBlobs) -> bool:
        """Take a run of nothing but the blobs that are known to come; return False for any other."""
        columns = self._columns
        if not (self._next_key and self._keys[self._next_key - 1] == self._last_key):
            if self._searches == _MOST_SEARCHES:
                return False
            self._searches += 1
            if not self._known_from(self._last_key, 1):
                return False
            self._next_key += 1
        start = self._next_key
        run = known_run(text, first, known, start, columns.lengths[-1])
        if run is None:
            return False
        self._next_key += run.count
        columns.keys += self._keys[start : self._next_key]
        columns.offsets += columns.offsets[-1:] * run.count
        columns.lengths += known.lengths_of(start, run.count) or columns.lengths[-1:] * run.count
        columns.in_cache += columns.in_cache[-1:] * run.count
        columns.version_ids.extend(run.version_ids, run.count)
        self._last_key = columns.keys[-1]
        return True

    def _add_blobs(self, values: dict[str, list[str]], count: int) -> bool:
        """Add blobs whose attributes' values these are; return False for what expat's way may refuse."""
        keys = values["Name"]
        offsets, lengths = _numbers(values["Offset"]), _numbers(values["Length"])
        if offsets is None or lengths is None or "" in keys:
            return False
        in_cache = bytes(count)
        told = values.get("InCache")
        if told is not None and told.count("false") != count:
            if not _TRUTH.keys() >= set(told):
                return False
            in_cache = bytes(map(_TRUTH.__getitem__, told))
        if not self._keeps:
            return True
        columns = self._columns
        columns.keys += self._shared(keys)
        columns.offsets += offsets
        columns.lengths += lengths
        columns.in_cache += in_cache
        columns.version_ids.extend(values.get("VersionId"), count)
        self._last_key = columns.keys[-1]
        return True

    def _shared(self, keys: list[str]) -> list[str]:
        """Return the same keys, as far as may be those that are known, and of one object one text."""
        if self._keys:
            known = self._keys[self._next_key : self._next_key + len(keys)]
            if known != keys and self._searches < _MOST_SEARCHES:
                self._searches += 1
                known = self._known_from(keys[0], len(keys))
            if known == keys:
                self._next_key += len(keys)
                return known
        texts = dict(zip(keys, keys, strict=True))
        if self._last_key in texts:
            texts[self._last_key] = self._last_key
        return keys if len(texts) == len(keys) and self._last_key not in texts else [texts[key] for key in keys]

    def _known_from(self, key: str, count: int) -> list[str]:
        """Return the known keys from `key` on, so many; fewer where it is none of them."""
        try:
            self._next_key = self._keys.index(key)
        except ValueError:
            return []
        return self._keys[self._next_key : self._next_key + count]


def _numbers(texts: list[str]) -> array[int] | None:
    """Return what plain decimal numbers mean; None for anything else."""
    if texts.count(texts[0]) == len(texts):
        one = _numbers_each(texts[:1])
        return None if one is None else one * len(texts)
    return _numbers_each(texts)


def _numbers_each(texts: list[str]) -> array[int] | None:
    joined = "".join(texts)
    if not (joined.isascii() and joined.isdigit()):
        return None
    try:
        return array("Q", list(map(int, texts)))
    except (ValueError, OverflowError):
        return None
