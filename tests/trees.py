"""Trees of files with the names and sizes that operators really have, made from a seed."""

from __future__ import annotations

import hashlib
import os
import random
import unicodedata
from pathlib import Path

# Each is a name that URLs, XML, shells, signatures or file systems treat in a way of their own.
ODD_NAMES = (
    "space in name",
    "plus+plus",
    "semi;colon",
    "percent%2Fslash",
    "100%",
    "single'quote",
    'double"quote',
    "back\\slash",
    "new\nline",
    "tab\there",
    "carriage\rreturn",
    "amp&ersand",
    "<angle>",
    "question?mark",
    "hash#mark",
    "equals=sign",
    "at@sign",
    "colon:colon",
    "comma,comma",
    "dollar$sign",
    "star*",
    "[bracket]",
    "{brace}",
    "tilde~",
    "-leading-dash",
    ".leading-dot",
    " leading space",
    "trailing space ",
    "..trailing..",
    unicodedata.normalize("NFC", "é-composed"),
    unicodedata.normalize("NFD", "é-decomposed"),
    "日本語",
    "😀 astral",
    "\u202eright-to-left",
    "]]>",
    "&amp;",
    "%",
    "%zz",
    "a" * 200,
    "é" * 100,
)


def make_tree(root: Path, *, files: int, largest: int, seed: int) -> int:
    """Fill `root` with `files` files of 0 to `largest` bytes, small ones more often; return their bytes in all."""
    chance = random.Random(seed)
    total = 0
    for number in range(files):
        odd = ODD_NAMES[number % len(ODD_NAMES)]
        folder = root / f"group {number % 7}" / ODD_NAMES[number * 7 % len(ODD_NAMES)][:60]
        folder.mkdir(parents=True, exist_ok=True)
        room = 255 - len(odd.encode()) - 6
        name = f"{number:05d}-{odd}" if room >= 0 else odd
        size = 0 if number % 50 == 0 else largest if number % 997 == 1 else int(largest ** chance.random())
        (folder / name).write_bytes(chance.randbytes(size))
        total += size
    (root / "empty folder").mkdir(exist_ok=True)
    return total


def digests(root: Path) -> dict[bytes, str]:
    """Return the SHA-256 of every file below `root` by its path's bytes; empty folders have the digest of nothing."""
    found: dict[bytes, str] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        relative = os.path.relpath(folder, top)
        if not folders and not files:
            found[relative + b"/"] = ""
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.join(relative, name)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
