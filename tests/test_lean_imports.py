"""A command imports what it is made of and nothing else: what is read here are the import statements of its modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ds3tool.cli.tree import COMMANDS

PACKAGE = Path(__file__).parent.parent / "ds3tool"
# What takes long to import, and is needed by some runs of a command at most: to reach S3, to show a bar, to dial by
# TLS, to open a journal, to repeat what failed.
HEAVY = frozenset(
    {
        "awscrt",
        "boto3",
        "botocore",
        "email",
        "google_crc32c",
        "http",
        "multiprocessing",
        "platformdirs",
        "pydantic",
        "rich",
        "s3transfer",
        "sqlite3",
        "tenacity",
        "tomlkit",
        "tomllib",
        "urllib3",
        "xml.dom",
        "xml.etree",
    }
)
# Commands that are made of others, or show what they find as others do.
MADE_OF = {
    "find": {"ls"},
    "plan": {"get", "put"},
    "resume": {"get", "put", "sync"},
    "s3": {"stat"},
    "sync": {"get", "put"},
    "tree": {"ls"},
}


def imported(module: str) -> Iterator[str]:
    """Yield the modules that importing `module` imports itself: not those in functions, nor those for type checkers."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    statements: list[ast.stmt] = list(ast.parse(path.read_text()).body)
    while statements:
        statement = statements.pop()
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = statement.module or ""
            for alias in statement.names:
                below = f"{base}.{alias.name}"
                yield below if is_ours(below) else base
        elif isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            statements += statement.orelse
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            statements += (each for each in ast.iter_child_nodes(statement) if isinstance(each, ast.stmt))


@cache
def is_ours(name: str) -> bool:
    package, *below_it = name.split(".")
    path = PACKAGE.joinpath(*below_it)
    return package == "ds3tool" and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


@cache
def below(module: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(imported(module)))


@cache
def reached(module: str) -> dict[str, str]:
    """Return every module that importing `module` imports, with the one that imports it first."""
    found = {module: ""}
    for each in (waiting := [module]):
        parts = each.split(".")
        parents = [".".join(parts[:count]) for count in range(1, len(parts))]
        for name in [*parents, *below(each)] if is_ours(each) else ():
            if name not in found:
                found[name] = each
                waiting.append(name)
    return found


def way_to(name: str, found: dict[str, str]) -> str:
    """Return the chain of imports that leads to a module."""
    return name if not found[name] else f"{way_to(found[name], found)} > {name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_nothing_heavy(command: str) -> None:
    """What only some runs need is imported by those runs: no help page waits for it."""
    found = reached(COMMANDS[command][0])
    heavy = [name for name in found if not HEAVY.isdisjoint((name, name.split(".")[0], ".".join(name.split(".")[:2])))]
    assert not heavy, [way_to(name, found) for name in heavy]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_no_other_command(command: str) -> None:
    """Each is a module of its own, but for those that are made of others."""
    found = reached(COMMANDS[command][0])
    others = [other for other, (module, _) in COMMANDS.items() if other != command and module in found]
    foreign = sorted(set(others) - MADE_OF.get(command, set()))
    assert not foreign, [way_to(COMMANDS[other][0], found) for other in foreign]


@pytest.mark.parametrize(
    ("command", "rooms"),
    [
        ("put", {"certification", "firehose", "lotame", "simulator", "sinks", "transport.tls", "bench"}),
        ("get", {"aws", "certification", "firehose", "lotame", "simulator", "transport.tls", "bench"}),
        ("ls", {"aws", "certification", "firehose", "jobs", "lotame", "simulator", "sinks", "sources", "bench"}),
    ],
)
def test_a_command_does_not_enter_rooms_it_does_not_need(command: str, rooms: set[str]) -> None:
    """A put of local files makes nothing ready for S3, Lotame or a get; a listing nothing for moving."""
    found = reached(COMMANDS[command][0])
    names = {"ds3tool." + room for room in rooms}
    entered = [name for name in found if any(name == room or name.startswith(f"{room}.") for room in names)]
    # An option's own words are no machinery.
    entered = [name for name in entered if name not in {"ds3tool.firehose", "ds3tool.firehose.error_prefixes"}]
    assert not entered, [way_to(name, found) for name in entered]


def test_a_put_or_get_that_goes_well_asks_no_library_for_folders_and_reads_no_refusals() -> None:
    """What is said of errors, and where other systems keep settings, is imported by who meets them."""
    for command in ("put", "get"):
        found = reached(COMMANDS[command][0])
        for name in ("ds3tool.protocol.refusals", "csv", "getpass", "shlex", "platformdirs"):
            assert name not in found, way_to(name, found)
    assert "ds3tool.protocol.refusals" not in reached("ds3tool.protocol.responses")


def test_a_get_that_begins_anew_prepares_for_no_other() -> None:
    """What looks at what an earlier run has left is imported by a run that goes on."""
    found = reached(COMMANDS["get"][0])
    for name in ("concurrent.futures", "ds3tool.jobs.get_resume", "secrets"):
        assert name not in found, way_to(name, found)


@pytest.mark.parametrize("command", ["put", "get", "ls"])
def test_options_are_declared_as_values(command: str) -> None:
    """Where annotations are text, each option would be compiled at every start: Typer asks for its value."""
    ours = [PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py") for name in reached(COMMANDS[command][0])]
    text = {path: path.read_text() for path in [*ours, PACKAGE / "cli" / "tree.py"] if path.is_file()}
    declaring = {path for path, lines in text.items() if re.search(r"typer\.(Option|Argument)\(", lines)}
    assert {PACKAGE / "cli" / name for name in ("options.py", "tree.py", f"{command}.py")} <= declaring
    assert not {path for path in declaring if "from __future__ import annotations" in text[path]}


def test_an_import_is_found_wherever_importing_runs_it() -> None:
    """Statements in branches and tries count, those in functions and under TYPE_CHECKING do not."""
    assert "ds3tool.cli.settings" in below("ds3tool.cli.put")
    assert "platformdirs" not in below("ds3tool.profiles")
    assert "ds3tool.jobs.work_head" not in below("ds3tool.cli.put_sources")
