"""What a measurement shows: its figures, as one value for every shape, and what limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from ds3tool.bench.limits import Asked, Verdict, judge, short_time
from ds3tool.bench.meter import median_of
from ds3tool.bench.rounds import Round
from ds3tool.bench.usage import Usage
from ds3tool.cli import transfer
from ds3tool.cli.output import Field, as_mapping
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error
from ds3tool.jobs.run import RunResult
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size


@dataclass(slots=True)
class Measured:
    """All rounds of one measurement. `kept` is where its objects are, None when they were removed, or are others'.

    `left` is set when something of them could not be removed; `notes` say what, and come after those of the runs.
    """

    verb: str
    address: str
    asked: Asked
    rounds: list[Round] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: str | None = None
    left: Ds3Error | None = None

    @property
    def usages(self) -> list[Usage]:
        """What each round has used, of those that moved anything."""
        return [one.usage for one in self.rounds if one.usage is not None]

    @property
    def median(self) -> Usage | None:
        """The usage of the median round."""
        return median_of(self.usages) if self.usages else None

    @property
    def verdict(self) -> Verdict | None:
        """What limits the median round."""
        return None if self.median is None else judge(self.median, self.asked)

    @property
    def whole(self) -> RunResult:
        """All rounds as one run."""
        whole = RunResult()
        for one in self.rounds:
            whole.jobs += one.result.jobs
            whole.objects += one.result.objects
            whole.bytes += one.result.bytes
            whole.failures += one.result.failures
            whole.unverified += one.result.unverified
            whole.seconds += one.result.seconds
            whole.notes += one.result.notes
            whole.stopped = whole.stopped or one.result.stopped
        whole.notes += self.notes
        whole.stopped = whole.stopped or self.left
        return whole


_FigureOf = Callable[[Usage], object]


def _rounded(get: Callable[[Usage], float | None], digits: int) -> _FigureOf:
    def rounded(usage: Usage) -> object:
        value = get(usage)
        return None if value is None else round(value, digits)

    return rounded


def _wire(usage: Usage) -> object:
    wire = usage.wire
    if wire is None:
        return None
    return {
        "busy_seconds": round(wire.busy, 3),
        "receiver_full_seconds": round(wire.receiver_full, 3),
        "buffer_full_seconds": round(wire.buffer_full, 3),
        "segments": wire.segments,
        "retransmitted": wire.retransmitted,
    }


USAGE_FIELDS: list[Field[Usage]] = [
    Field("seconds", _rounded(lambda one: one.seconds, 6)),
    Field("blobs", lambda one: one.blobs),
    Field("bytes", lambda one: one.bytes),
    Field("bytes_per_second", _rounded(lambda one: one.bytes_per_second, 0)),
    Field("blobs_per_second", _rounded(lambda one: one.blobs_per_second, 1)),
    Field("cpu_seconds", _rounded(lambda one: one.cpu, 6)),
    Field("cpu_seconds_per_gib", _rounded(lambda one: one.cpu_per_gib, 3)),
    Field("cpu_seconds_per_blob", _rounded(lambda one: one.cpu_per_blob, 7)),
    Field("busiest_thread_seconds", _rounded(lambda one: one.busiest_thread, 6)),
    Field("queued_seconds", _rounded(lambda one: one.queued, 6)),
    Field("machine_cpu_seconds", _rounded(lambda one: one.machine_cpu, 2)),
    Field("cores", lambda one: one.cores),
    Field("waiting_seconds", _rounded(lambda one: one.waiting, 6)),
    Field("retries", lambda one: one.retries),
    Field("reading_seconds", _rounded(lambda one: one.reading, 6)),
    Field("moving_seconds", _rounded(lambda one: one.moving, 6)),
    Field("answering_seconds", _rounded(lambda one: one.answering, 6)),
    Field("answer_median_seconds", _rounded(lambda one: one.answer_median, 6)),
    Field("answer_p99_seconds", _rounded(lambda one: one.answer_p99, 6)),
    Field("connections", lambda one: one.connections),
    Field("round_trip_seconds", _rounded(lambda one: one.round_trip, 6)),
    Field("wire", _wire),
]


def _rate(usage: Usage) -> str:
    rate = usage.blobs_per_second
    blobs = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    return f"{format_size(usage.bytes_per_second)}/s, {blobs} blobs/s"


def _all_rates(measured: Measured) -> str | None:
    if len(measured.usages) < 2:
        return None
    return ", ".join(f"{format_size(one.bytes_per_second)}/s" for one in measured.usages)


def _of_median(text: Callable[[Usage], str | None]) -> Callable[[Measured], str | None]:
    return lambda measured: None if measured.median is None else text(measured.median)


def _cpu(usage: Usage) -> str:
    parts = [f"{usage.cpu / usage.seconds:.2g} of {usage.cores} cores" if usage.seconds else "-"]
    if usage.cpu_per_gib is not None:
        parts.append(f"{usage.cpu_per_gib:.3g} s a GiB")
    if usage.cpu_per_blob is not None:
        parts.append(f"{short_time(usage.cpu_per_blob)} a blob")
    return ", ".join(parts)


def _answers(usage: Usage) -> str | None:
    if usage.answer_median is None or usage.answer_p99 is None:
        return None
    return f"median {short_time(usage.answer_median)}, 99 % within {short_time(usage.answer_p99)}"


def _waits(usage: Usage) -> str:
    share = usage.waiting / usage.seconds if usage.seconds else 0.0
    return f"{share:.0%} of the time nothing was offered; {usage.retries} requests sent again"


def _network(usage: Usage) -> str:
    parts = [f"{usage.connections} connections"]
    if usage.round_trip is not None:
        parts.append(f"round trip {short_time(usage.round_trip)}")
    if usage.wire is not None and usage.wire.segments:
        parts.append(f"{usage.wire.retransmitted / usage.wire.segments:.2%} sent twice")
    return ", ".join(parts)


def _whole(measured: Measured) -> str:
    whole = measured.whole
    return transfer.summary(whole, done={"put": transfer.PUT, "get": transfer.GOT}[measured.verb]).partition(";")[0]


# What people read; every other shape has the same in figures.
PEOPLE: list[Field[Measured]] = [
    Field("run", _whole, heading="whole run"),
    Field("transfer", _of_median(lambda one: f"{_rate(one)} over {format_duration(one.seconds)}")),
    Field("rounds", _all_rates),
    Field("cpu", _of_median(_cpu), heading="client CPU"),
    Field("answers", _of_median(_answers)),
    Field("waits", _of_median(_waits)),
    Field("network", _of_median(_network)),
    Field("kept", lambda measured: measured.kept),
    Field(
        "limit",
        lambda measured: None if (said := measured.verdict) is None else f"{said.limit}: {said.because}",
        heading="limited by",
    ),
]
FIELDS: list[Field[Measured]] = [
    Field("command", lambda measured: f"bench {measured.verb}"),
    Field("address", lambda measured: measured.address),
    Field("jobs", lambda measured: [as_mapping(one, transfer.JOB_FIELDS) for one in measured.whole.jobs]),
    Field("objects", lambda measured: measured.whole.objects),
    Field("bytes", lambda measured: measured.whole.bytes),
    Field("failed", lambda measured: [transfer.failure_mapping(one) for one in measured.whole.failures]),
    Field("unverified_blobs", lambda measured: measured.whole.unverified),
    Field("seconds", lambda measured: round(measured.whole.seconds, 3)),
    Field("transfer", lambda measured: None if measured.median is None else as_mapping(measured.median, USAGE_FIELDS)),
    Field("rounds", lambda measured: [as_mapping(one, USAGE_FIELDS) for one in measured.usages]),
    Field("limited_by", lambda measured: None if measured.verdict is None else measured.verdict.limit),
    Field("because", lambda measured: None if measured.verdict is None else measured.verdict.because),
    Field("kept", lambda measured: measured.kept),
    Field("notes", lambda measured: measured.whole.notes),
]


def show(measured: Measured, settings: Settings) -> None:
    """Show what was measured; ends the command with the run's exit code when something failed."""
    whole, output = measured.whole, settings.results()
    transfer.tell_troubles(whole)
    error = transfer.error_of(whole, f"could not be {'put' if measured.verb == 'put' else 'got'}")
    fields = FIELDS
    if output.shape.value == "table":
        fields = [one for one in PEOPLE if one.get(measured) is not None]
    output.finish(measured, fields, error, exit_code=whole.exit_code if error is not None else None)
