"""What becomes of what Firehose could not deliver, and put below error prefixes."""

from __future__ import annotations

from enum import StrEnum


class Errors(StrEnum):
    """What becomes of the objects below error prefixes."""

    # They are put below a prefix of their own.
    APART = "apart"
    # They are left out, and counted.
    SKIP = "skip"
