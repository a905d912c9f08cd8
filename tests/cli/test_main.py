"""The way in: versions, failures as sentences, exit codes, and what is not imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from ds3tool.cli import options, tree
from ds3tool.cli.settings import Settings
from ds3tool.errors import EXIT_CODES, ChecksumError, Ds3Error
from ds3tool.version import VERSION
from tests.cli.runner import Run, run

# What costs a tenth of a second or more to import, and no help page needs.
_HEAVY = (
    *("boto3", "botocore", "concurrent.futures", "google_crc32c", "platformdirs", "pydantic", "rich.progress"),
    *("sqlite3", "ssl", "tenacity", "tomlkit", "ds3tool.simulator"),
)


def external(*arguments: str, code: str | None = None, stdin: str | None = None) -> Run:
    """Run the program as its own process."""
    line = [sys.executable, *(["-c", code] if code is not None else ["-m", "ds3tool"]), *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DS3")}
    done = subprocess.run(line, capture_output=True, text=True, env=environ, input=stdin, timeout=60, check=False)
    return Run(arguments, done.returncode, done.stdout, done.stderr)


def test_the_version_is_told_without_loading_the_command_line() -> None:
    """--version is answered before anything is imported."""
    assert run("--version").expect().stdout == f"ds3tool {VERSION}\n"
    code = "import sys; from ds3tool.cli.main import main; main(['--version']); sys.exit('typer' in sys.modules)"
    external(code=code).expect()


def test_the_module_is_the_command() -> None:
    """`python -m ds3tool` is `ds3tool`, its exit codes included."""
    assert "No such command" in external("nonsense").expect(2).stderr


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["put", "--help"], ["sim", "serve", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """A help page does not wait for libraries that only a transfer needs."""
    code = (
        "import sys; from ds3tool.cli.main import main; code = main(sys.argv[1:]);"
        f"loaded = [name for name in {_HEAVY!r} if name in sys.modules]; sys.exit(code or ' '.join(loaded) or 0)"
    )
    external(*arguments, code=code).expect()


def test_a_commands_module_is_loaded_only_when_it_is_asked_for() -> None:
    """`ds3tool ls` does not import what `sim` is made of."""
    code = (
        "import sys; from ds3tool.cli.main import main; main(['ls', '--help']);"
        "sys.exit('ds3tool.cli.sim' in sys.modules or 'ds3tool.cli.ls' not in sys.modules)"
    )
    external(code=code).expect()


def test_garbage_is_collected_while_a_command_runs() -> None:
    """What the process puts off while it imports goes on before the command does; what was imported stays out of it."""
    code = (
        "import gc, sys; from ds3tool.cli.main import main; sys.argv[1:] = ['config', 'path'];"
        "sys.exit(main() or not gc.isenabled() or not gc.get_freeze_count())"
    )
    external(code=code).expect()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Make `ds3tool config path` raise the exception in the list."""
    failures: list[BaseException] = []
    app = typer.Typer(add_completion=False)

    def path(*, settings: Settings) -> None:
        """Fail."""
        del settings
        raise failures[0]

    options.command(app, "path", examples=["ds3tool config path"])(path)
    module = type(sys)("tests.cli.broken_command")
    module.app = app  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, "tests.cli.broken_command", module)
    monkeypatch.setitem(tree.COMMANDS, "broken", ("tests.cli.broken_command", "Test"))
    return failures


def test_an_error_is_a_sentence_with_its_way_out_and_its_exit_code(broken: list[BaseException]) -> None:
    """The message and the hint go to stderr, nothing to stdout, and the exit code is the error's."""
    broken.append(
        ChecksumError("a\x1bb: the bytes are wrong", key="a", offset=0, expected="x", actual="y", hint="get it again")
    )
    told = run("broken").expect(5)
    assert told.stdout == ""
    assert told.stderr == "ds3tool: a\\eb: the bytes are wrong\nhint: get it again\n"


def test_an_error_is_one_json_document_on_stdout(broken: list[BaseException]) -> None:
    """A script reads code, exit code, message, hint and request id."""
    broken.append(Ds3Error("it failed", hint="try"))
    assert run("broken", "-o", "json").expect(1).json == {
        "error": {"code": "Failed", "exit_code": 1, "message": "it failed", "hint": "try", "request_id": None}
    }


def test_a_surprise_is_one_line_and_not_a_traceback(broken: list[BaseException]) -> None:
    """What nobody thought of is told in a line; the traceback is there for who asks with -vv."""
    broken.append(ZeroDivisionError("by zero"))
    told = run("broken").expect(1)
    assert told.stderr.splitlines()[0] == "ds3tool: unexpected failure: ZeroDivisionError: by zero"
    assert "Traceback" not in told.stderr
    assert "Traceback" in run("broken", "-vv").expect(1).stderr
    assert run("broken", "-o", "json").expect(1).json["error"]["exit_code"] == 1


def test_an_interruption_ends_with_130(broken: list[BaseException]) -> None:
    """Ctrl-C is not a failure of its own."""
    broken.append(KeyboardInterrupt())
    assert run("broken").expect(130).stderr == "ds3tool: interrupted\n"
    error = run("broken", "-o", "json").expect(130).json["error"]
    assert (error["code"], error["exit_code"]) == ("Interrupted", 130)


def test_a_broken_connection_is_not_mistaken_for_a_closed_stdout(broken: list[BaseException]) -> None:
    """A BrokenPipeError that is not stdout's is a failure that is told."""
    broken.append(BrokenPipeError(32, "Broken pipe"))
    assert "unexpected failure: BrokenConnectionError: [Errno 32] Broken pipe" in run("broken").expect(1).stderr


def test_a_reader_that_goes_early_ends_the_command_quietly() -> None:
    """`ds3tool ... | head` leaves no complaint behind."""
    line = [sys.executable, "-m", "ds3tool", "--help"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        told = process.stderr.read()
    assert process.wait() in (0, 1)
    assert told == ""


def test_ctrl_c_while_waiting_for_an_answer_leaves_no_traceback(tmp_path: Path) -> None:
    """A real interrupt in a real process ends with 130."""
    code = (
        "import os, signal, sys; from ds3tool.cli import main as m;"
        "m._command = lambda a, i: os.kill(os.getpid(), signal.SIGINT) or signal.pause();"
        "sys.exit(m.main(['ls']))"
    )
    told = external(code=code).expect(130)
    assert told.stderr == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not list(tmp_path.iterdir())


def walk() -> list[tuple[str, ...]]:
    """Every command and group, as the words that call it."""
    command = typer.main.get_command(tree.app)
    context = command.make_context("ds3tool", [], resilient_parsing=True)
    found: list[tuple[str, ...]] = [()]
    for name in tree.COMMANDS:
        child = command.get_command(context, name)  # type: ignore[attr-defined]  # typer's group has it
        found.append((name,))
        found += [(name, below) for below in getattr(child, "commands", {})]
    return found


def leaf(words: tuple[str, ...]) -> Any:  # noqa: ANN401 - the classes of commands are typer's private matter
    """The command that these words call."""
    command: Any = typer.main.get_command(tree.app)
    context = command.make_context("ds3tool", [], resilient_parsing=True)
    for word in words:
        command = command.get_command(context, word)
    return command


EVERY = walk()
GROUPS = {words[:1] for words in EVERY if len(words) > 1} | {()}


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example_that_calls_it(words: tuple[str, ...]) -> None:
    """Help says what a command does, and ends with lines that can be typed."""
    told = run(*words, "--help").expect().stdout
    assert told.splitlines()[3].strip(), told
    assert "--help" in told
    assert "-o" in told
    if words not in GROUPS:
        assert "Examples:" in told
        assert f"ds3tool {' '.join(words)}" in told.partition("Examples:")[2], told


@pytest.mark.parametrize("words", [words for words in EVERY if words not in GROUPS], ids=" ".join)
def test_every_example_is_understood(words: tuple[str, ...]) -> None:
    """Each example of a help page parses: its options exist and its arguments are enough."""
    examples = run(*words, "--help").expect().stdout.partition("Examples:")[2].partition("Exit codes:")[0]
    for line in filter(None, map(str.strip, examples.splitlines())):
        typed = _words_of(line)
        assert tuple(typed[: len(words)]) == words, line
        command = leaf(words)
        assert command.make_context(command.name, typed[len(words) :]), line


def _words_of(line: str) -> list[str]:
    import shlex

    words = shlex.split(line)
    if words[0] == "eval":
        words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
    assert words[0] == "ds3tool", line
    end = next((place for place, word in enumerate(words) if word in {"<", ">", "|"}), len(words))
    return words[1:end]


def test_help_says_what_may_stand_at_the_other_end_and_where_it_is_shown() -> None:
    """Whoever begins sees each kind of address, and finds the demo of the road from Lotame."""
    told = run("--help").expect().stdout.partition("Options")[0].split()
    assert {"ds3://BUCKET/KEY;", "s3://BUCKET/KEY,", "lotame://FEED."} <= set(told)
    assert "ds3tool demo lotame" in " ".join(run("demo", "--help").expect().stdout.split())


def test_the_exit_codes_stand_in_the_help() -> None:
    """The one table of exit codes is what --help shows."""
    told = " ".join(run("--help").expect().stdout.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_completes_commands_and_options(shell: str, tmp_path: Path) -> None:
    """A shell that asks for completions gets the commands that begin so."""
    environ = {"_DS3TOOL_COMPLETE": f"complete_{shell}", "HOME": str(tmp_path)}
    if shell == "bash":
        environ |= {"COMP_WORDS": "ds3tool ta", "COMP_CWORD": "1"}
    else:
        environ |= {"_TYPER_COMPLETE_ARGS": "ds3tool ta", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-m", "ds3tool"], env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert "tape" in done.stdout, done


def test_stdout_that_is_closed_is_no_surprise() -> None:
    """A caller that closed stdout before the start gets an exit code, not a traceback."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -m ds3tool config path >&- 2>&-'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_under_stdout_is_told() -> None:
    """A result that could not be written is a failure, not a success."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -m ds3tool config path > /dev/full'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    assert "No space left" in done.stderr


def test_json_errors_are_documents_in_a_real_process() -> None:
    """What a script sees of a failing process is one JSON document."""
    told = external("-o", "json", "ls", "--config", "/nonexistent/config.toml").expect(2)
    assert json.loads(told.stdout)["error"]["code"] == "Config"
