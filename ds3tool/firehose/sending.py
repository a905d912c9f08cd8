"""Records on their way into a delivery stream: in batches, at a pace, and again where the stream did not take one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.clock import Clock, RealClock
from ds3tool.errors import FarSideNotFoundError, FarSideUnreachableError
from ds3tool.lazy_dataclass import dataclass

# Source: AWS, Amazon Data Firehose quota; each without what encoding adds.
MOST_RECORDS = 500
MOST_BYTES = 4 * 1024 * 1024
LARGEST_RECORD = 1000 * 1024
# So often a record that the stream did not take is sent again, after waits that double up to the longest.
_TRIES = 10
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record with what it is known by to a person, such as `line 7`; `data` is all that is sent."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class NotSent:
    """A record that the stream has not taken, and why."""

    name: str
    why: str


@dataclass(slots=True)
class Sent:
    """What became of a sending so far: records and bytes that the stream took, requests, records sent again."""

    records: int = 0
    bytes: int = 0
    requests: int = 0
    repeated: int = 0
    failed: list[NotSent] = field(default_factory=list)
    last: str | None = None


class Sender:
    """Puts records into one stream, in their order but for those that have to be sent again.

    A record counts as sent when the stream has answered that it took it. An answer that is lost makes boto3 send its
    batch again, so that a record may come twice, never not at all. `rate` is the most records a second. Raises what
    `far_side` does, FarSideUnreachableError when the stream has taken nothing of a batch at any try; `sent` tells how
    far it came. Memory: one batch.
    """

    def __init__(self, client: Any, stream: str, *, rate: float | None = None, clock: Clock | None = None) -> None:  # noqa: ANN401  # boto3's client
        self._client = client
        self._stream = stream
        self._rate = rate
        self._clock = clock or RealClock()
        self._never = threading.Event()
        self._due: float | None = None
        self.sent = Sent()

    def send(self, records: Iterable[Outgoing]) -> None:
        """Send all records; those that cannot be are in `sent.failed`."""
        most = MOST_RECORDS if self._rate is None else max(1, min(MOST_RECORDS, int(self._rate)))
        for batch in batches(records, most=most, too_large=self._fail_large):
            self._pace(len(batch))
            self._send(batch)

    def _fail_large(self, record: Outgoing) -> None:
        self.sent.failed.append(
            NotSent(record.name, f"it has {len(record.data):,} bytes, and a record has at most {LARGEST_RECORD:,}")
        )

    def _pace(self, count: int) -> None:
        """Wait until so many more records may go."""
        if self._rate is None:
            return
        now = self._clock.monotonic()
        if self._due is not None and self._due > now:
            self._clock.wait(self._never, self._due - now)
        self._due = max(now, self._due or now) + count / self._rate

    def _send(self, batch: Sequence[Outgoing]) -> None:
        import tenacity

        left = list(batch)
        reasons: dict[str, str] = {}

        def once() -> None:
            nonlocal left, reasons
            left, reasons = self._put(left)

        tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_TRIES),
            wait=tenacity.wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)
            + tenacity.wait_random(0, _FIRST_WAIT),
            retry=tenacity.retry_if_result(lambda _: bool(left)),
            sleep=lambda seconds: self._again(len(left), seconds),
            retry_error_callback=lambda _: None,
        )(once)
        if len(left) == len(batch):
            why = reasons[left[0].name]
            raise FarSideUnreachableError(
                f"stream {self._stream} took none of {len(batch):,} records from {left[0].name} on, "
                f"in {_TRIES} tries: {why}",
                hint="see with ds3tool firehose ls whether the stream is ACTIVE, and send more slowly: --rate",
            )
        self.sent.failed += [NotSent(record.name, f"{reasons[record.name]}, {_TRIES} times") for record in left]
        if not left:
            self.sent.last = batch[-1].name

    def _again(self, count: int, seconds: float) -> None:
        self.sent.repeated += count
        self._clock.wait(self._never, seconds)

    def _put(self, batch: Sequence[Outgoing]) -> tuple[list[Outgoing], dict[str, str]]:
        """Send a batch once; return the records that the stream did not take, and why by their names."""
        try:
            with far_side(f"stream {self._stream}"):
                answer = self._client.put_record_batch(
                    DeliveryStreamName=self._stream, Records=[{"Data": record.data} for record in batch]
                )
        except FarSideNotFoundError as error:
            error.hint = "see which streams there are: ds3tool firehose ls"
            raise
        self.sent.requests += 1
        left, reasons = [], {}
        for record, told in zip(batch, answer["RequestResponses"], strict=True):
            if told.get("ErrorCode"):
                left.append(record)
                reasons[record.name] = f"{told.get('ErrorMessage') or 'not taken'} ({told['ErrorCode']})"
            else:
                self.sent.records += 1
                self.sent.bytes += len(record.data)
        return left, reasons


def batches(
    records: Iterable[Outgoing], *, most: int = MOST_RECORDS, too_large: Callable[[Outgoing], None]
) -> Iterator[list[Outgoing]]:
    """Yield records in batches that one request may carry; a record that none may carry goes to `too_large`."""
    batch: list[Outgoing] = []
    size = 0
    for record in records:
        if len(record.data) > LARGEST_RECORD:
            too_large(record)
            continue
        if batch and (len(batch) == most or size + len(record.data) > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record.data)
    if batch:
        yield batch
