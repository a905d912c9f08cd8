"""What Firehose has delivered as a source: the closed hours of a bucket, with errors below a prefix of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from ds3tool.aws.s3_listing import S3Listed
from ds3tool.aws.session import AwsSettings
from ds3tool.clock import Clock, RealClock
from ds3tool.filters import Filter
from ds3tool.firehose.closed import Closing
from ds3tool.firehose.error_prefixes import Errors
from ds3tool.firehose.layout import parse_delivered
from ds3tool.firehose.partitions import Partition, Seen, partitions
from ds3tool.renaming import Renaming
from ds3tool.sources.s3 import S3Source

# What the keys of undelivered records begin with, below the target: no prefix of data is above them, so that neither
# a restore of an hour nor a query over data ever meets one.
ERRORS = "errors/"
# So many open hours, and so many objects in no layout, are named.
_NAMED = 10


class FirehoseSource(S3Source):
    """The objects of closed hours below `base`, each with its partition path; else as an S3Source.

    The key of an object with an error type is led by `errors/` behind `prefix`, unless its path begins so. An hour is
    judged by all that is in it, before `wanted` chooses. `notes` tells which hours are open and when they close, what
    fits no layout and is left out, and errors that are.

    Memory: as an S3Source, and the objects of one hour.
    """

    def __init__(
        self,
        aws: AwsSettings,
        bucket: str,
        *,
        base: str,
        prefix: str,
        closing: Closing,
        errors: Errors = Errors.APART,
        names: Renaming | None = None,
        wanted: Filter | None = None,
        chosen: Callable[[S3Listed], bool] | None = None,
        restored: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            aws,
            bucket,
            base=base,
            prefix=prefix,
            names=names,
            wanted=wanted,
            chosen=chosen,
            restored=restored,
            clock=clock,
        )
        self._closing = closing
        self._errors = errors
        self._now = clock or RealClock()
        self._open: list[str] = []
        self._open_hours = self._open_objects = 0
        self._strays: list[str] = []
        self._stray_objects = self._error_objects = 0

    @property
    def notes(self) -> list[str]:
        """What was left out, and until when; then what an S3Source has to say."""
        notes = [f"not closed, and left for a later run: {told}" for told in self._open]
        if self._open_hours > len(self._open):
            notes.append(
                f"{self._open_hours:,} hours with {self._open_objects:,} objects are not closed; "
                "`ds3tool firehose scan` lists all"
            )
        if self._error_objects:
            notes.append(f"{_objects(self._error_objects)} of error prefixes left out (--error-prefixes skip)")
        if self._stray_objects:
            more = self._stray_objects - len(self._strays)
            told = ", ".join(self._strays) + (f" and {more:,} more" if more else "")
            notes.append(f"{_objects(self._stray_objects)} left out, whose names Firehose does not give: {told}")
        return [*notes, *super().notes]

    def _found(self) -> Iterator[S3Listed]:
        self._open.clear()
        self._strays.clear()
        self._open_hours = self._open_objects = self._stray_objects = self._error_objects = 0
        now = datetime.fromtimestamp(self._now.time(), UTC)
        for filled in partitions(super()._found(), _seen, self._closing, now=now, stray=self._stray):
            if not filled.partition.closed:
                self._leave_open(filled.partition)
            elif filled.partition.kind != "data" and self._errors is Errors.SKIP:
                self._error_objects += filled.partition.objects
            else:
                yield from filled.items

    def _stray(self, item: S3Listed) -> None:
        if item.key.endswith("/") and not item.size:
            return  # the marker of a folder, which holds nothing
        self._stray_objects += 1
        if len(self._strays) < _NAMED:
            self._strays.append(f"s3://{self._bucket}/{item.key}")

    def _leave_open(self, partition: Partition) -> None:
        self._open_hours += 1
        self._open_objects += partition.objects
        if len(self._open) < _NAMED:
            self._open.append(
                f"s3://{self._bucket}/{partition.head} ({_objects(partition.objects)}): {partition.why_open}; "
                f"closed from {partition.closes.astimezone(UTC):%Y-%m-%d %H:%M:%SZ} on"
            )

    def _key(self, key: str) -> str:
        below = super()._key(key)[len(self._prefix) :]
        delivered = parse_delivered(key)
        apart = delivered is not None and delivered.error is not None and not below.startswith(ERRORS)
        return self._prefix + (ERRORS if apart else "") + below


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count:,} objects"


def _seen(item: S3Listed) -> Seen:
    return Seen(item.key, item.size, item.modified_ns)
