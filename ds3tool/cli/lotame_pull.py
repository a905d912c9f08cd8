"""`ds3tool lotame pull`: what is new in Lotame's feeds, as files of this host."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import NothingDoneError, SomeFailedError
from ds3tool.cli.interruption import stoppable
from ds3tool.cli.job_options import Transfers
from ds3tool.cli.lotame_options import LotameOptions
from ds3tool.cli.lotame_reach import Feed, SinceOptions, feed_of, files_of
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error, UsageError, worst_exit_code
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

if TYPE_CHECKING:
    from ds3tool.lotame.news import Gap
    from ds3tool.lotame.pull import Fetched, Pulled

EXAMPLES = (
    "ds3tool lotame pull /data/lotame",
    "ds3tool lotame pull /data/lotame --feed 9001 --hours 24",
)
_TRANSFERS = 4


def _gap_mapping(gap: Gap) -> dict[str, object]:
    return {"feed": gap.feed_id, "file": gap.place, "error": gap.error.message}


_FIELDS: list[Field[Pulled]] = [
    Field("files", lambda result: result.files),
    Field("bytes", lambda result: result.bytes),
    Field("skipped", lambda result: result.present),
    Field("feeds", lambda result: result.feeds),
    Field("failed", lambda result: [_gap_mapping(gap) for gap in result.gaps]),
    Field("seconds", lambda result: round(result.seconds, 3)),
]


@dataclass(frozen=True, slots=True)
class _Line:
    """One file of a run, for `-o ndjson`."""

    feed: int
    file: str
    size: int | None
    status: str
    error: str | None = None

    @classmethod
    def of(cls, one: Fetched | Gap) -> _Line:
        from ds3tool.lotame.pull import Fetched

        if isinstance(one, Fetched):
            return cls(one.file.feed_id, one.file.key, one.file.size, "skipped" if one.was_here else "done")
        return cls(one.feed_id, one.place, None, "failed", one.error.message)


_LINE_FIELDS: list[Field[_Line]] = [
    Field("feed", lambda line: line.feed),
    Field("file", lambda line: line.file),
    Field("size", lambda line: line.size),
    Field("status", lambda line: line.status),
    Field("error", lambda line: line.error),
]


def pull(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the files go; made where there is none.")],
    *,
    feed: Feed = "all",
    when: SinceOptions,
    transfers: Transfers = None,
    error_if_nothing: Annotated[
        bool, typer.Option("--error-if-nothing", metavar="", help="Exit with 9 when nothing came.")
    ] = False,
    lotame: LotameOptions,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Fetch what is new in a feed, or in all, into a folder: each file once, whole, under the key of an archive.

    What was had is remembered for each DIR: a run asks for what came since the last one whose files were all had, with
    some overlap, and leaves out what it knows by feed, name and ETag. So a run that is late or missed loses nothing,
    and a second one fetches nothing twice. A file that Lotame lists and that is gone, or that is gzip cut short, is
    named, the exit code is 3, and the next run asks for it again. The answer, without credentials, and the mapping
    file are kept beside the files.
    """
    from ds3tool.lotame.news import News
    from ds3tool.lotame.pull import Puller
    from ds3tool.lotame.watermark import Watermarks

    wanted, since = feed_of(feed), when.moment()
    folder = os.path.abspath(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"{folder} is no folder")
    results, stopped = settings.results(), threading.Event()
    with (
        lotame.reach(settings).client(stopped) as client,
        Watermarks.open(settings.state_path, folder) as marks,
    ):
        puller = Puller(
            News(client, files_of(aws), marks, feed=wanted, since=since),
            marks,
            folder,
            transfers=transfers or _TRANSFERS,
            stopped=stopped,
            on_outcome=lambda one: results.event(_Line.of(one), _LINE_FIELDS),
        )
        with stoppable(stopped.set, under_way=lambda: True):
            result = puller.run()
    _show(result, settings, error_if_nothing=error_if_nothing)


def _show(result: Pulled, settings: Settings, *, error_if_nothing: bool) -> None:
    for gap in result.gaps:
        messages.warn(gap.error.message)
    error = _error(result, error_if_nothing=error_if_nothing)
    codes = {gap.error.exit_code if gap.error.exit_code == 5 else 3 for gap in result.gaps}
    if error is not None:
        codes.add(error.exit_code)
    exit_code = worst_exit_code(codes)
    if settings.output is not OutputFormat.TABLE:
        settings.results().finish(result, _FIELDS, error, exit_code=exit_code)
        return
    if not settings.quiet:
        settings.results().line(_summary(result))
    if error is not None:
        settings.results().end(error, exit_code=exit_code)


def _error(result: Pulled, *, error_if_nothing: bool) -> Ds3Error | None:
    if result.stopped is not None:
        result.stopped.hint = result.stopped.hint or "what came is kept and known; run the command again for the rest"
        return result.stopped
    if result.gaps:
        return SomeFailedError(
            f"{counted(len(result.gaps), 'file')} could not be had; each is named above",
            hint="the next run asks for them again",
        )
    if error_if_nothing and not result.files:
        return NothingDoneError("nothing came: there was nothing new")
    return None


def _summary(result: Pulled) -> str:
    came, took = f"{counted(result.files, 'file')}, {format_size(result.bytes)}", format_duration(result.seconds)
    parts = [f"{came}, of {counted(result.feeds, 'feed')} in {took}"]
    if result.present:
        parts.append(f"{result.present:,} here already")
    if result.gaps:
        parts.append(f"{len(result.gaps):,} missing")
    return "; ".join(parts)
