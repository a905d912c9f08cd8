"""Whether a gzip stream is whole, told while its bytes pass."""

from __future__ import annotations

import zlib

# What is unpacked at once, and thrown away: a few kilobytes of gzip can hold gigabytes.
_UNPACKED_BYTES = 1 << 18
_GZIP = 31  # zlib's word for: a gzip header, a window of 32 KiB


class GzipCheck:
    """Unpacks a gzip stream as it comes, in order, and keeps nothing of it. One thread feeds it.

    Several gzip members one after the other are one stream, and zeros may follow the last, as RFC 1952 and gzip have
    it. A stream cut off exactly between two members cannot be told from a whole one. Memory: 256 KiB.
    """

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None
        self._members = 0
        self._trouble: str | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        while self._trouble is None:
            if self._member is None:
                data = data.lstrip(b"\0") if self._members else data
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP)
            try:
                unpacked = self._member.decompress(data, _UNPACKED_BYTES)
            except zlib.error as error:
                self._trouble = self._words(error)
                return
            data = self._member.unconsumed_tail
            if self._member.eof:
                data = self._member.unused_data
                self._member = None
                self._members += 1
            elif not data and len(unpacked) < _UNPACKED_BYTES:
                return

    def trouble(self) -> str | None:
        """Return what is wrong with the stream, now that all of it was fed; None when it is whole."""
        if self._trouble is None and (self._member is not None or not self._members):
            return "its gzip stream is cut short"
        return self._trouble

    def _words(self, error: zlib.error) -> str:
        if self._members:
            return "what follows the end of its gzip stream is no gzip"
        return f"its gzip stream is damaged ({str(error).rpartition(': ')[2]})"
