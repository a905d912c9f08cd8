"""What a piece of work is, in a few words: what it does, with what, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ds3tool.protocol.model import JobType

if TYPE_CHECKING:
    from ds3tool.jobs.work_head import WorkHead


def words_of(head: WorkHead, shown: Sequence[str]) -> str:
    """Return a work in words; `shown` are the paths or addresses that it reads, or the one that it writes."""
    verb, places = str(head.asked.get("verb", head.type.lower())), ", ".join(shown)
    if head.type == JobType.PUT:
        return f"{verb} of {places} into {head.bucket}"
    return f"{verb} from {head.bucket} into {places}"
