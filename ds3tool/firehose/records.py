"""Delivered records, one by one: JSON objects that run together, lines, words; with bounded memory."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from ds3tool.lazy_dataclass import dataclass

# The largest record is 1,000 KiB, and a Lambda may make 6 MB of it; what is longer has lost its end.
LONGEST_RECORD = 16 * 1024 * 1024
_ENDLESS = "it is longer than any record"
_SAMPLE_BYTES = 64 * 1024
_NOT_BLANK = re.compile(rb"[^\s]")
_JSON_START = re.compile(rb"[\[{\n]")
_LINE_END = re.compile(rb"\n")
_STRUCTURE = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_LINE_WITH_OBJECT = re.compile(rb"\n[ \t\r]*[\[{]")
# An error this near to the end of what has come may be mended by what comes: the longest word of JSON is -Infinity.
_NEAR_THE_END = 16


class RecordFormat(StrEnum):
    """How delivered records are told apart."""

    # JSON when it begins with `{`, else lines where there are any, else words.
    AUTO = "auto"
    # Each line is a record.
    LINES = "lines"
    # Each JSON object or array is a record, whatever white space is between them, or none.
    JSON = "json"
    # Each run of characters without white space is a record.
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was put, without what ended it; `offset` counts from the start of the unpacked bytes."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Bytes that are no record: where they begin among the unpacked bytes, how many they are, and why."""

    offset: int
    length: int
    why: str


def records(chunks: Iterable[bytes], record_format: RecordFormat) -> Iterator[Record | Unreadable]:
    """Yield the records of one object's unpacked bytes, and what is none, in their order.

    Memory: one record, at most 16 MiB (what is longer is unreadable), and a chunk.
    """
    if record_format is RecordFormat.AUTO:
        record_format, chunks = _detected(chunks)
    if record_format is RecordFormat.JSON:
        return _Objects().split(chunks)
    return _separated(chunks, b"\n" if record_format is RecordFormat.LINES else b" ")


def _detected(chunks: Iterable[bytes]) -> tuple[RecordFormat, Iterator[bytes]]:
    rest = iter(chunks)
    sample = b""
    for chunk in rest:
        sample += chunk
        if len(sample) >= _SAMPLE_BYTES or (sample.lstrip().startswith(b"{")):
            break
    whole = itertools.chain([sample], rest)
    if sample.lstrip().startswith(b"{"):
        return RecordFormat.JSON, whole
    if b"\n" not in sample and b" " in sample.strip():
        return RecordFormat.WORDS, whole
    return RecordFormat.LINES, whole


# -- lines and words -------------------------------------------------------------------------------------------------


def _separated(chunks: Iterable[bytes], separator: bytes) -> Iterator[Record | Unreadable]:
    words = separator == b" "
    find = re.compile(rb"\s" if words else rb"\n").search
    offset = 0
    rest = bytearray()
    lost = 0
    for chunk in chunks:
        start = 0
        while (match := find(chunk, start)) is not None:
            rest += chunk[start : match.start()]
            start = match.end()
            length = len(rest) + lost
            if lost or length > LONGEST_RECORD:
                yield _too_long(offset, length)
            elif rest or not words:
                yield Record(offset, bytes(rest))
            offset += length + 1
            rest.clear()
            lost = 0
        rest += chunk[start:]
        if len(rest) + lost > LONGEST_RECORD:
            lost += len(rest)
            rest.clear()
    if lost:
        yield _too_long(offset, lost + len(rest))
    elif rest:
        yield Record(offset, bytes(rest))


def _too_long(offset: int, length: int) -> Unreadable:
    return Unreadable(offset, length, _ENDLESS)


# -- JSON ------------------------------------------------------------------------------------------------------------


class _Objects:
    """Splits JSON objects and arrays that follow one another.

    What is no JSON is skipped to where a record can begin again: behind the closing bracket where the brackets pair,
    else in the next line. Nothing inside a broken object is taken for a record. What is told does not depend on how
    the bytes are cut into chunks.
    """

    def __init__(self) -> None:
        import json

        # Only the ends are looked for: numbers need not become any.
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str)
        self._buffer = bytearray()
        self._offset = 0  # of the buffer's first byte
        self._wanted = 0  # bytes in the buffer before it is worth another look
        self._lost: Unreadable | None = None  # what is being skipped, until `_again` matches
        self._again = _LINE_END

    def split(self, chunks: Iterable[bytes]) -> Iterator[Record | Unreadable]:
        """Yield what the chunks hold."""
        for chunk in chunks:
            self._buffer += chunk
            if len(self._buffer) >= self._wanted:
                yield from self._take(final=False)
        yield from self._take(final=True)
        if self._lost is not None:
            yield self._lost

    def _take(self, *, final: bool) -> Iterator[Record | Unreadable]:
        """Yield what can be told of the buffer, and keep what is left of it."""
        text = self._buffer.decode("latin-1")  # a character a byte, so that places agree
        at = 0
        self._wanted = 0
        while at < len(self._buffer):
            if self._lost is not None:
                at, lost = self._skip(self._lost, at)
                if lost is not None:
                    yield lost
                continue
            found = _NOT_BLANK.search(self._buffer, at)
            at = len(self._buffer) if found is None else found.start()
            if found is None:
                break
            if self._buffer[at] not in b"{[":
                self._lose(at, "it is not JSON", until=_JSON_START)
                continue
            step = self._object(text, at, final=final)
            if step is None:
                self._wanted = 2 * (len(self._buffer) - at)
                break
            at, told = step
            if told is not None:
                yield told
        del self._buffer[:at]
        self._offset += at

    def _object(self, text: str, at: int, *, final: bool) -> tuple[int, Record | Unreadable | None] | None:
        """Return where what begins at `at` ends, and what it is; None when its end has not come."""
        import json

        try:
            _, end = self._decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            cut = error.pos >= len(text) - _NEAR_THE_END or error.msg.startswith("Unterminated string")
            if cut and not final and len(text) - at <= LONGEST_RECORD:
                return None
            why = f"it is no valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
            return self._broken(at, error.pos, why, final=final, cut=cut)
        except RecursionError:
            return self._broken(at, at, "it is nested too deeply", final=final)
        if end - at > LONGEST_RECORD:
            return self._broken(at, at, _ENDLESS, final=final)
        data = bytes(self._buffer[at:end])
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return end, Unreadable(self._offset + at, end - at, "it is not UTF-8")
        return end, Record(self._offset + at, data)

    def _broken(
        self, at: int, broken: int, why: str, *, final: bool, cut: bool = False
    ) -> tuple[int, Unreadable | None] | None:
        """Return where to go on behind a broken object, which broke at `broken`, and what is lost of it.

        `cut`: where it broke is where the bytes end. None when the place to go on has not come yet.
        """
        lines = list(_LINE_WITH_OBJECT.finditer(self._buffer, at, broken + 2))
        end = lines[-1].start() if lines else _balanced_end(self._buffer, at)
        if end is not None:
            return end, Unreadable(self._offset + at, end - at, why)
        if len(self._buffer) - at > LONGEST_RECORD:
            why = _ENDLESS
        elif not final:
            return None
        elif cut:
            why = "it is cut short"
        self._lose(at, why, until=_LINE_END)
        return at, None

    def _lose(self, at: int, why: str, *, until: re.Pattern[bytes]) -> None:
        self._lost, self._again = Unreadable(self._offset + at, 0, why), until

    def _skip(self, lost: Unreadable, at: int) -> tuple[int, Unreadable | None]:
        """Skip to where records may begin again, or to the buffer's end; return that, and what was lost by then."""
        found = self._again.search(self._buffer, at)
        end = len(self._buffer) if found is None else found.start()
        lost = Unreadable(lost.offset, self._offset + end - lost.offset, lost.why)
        self._lost = lost if found is None else None
        return end, None if found is None else lost


def _balanced_end(buffer: bytearray, at: int) -> int | None:
    """Return the place behind the bracket that closes the one at `at`; None where none does within any record."""
    depth, in_string, limit = 0, False, min(len(buffer), at + LONGEST_RECORD)
    while (found := (_IN_STRING if in_string else _STRUCTURE).search(buffer, at, limit)) is not None:
        at = found.end()
        mark = found[0]
        if mark == b"\\":
            at += 1  # whatever it escapes
        elif mark == b'"':
            in_string = not in_string
        else:
            depth += 1 if mark in b"{[" else -1
            if not depth:
                return at
    return None
