"""A set of files that takes about a bit for each, as long as their inode numbers stand close together."""

from __future__ import annotations

import os

# A word of this many bits is kept for each stretch of inode numbers in which there is one.
_BITS = 512


class Inodes:
    """Files by device and inode number. File systems hand these out in runs, so a million files take some 200 kB."""

    __slots__ = ("_words",)

    def __init__(self) -> None:
        self._words: dict[tuple[int, int], int] = {}

    def add(self, device: int, inode: int) -> None:
        """Take a file in."""
        word, bit = divmod(inode, _BITS)
        place = (device, word)
        self._words[place] = self._words.get(place, 0) | 1 << bit

    def __contains__(self, state: os.stat_result) -> bool:
        word, bit = divmod(state.st_ino, _BITS)
        return bool(self._words.get((state.st_dev, word), 0) >> bit & 1)
