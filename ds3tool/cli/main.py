"""The way in: runs the command and turns every failure into one sentence and an exit code."""

from __future__ import annotations

import gc
import os
import sys

# `--version` and the top-level help import nothing they do not need, typing neither; mypy knows the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from logging import Logger
    from typing import Any

    from ds3tool.cli.options import Invocation
    from ds3tool.cli.output import Output
    from ds3tool.errors import Ds3Error

INTERRUPTED = 130
_FAILED = 1
# What asks for the top-level help, and the exit code it ends with; without a command the line is wrong.
_ROOT_HELP = {("--help",): 0, ("-h",): 0, (): 2}
# `-o json`, `-ojson`, `-qo json`, `--output json`, `--output=json`.
_OUTPUT_OPTION = r"--output(?:=(?P<long>.*))?|-[qvy]*o(?P<short>.*)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (without the program's name) and return its exit code.

    Without `arguments` it is the whole of the process, which ends after it.
    """
    if arguments is not None:
        return _main(list(arguments))
    # Importing makes no garbage worth a search: until the command begins, and after it, the collector only costs.
    gc.disable()
    try:
        return _main(sys.argv[1:])
    finally:
        gc.freeze()


def _main(arguments: list[str]) -> int:
    for name in ("stdout", "stderr"):
        # Python has none where the caller closed it.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends
    if arguments[:1] == ["--version"]:
        from ds3tool.version import VERSION

        return _tell(f"ds3tool {VERSION}\n")
    if (asked := _ROOT_HELP.get(tuple(arguments))) is not None:
        from ds3tool.cli.root_help import root_help

        page = root_help(sys.stdout, os.environ)
        if page is not None:
            return _tell(page) or asked
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _tell(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"ds3tool: stdout cannot be written: {error.strerror}\n")
        _drop_stdout()
        return _FAILED
    return 0


def _run(arguments: list[str]) -> int:
    from ds3tool.cli import messages
    from ds3tool.cli.options import Invocation
    from ds3tool.cli.output import OutputClosedError, OutputLostError, ShownError
    from ds3tool.errors import Ds3Error

    invocation = Invocation(arguments=tuple(arguments))
    exit_code = _FAILED
    try:
        try:
            code = _command(arguments, invocation)
            _results(arguments, invocation).flush()
            return code
        except ShownError as shown:
            messages.complain(shown.error)
            exit_code = shown.exit_code
            _results(arguments, invocation).flush()
            return exit_code
        except (OutputClosedError, OutputLostError):
            raise
        except Ds3Error as error:
            _log().debug("the command failed", exc_info=True)
            return _report(error, _results(arguments, invocation))
        except Exception as error:  # noqa: BLE001 - the last place that can turn a surprise into a sentence
            return _report(_unexpected(error, invocation), _results(arguments, invocation))
    except OutputClosedError:
        _drop_stdout()
        return _FAILED
    except OutputLostError as lost:
        messages.complain(lost)
        _drop_stdout()
        return exit_code


def _log() -> Logger:
    import logging

    return logging.getLogger(__name__)


def _drop_stdout() -> None:
    # What is still buffered would fail again when python closes it, and python would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(arguments: list[str], invocation: Invocation) -> int:
    import typer.main

    from ds3tool.cli.tree import app
    from ds3tool.errors import InterruptedRunError, UsageError

    # Usage errors are typer's own class, whose home differs between its releases.
    usage_error: Any = typer.BadParameter.__mro__[1]
    try:
        result = typer.main.get_command(app).main(
            args=arguments, prog_name="ds3tool", standalone_mode=False, obj=invocation
        )
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            # Its message is the help, which has been printed.
            return UsageError.exit_code
        path = error.ctx.command_path if error.ctx is not None else "ds3tool"
        hint = f"see: {path} --help"
        if type(error).__name__ == "MissingParameter" and error.ctx is not None:
            # Of several arguments the parser misses the first, though people have left out the last.
            pieces = [piece for piece in error.ctx.command.collect_usage_pieces(error.ctx) if piece != "[OPTIONS]"]
            hint = f"it takes: {' '.join([path, *pieces])}; {hint}"
        # Some releases of typer put the name of an exception into the sentence.
        raise UsageError(error.format_message().replace("Value error, ", ""), hint=hint) from error
    except typer.Abort as error:
        raise UsageError(
            "no answer was given, so nothing was done", hint="answer on a terminal, or add --yes"
        ) from error
    if result == InterruptedRunError.exit_code:
        # Typer's own answer to Ctrl-C, while it was still reading the command line.
        raise InterruptedRunError("interrupted")
    return result if isinstance(result, int) else 0


def _report(error: Ds3Error, results: Output) -> int:
    from ds3tool.cli import messages

    messages.complain(error)
    results.error(error)
    results.flush()
    return error.exit_code


def _unexpected(error: Exception, invocation: Invocation) -> Ds3Error:
    from ds3tool.errors import Ds3Error

    _log().info("unexpected failure", exc_info=True)
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    verbose = invocation.settings is not None and invocation.settings.verbosity > 1
    hint = None if verbose else "this should not happen; run it again with -vv to see where, and report it"
    return Ds3Error(f"unexpected failure: {told}", hint=hint)


def _results(arguments: Sequence[str], invocation: Invocation) -> Output:
    """Where a failure's document goes; before the options were understood, by the look of the command line."""
    from ds3tool.cli.output import Output, OutputFormat

    if invocation.settings is not None:
        return invocation.settings.results()
    asked = _asked_output(arguments) or os.environ.get("DS3TOOL_OUTPUT", "")
    known = {shape.value: shape for shape in OutputFormat}
    return Output(known.get(asked, OutputFormat.TABLE), sys.stdout)


def _asked_output(arguments: Sequence[str]) -> str | None:
    import re

    asked = None
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        match = re.fullmatch(_OUTPUT_OPTION, argument)
        if match is not None:
            following = arguments[position + 1] if position + 1 < len(arguments) else None
            asked = match["long"] or (match["short"] or "").lstrip("=") or following
    return asked


if __name__ == "__main__":
    sys.exit(main())
