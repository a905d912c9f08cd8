"""What a put or a get would do, shown and kept in a file instead of done."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from ds3tool.cli import transfer
from ds3tool.cli.dryrun_option import DryRun
from ds3tool.cli.output import Field, Output, OutputFormat, counted
from ds3tool.cli.settings import Settings
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.planfile import PlanHead, save_plan
from ds3tool.jobs.run import Run, RunResult
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.cli.surplus import Surplus
    from ds3tool.jobs.media import MediaNeeded


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """One object that would be moved, in which of the jobs, and what it would be called at a get's target."""

    key: str
    size: int
    job: int
    name: str | None


@dataclass(slots=True)
class Preview:
    """What a run would do, as far as it has been planned."""

    type: JobType
    jobs: list[tuple[str, int, int]] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    media: MediaNeeded | None = None
    saved: str | None = None
    surplus: Sequence[Surplus] = ()


PLANNED_FIELDS: list[Field[PlannedObject]] = [
    Field("key", lambda planned: planned.key),
    Field("size", lambda planned: planned.size),
    Field("status", lambda _: "planned"),
    Field("job", lambda planned: planned.job),
    Field("name", lambda planned: planned.name),
]


SURPLUS_FIELDS: list[Field[Surplus]] = [
    Field("key", lambda one: one.name),
    Field("size", lambda one: one.size),
    Field("status", lambda _: "to delete"),
]


def _preview_fields(result: RunResult) -> list[Field[Preview]]:
    fields: list[Field[Preview]] = [
        Field("dry_run", lambda _: True),
        Field(
            "jobs",
            lambda preview: [{"name": name, "objects": objects, "bytes": size} for name, objects, size in preview.jobs],
        ),
        Field("objects", lambda preview: preview.objects),
        Field("bytes", lambda preview: preview.bytes),
        Field("skipped", lambda _: result.skipped),
        Field("to_delete", lambda preview: len(preview.surplus)),
        Field("failed", lambda _: [transfer.failure_mapping(failure) for failure in result.failures]),
        Field("notes", lambda _: result.notes),
        Field("plan", lambda preview: preview.saved),
    ]
    return [*fields, Field("media", lambda preview: None if preview.media is None else preview.media.mapping())]


def show_plan(run: Run, trial: DryRun, settings: Settings, *, head: PlanHead, surplus: Sequence[Surplus] = ()) -> None:
    """Plan as `run` would, show it, and keep it where `trial` says; ends as the run would end for what cannot be done.

    `head` is what a later run needs to know beside the objects; `surplus` is what a sync would delete afterwards.
    """
    from ds3tool.jobs.media import MediaNeeded

    output = settings.results()
    preview = Preview(head.type, media=MediaNeeded() if head.type == JobType.GET else None)

    def watched() -> Iterator[PlannedJob]:
        for plan in run.plans():
            _take(preview, plan)
            if preview.media is not None:
                preview.media.add(run.client, plan)
            _show_objects(output, plan, len(preview.jobs), settings)
            yield plan

    if trial.save is None:
        deque(watched(), maxlen=0)
    else:
        save_plan(trial.save, head, watched())
        preview.saved = trial.save
    preview.surplus = surplus
    _show_surplus(output, surplus, settings)
    _show(output, preview, run.result, settings)


def _take(preview: Preview, plan: PlannedJob) -> None:
    preview.jobs.append((plan.name, len(plan), plan.bytes))
    preview.objects += len(plan)
    preview.bytes += plan.bytes


def _show_objects(output: Output, plan: PlannedJob, job: int, settings: Settings) -> None:
    if output.shape is OutputFormat.NDJSON:
        for number, key in enumerate(plan.keys):
            name = plan.target_names[number] if plan.target_names else None
            output.event(PlannedObject(key, plan.sizes[number], job, name), PLANNED_FIELDS)
    elif output.shape is OutputFormat.TABLE and not settings.quiet:
        verb = _VERBS[plan.type]
        output.lines(f"would {verb} {format_size(plan.sizes[n]):>10}  {_shown(plan, n)}" for n in range(len(plan)))


def _show_surplus(output: Output, surplus: Sequence[Surplus], settings: Settings) -> None:
    for one in surplus:
        output.event(one, SURPLUS_FIELDS)
    if output.shape is OutputFormat.TABLE and not settings.quiet:
        output.lines(f"would delete {format_size(one.size):>7}  {one.name}" for one in surplus)


_VERBS = {JobType.PUT: "put", JobType.GET: "get"}


def _shown(plan: PlannedJob, number: int) -> str:
    key = plan.keys[number]
    if not plan.target_names or plan.target_names[number] == key:
        return key
    return f"{key} as {plan.target_names[number]}"


def _show(output: Output, preview: Preview, result: RunResult, settings: Settings) -> None:
    transfer.tell_troubles(result)
    error = transfer.error_of(result, "could not be planned")
    if output.shape is OutputFormat.TABLE:
        if not settings.quiet:
            for line in _summary(preview, result):
                output.line(line)
        if error is not None:
            output.end(error, exit_code=result.exit_code)
        return
    output.finish(preview, _preview_fields(result), error, exit_code=result.exit_code)


def _summary(preview: Preview, result: RunResult) -> Iterator[str]:
    what = f"{counted(preview.objects, 'object')}, {format_size(preview.bytes)}"
    parts = [f"would {_VERBS[preview.type]} {what}, in {counted(len(preview.jobs), 'job')}"]
    if result.skipped:
        parts.append(f"{result.skipped:,} skipped")
    if preview.surplus:
        parts.append(f"{len(preview.surplus):,} to delete")
    if result.failures:
        parts.append(f"{len(result.failures):,} would fail")
    yield "; ".join(parts)
    if preview.media is not None:
        yield from preview.media.sentences()
    if preview.saved is not None:
        yield f"kept in {preview.saved}; do it with: ds3tool plan run {preview.saved}"
