"""What becomes of an object whose name is taken at the other end: the `--if-exists` rules."""

from __future__ import annotations

from enum import StrEnum


class IfExists(StrEnum):
    """What to do where a name is taken already.

    On put, "same" is equal size and equal digest where one is known, else a source that was not modified after the
    object was made; on get, equal size and digest. Whatever fails, fails by name.
    """

    # Leave out what is the same; what is not the same fails.
    SKIP_SAME = "skip-same"
    # Leave out whatever has the name, unseen.
    SKIP = "skip"
    # Replace what is not the same.
    OVERWRITE = "overwrite"
    # Put a further version of what is not the same; needs a bucket that keeps versions.
    VERSION = "version"
    # Give what is not the same a name that is free: `film~1.mov`.
    RENAME = "rename"
    # Whatever has the name, it fails, the same or not.
    FAIL = "fail"


def numbered_name(name: str, number: int) -> str:
    """Return `name` with a number before its extension: `a/film.mov` and 1 give `a/film~1.mov`."""
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.rpartition(".")
    if not stem:
        stem, dot, extension = last, "", ""
    return f"{folder}{slash}{stem}~{number}{dot}{extension}"
