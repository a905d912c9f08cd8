"""What a piece of work is: the direction, the bucket, what was asked for, and of which appliance."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from ds3tool.jobs.journal_file import JournalFile, spoiled
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType


def new_work_id(now: float) -> str:
    """Return a name for a piece of work: when it began, in UTC, and a few letters that no other has.

    `now` is in seconds since 1970.
    """
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{os.urandom(4).hex()}"


@dataclass(frozen=True, slots=True)
class WorkHead:
    """What a piece of work is.

    `asked` is what JSON can hold: what the command was told by the names of its options, without secrets. `bucket_id`
    tells a bucket from one of that name on another appliance, or made anew. `profile` is that of the connection.
    """

    id: str
    type: JobType
    bucket: str
    bucket_id: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    endpoint: str | None = None
    profile: str | None = None
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def to_json(self) -> bytes:
        """Return all of it but `id` and `begun`; escapes keep half surrogates."""
        told = {
            "type": self.type.value,
            "bucket": self.bucket,
            "bucket_id": self.bucket_id,
            "asked": dict(self.asked),
            "endpoint": self.endpoint,
            "profile": self.profile,
        }
        return json.dumps(told, separators=(",", ":")).encode("ascii")


def read_head(file: JournalFile) -> WorkHead:
    """Return the head that a journal holds; JournalError when it is damaged."""
    try:
        ((work_id, told, begun),) = file.rows("SELECT id, head, begun FROM work")
        head = json.loads(told)
        return WorkHead(
            work_id,
            JobType(head["type"]),
            head["bucket"],
            head["bucket_id"],
            head["asked"],
            head["endpoint"],
            head["profile"],
            datetime.fromtimestamp(begun, UTC),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise spoiled(file.path, "it does not say what work it is of") from error
