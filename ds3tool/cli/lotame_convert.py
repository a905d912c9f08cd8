"""`ds3tool lotame convert`: DataStream files as one table, CSV or NDJSON, streaming."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ds3tool.cli import messages
from ds3tool.cli.failures import SomeFailedError
from ds3tool.cli.output import Field, OutputFormat, counted, lost
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error, PathNotFoundError, SourceError, UsageError, worst_exit_code
from ds3tool.lotame.convert import BadLine, Converter, DamagedFileError, Form, read_mapping
from ds3tool.lotame.whole_file import WholeFile

if TYPE_CHECKING:
    from ds3tool.lotame.convert import Converted

# Where the files of all feeds lie below what was pulled: client, feed, region, type, day, hour.
_PULLED = "*/*/region=*/*/*/*/*.gz"

EXAMPLES = (
    "ds3tool lotame convert 0b7c2f2e.gz -f profiles.csv",
    f"ds3tool lotame convert pulled/{_PULLED} -f profiles.csv",
    "ds3tool lotame convert a.gz b.gz --mapping behaviors.json.gz --to ndjson",
    "ds3tool lotame convert - < behaviors.json.gz > behaviors.csv",
)

_STREAM = "-"
# So many bad lines are listed in the result; all of them are told on stderr.
_LISTED = 1000


class _Report:
    """What a conversion tells: each bad line as it is met, damaged files, and the counts at the end."""

    def __init__(self, done: Converted) -> None:
        self.done = done
        self.bad: list[BadLine] = []
        self.failed: list[tuple[str, Ds3Error]] = []

    def bad_line(self, line: BadLine) -> None:
        messages.warn(f"{line}: left out")
        if len(self.bad) < _LISTED:
            self.bad.append(line)

    def file_failed(self, name: str, error: Ds3Error) -> None:
        messages.warn(error.message)
        self.failed.append((name, error))

    def failures(self) -> list[dict[str, object]]:
        files = [(name, None, error.message) for name, error in self.failed]
        lines = [(one.file, one.line, one.reason) for one in self.bad]
        return [{"file": file, "line": line, "error": error} for file, line, error in [*files, *lines]]

    def summary(self) -> str:
        """Return the counts as a sentence."""
        done = self.done
        parts = [f"{counted(done.lines, 'line')} made {counted(done.rows, 'row')}"]
        if done.without_rows:
            parts.append(f"{done.without_rows:,} of them name no behaviour and made none")
        if done.bad:
            parts.append(f"{counted(done.bad, 'bad line')} left out")
        if done.unknown:
            names = ", ".join(f"{name} ({count:,})" for name, count in sorted(done.unknown.items()))
            parts.append(f"fields without a column: {names}")
        return "; ".join(parts)

    def error(self, *, kept: bool) -> Ds3Error | None:
        """Return what the command ends with; `kept`: a file that was to be written is as it was before."""
        if self.failed:
            name, first = self.failed[0]
            many = f"{counted(len(self.failed), 'file')} could not be read to the end" if self.failed[1:] else None
            message = f"{many}, the first: {first.message}" if many else first.message
            hint = "leave them out, or fetch them again" if self.failed[1:] else f"fetch {name} again, or leave it out"
            error: Ds3Error = DamagedFileError(message + ("; nothing was written" if kept else ""), hint=hint)
            if all(not isinstance(one, DamagedFileError) for _, one in self.failed):
                error = SourceError(error.message, hint=hint)
            return error
        if self.done.bad:
            return SomeFailedError(f"{counted(self.done.bad, 'line')} could not be converted; each is named above")
        return None


_FIELDS: list[Field[_Report]] = [
    Field("lines", lambda report: report.done.lines),
    Field("rows", lambda report: report.done.rows),
    Field("without_rows", lambda report: report.done.without_rows),
    Field("bad_lines", lambda report: report.done.bad),
    Field("unknown_fields", lambda report: report.done.unknown),
    Field("failed", lambda report: report.failures()),
]


def convert(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Files of a feed, gzip or plain, or - for stdin; mapping files.")
    ],
    *,
    to: Annotated[Form, typer.Option("--to", help="CSV with a header, or a JSON object a line.")] = Form.CSV,
    file: Annotated[
        str, typer.Option("-f", "--file", metavar="OUT", help="Where the table goes; - is stdout.")
    ] = _STREAM,
    mapping: Annotated[
        str | None,
        typer.Option("--mapping", metavar="FILE", help="A feed's mapping file: the paths of behaviours beside them."),
    ] = None,
    settings: Settings,
) -> None:
    """Make one table of DataStream files: a row for each behaviour that an event added to a profile or removed.

    All FILEs make one table, with its header once. It appears under its name when it is whole, in place of what was
    there, so that a second run doubles nothing. Of a mapping file each place of a behaviour in a hierarchy is a row.
    A line that is no profile is named with its number and left out, and the exit code is 3; of a gzip file that is cut
    short or damaged nothing appears, and the exit code is 5. Files are never unpacked as a whole.
    """
    _check(files, file, mapping)
    paths = None
    if mapping is not None:
        with _opened(mapping) as opened:
            paths = read_mapping(opened, mapping)
    with nullcontext() if file == _STREAM else WholeFile(file) as whole:
        converter = Converter(_stdout() if whole is None else whole.write, to, paths=paths)
        report = _Report(converter.done)
        for name in files:
            try:
                with _opened(name) as opened:
                    converter.add(opened, "stdin" if name == _STREAM else name, report.bad_line)
            except (DamagedFileError, SourceError) as error:
                report.file_failed(name, error)
        if not report.failed:
            converter.end()
            if whole is not None:
                whole.commit()
    _show(report, settings, on_stdout=whole is None)


def _show(report: _Report, settings: Settings, *, on_stdout: bool) -> None:
    error = report.error(kept=not on_stdout)
    exit_code = worst_exit_code({one.exit_code for _, one in report.failed} | ({3} if report.done.bad else set()))
    if on_stdout or settings.output is OutputFormat.TABLE:
        # The table itself has stdout, or people read.
        if on_stdout:
            messages.note(report.summary(), quiet=settings.quiet)
        elif not settings.quiet:
            settings.results().line(report.summary())
        if error is not None:
            settings.results().end(error, exit_code=exit_code)
        return
    settings.results().finish(report, _FIELDS, error, exit_code=exit_code)


def _check(files: list[str], out: str, mapping: str | None) -> None:
    """Raise a UsageError for files that are not there, stdin read twice, and an output that would replace an input."""
    if [*files, mapping].count(_STREAM) > 1:
        raise UsageError("stdin can be read only once")
    if _STREAM in (*files, mapping) and sys.stdin is None:
        raise UsageError("stdin was to be read, and stdin is closed")
    for name in filter(None, (*files, mapping)):
        if name == _STREAM:
            continue
        if not os.path.exists(name):
            raise PathNotFoundError(f"{name} is not there")
        if os.path.isdir(name):
            raise UsageError(
                f"{name} is a folder",
                hint=f"name the files in it: {os.path.join(name, '*.gz')}, or where pull has laid them: "
                f"{os.path.join(name, _PULLED)}",
            )
        if out != _STREAM and os.path.exists(out) and os.path.samefile(name, out):
            raise UsageError(f"{out} is one of the files to be read, and would be replaced", hint="name another file")
    if out != _STREAM and os.path.isdir(out):
        raise UsageError(f"{out} is a folder", hint="name a file")
    if out != _STREAM and os.path.exists(out) and not os.path.isfile(out):
        # A table appears in place of what was there, and a device or a pipe would be gone.
        raise UsageError(f"{out} is no file, and would be replaced by one", hint="write to stdout: -f -")


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    try:
        if name == _STREAM:
            yield sys.stdin.buffer
            return
        with open(name, "rb") as file:
            yield file
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or error}") from error


def _stdout() -> Callable[[bytes], None]:
    sys.stdout.flush()

    def write(data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
        except OSError as error:
            raise lost(error) from error

    return write
