"""`ds3tool verify sample`: read a random share of the objects back, and hold it against the digests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import field
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages, transfer
from ds3tool.cli.choice import Choice
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.job_options import JobOptions, Outcome
from ds3tool.cli.lookup import chosen, everything_at
from ds3tool.cli.output import Field, OutputFormat, as_mapping, counted
from ds3tool.cli.selection import selected_objects
from ds3tool.cli.sent import sent_digests
from ds3tool.cli.settings import Settings, connect
from ds3tool.cli.verification import Address, Raw
from ds3tool.errors import Ds3Error, MediaOfflineError, UsageError, worst_exit_code
from ds3tool.jobs.copies import copies_of
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Asked, Wanted
from ds3tool.jobs.run import RunResult
from ds3tool.jobs.sampling import Sample, new_seed, parse_share
from ds3tool.jobs.verification import placed_by_object
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import ListedObject, PlacedBlob
from ds3tool.sizes import format_duration, format_size, parse_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

EXAMPLES = (
    "ds3tool verify sample ds3://archive/2024/",
    "ds3tool verify sample ds3://archive --share 0.1% --bytes 500G --priority low",
    "ds3tool verify sample ds3://archive --count 20 --older 180d -o json",
    "ds3tool verify sample ds3://archive --count 20 --seed 2718281828",
)
_DEFAULT_SHARE = "1%"


@dataclass(slots=True)
class Drawn:
    """What was drawn, and what is known of it before it is read: what the cache has, and what no robot reaches."""

    sample: Sample
    objects: int = 0
    bytes: int = 0
    cached: int = 0
    bar_codes: set[str] = field(default_factory=set)

    def wanted(self, client: Ds3Client, bucket: str, listed: Iterable[ListedObject]) -> Iterator[Asked]:
        """Yield what is to be read; what is only on tapes that are not in the library is a failure instead.

        Asks where a thousand objects are at a time.
        """
        source = iter(listed)
        while batch := list(itertools.islice(source, names.MAX_KEYS_PER_REQUEST)):
            for one, blobs in zip(batch, placed_by_object(client, bucket, batch), strict=True):
                self.objects += 1
                self.bytes += one.size
                yield self._asked(one, blobs)

    def _asked(self, one: ListedObject, blobs: list[PlacedBlob]) -> Asked:
        if blobs and all(placed.blob.in_cache for placed in blobs):
            self.cached += 1
        else:
            copies = copies_of(blobs)
            if copies.offline and not copies.online:
                self.bar_codes.update(copies.away)
                told = f"{one.key} is only on tapes that are not in the library: {', '.join(copies.away)}"
                return Failure(one.key, MediaOfflineError(told, bar_codes=copies.away, hint=_LOAD))
        # Names without slashes: none is taken for a folder that another needs.
        return Wanted(one.key, one.size, name=one.key.replace("/", "\0"))


_LOAD = "have them loaded, and run the command again with the same --seed"


@dataclass(slots=True)
class SampleResult:
    """What came of reading a sample back."""

    drawn: Drawn
    run: RunResult

    @property
    def verified(self) -> int:
        """Objects that came whole and with the right digests; each blob without one may spoil another object."""
        return max(0, self.run.objects - self.run.unverified)

    @property
    def bar_codes(self) -> list[str]:
        """The tapes that somebody has to load."""
        stopped = self.run.stopped
        more = set(stopped.bar_codes) if isinstance(stopped, MediaOfflineError) else set()
        return sorted(self.drawn.bar_codes | more)

    @property
    def error(self) -> Ds3Error | None:
        """What the run ends in; None when all that was drawn is verified."""
        if self.run.stopped is not None:
            return self.run.stopped
        if self.run.failures:
            tapes = f"; tapes to load: {', '.join(self.bar_codes)}" if self.bar_codes else ""
            return SomeFailedError(f"{counted(len(self.run.failures), 'object')} failed the check{tapes}")
        if self.run.unverified:
            return SomeFailedError(
                f"{counted(self.run.unverified, 'blob')} came without a digest to be held against, and may be anything",
                hint="ds3tool stat shows the digests that an object has",
            )
        return None

    @property
    def exit_code(self) -> int:
        """The run's exit code."""
        unverified = {SomeFailedError.exit_code} if self.run.unverified else set()
        return worst_exit_code({self.run.exit_code} | unverified)


RESULT_FIELDS: list[Field[SampleResult]] = [
    Field("jobs", lambda result: [as_mapping(outcome, transfer.JOB_FIELDS) for outcome in result.run.jobs]),
    Field("objects", lambda result: result.drawn.objects),
    Field("bytes", lambda result: result.drawn.bytes),
    Field("verified", lambda result: result.verified),
    Field("failed", lambda result: [transfer.failure_mapping(failure) for failure in result.run.failures]),
    Field("unverified_blobs", lambda result: result.run.unverified),
    Field("bar_codes", lambda result: result.bar_codes),
    Field("from_cache", lambda result: result.drawn.cached),
    Field("seed", lambda result: result.drawn.sample.seed),
    Field("of_objects", lambda result: result.drawn.sample.objects),
    Field("of_bytes", lambda result: result.drawn.sample.total),
    Field("notes", lambda result: result.run.notes),
    Field("seconds", lambda result: round(result.run.seconds, 3)),
    Field("bytes_read", lambda result: result.run.bytes),
]
FAILURE_FIELDS: list[Field[Failure]] = [
    Field("error", lambda failure: failure.error.message),
    Field("key", lambda failure: failure.name, leads=True),
]


def sample(
    address: Address,
    *,
    share: Annotated[
        str | None,
        typer.Option("--share", metavar="PERCENT", help="Of all objects, as in 0.5%; alone and unsaid, 1%."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", metavar="N", min=1, help="At most so many objects.")] = None,
    most: Annotated[
        str | None, typer.Option("--bytes", metavar="SIZE", help="At most so many bytes, but at least one object.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, max=(1 << 63) - 1, help="Draw what an earlier run has drawn."),
    ] = None,
    raw: Raw = False,
    choice: Choice,
    jobs: JobOptions,
    outcome: Outcome,
    settings: Settings,
) -> None:
    """Read a random share of the objects back through bulk get jobs, check every blob's digest, and keep nothing.

    Tapes are loaded as needed, but what the appliance's cache still has comes from there: how many objects did is
    told. Each object has the same chance to be drawn, whatever its size. The seed is shown; with it the same objects
    are drawn again, as long as they are there. Bytes that are wrong fail with 5, objects of which every copy is on
    a shelf with 8, while the others are read. Ctrl-C cancels the job.
    """
    limited = count is not None or most is not None
    draw = Sample(
        new_seed() if seed is None else seed,
        parse_share(share or _DEFAULT_SHARE) if share is not None or not limited else None,
        count,
        _size(most),
    )
    wanted = choice.filter()
    run_settings = jobs.run_settings(stop_on_error=outcome.stop_on_error)
    outcome.prepare()
    from ds3tool.sinks.discard import DiscardSink

    with connect(settings, limit=jobs.rate_limit()) as client:
        selection = everything_at(client, address, raw=raw)
        client.get_bucket(selection.bucket)
        drawn = Drawn(draw)
        listed = chosen(selected_objects(client, selection), selection, wanted)
        asked = drawn.wanted(client, selection.bucket, draw.of(listed))
        with closing(DiscardSink()) as sink:
            sent = sent_digests(client, selection.bucket, settings, always=True)
            run = GetRun(client, sink, selection.bucket, asked, name_of=str, settings=run_settings, sent=sent)
            result = SampleResult(drawn, transfer.carry_out(run, settings, label="verify"))
    outcome.conclude(result.run)
    result.run.notes.extend(outcome.telling.tell(result.run, result.error, result.exit_code))
    _show(result, settings)


def _size(text: str | None) -> int | None:
    size = None if text is None else parse_size(text)
    if size == 0:
        raise UsageError("--bytes must be above zero")
    return size


def _show(result: SampleResult, settings: Settings) -> None:
    output, run = settings.results(), result.run
    for note in run.notes:
        messages.warn(note)
    error = result.error
    if output.shape in {OutputFormat.TABLE, OutputFormat.CSV}:
        output.records(run.failures, FAILURE_FIELDS)
        messages.note(_summary(result), quiet=settings.quiet)
        if error is not None:
            output.end(error, exit_code=result.exit_code)
        return
    output.finish(result, RESULT_FIELDS, error, exit_code=result.exit_code)


def _summary(result: SampleResult) -> str:
    drawn, draw, run = result.drawn, result.drawn.sample, result.run
    what = f"drew {drawn.objects:,} of {counted(draw.objects, 'object')}"
    rate = f", {format_size(run.bytes / run.seconds)}/s" if run.seconds and run.bytes else ""
    parts = [
        f"{what} ({format_size(drawn.bytes)} of {format_size(draw.total)}) with --seed {draw.seed}",
        f"{result.verified:,} verified, {len(run.failures):,} failed in {format_duration(run.seconds)}{rate}",
    ]
    if drawn.cached:
        parts.append(f"{drawn.cached:,} came from the cache, and what is on their tapes was not read")
    if draw.incomplete:
        parts.append(f"{counted(draw.incomplete, 'object')} not complete yet, and left out")
    return "; ".join(parts)
