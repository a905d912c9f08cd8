"""Imports point one way: each room knows those below it and no other; a broken arrow is named with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

# What each room may import of this package, beside itself. A room is a folder or a module of `ds3tool`.
LOWEST = frozenset({"errors", "lazy_dataclass"})
LEAVES = LOWEST | {"sizes", "addresses", "version", "clock", "filters", "renaming", "user_folders"}
ALLOWED: Mapping[str, frozenset[str]] = {
    "errors": frozenset(),
    "lazy_dataclass": frozenset(),
    "sizes": LOWEST,
    "addresses": LOWEST,
    "version": LOWEST,
    "clock": LOWEST,
    "filters": LOWEST | {"sizes"},
    "renaming": LOWEST,
    "user_folders": LOWEST,
    "protocol": LEAVES,
    "transport": LEAVES | {"protocol"},
    "profiles": LEAVES | {"transport"},
    "calls": LEAVES | {"protocol", "transport"},
    "sdk_settings": LEAVES | {"transport"},
    "client": LEAVES | {"protocol", "transport", "profiles", "calls", "sdk_settings"},
    "jobs": LEAVES | {"protocol", "transport", "client"},
    "aws": LEAVES,
    "lotame": LEAVES | {"aws"},
    "firehose": LEAVES | {"aws"},
    "sources": LEAVES | {"protocol", "transport", "client", "jobs", "aws", "lotame", "firehose"},
    "sinks": LEAVES | {"protocol", "transport", "client", "jobs", "aws"},
    "certification": LEAVES | {"protocol", "transport", "client", "jobs", "sinks"},
    "bench": LEAVES | {"protocol", "transport", "client", "jobs", "sinks"},
    "simulator": LOWEST | {"sizes", "version", "clock", "protocol"},
    "cli": LEAVES
    | {"protocol", "transport", "profiles", "client", "jobs", "sources", "sinks", "aws", "lotame", "firehose"}
    | {"certification", "bench"},
    "__main__": frozenset({"cli"}),
    "": LEAVES | {"protocol", "transport", "profiles", "client", "jobs", "sources", "sinks", "aws"},
}
REASONS: Mapping[str, str] = {
    "errors": "errors is a leaf: every room stands on it",
    "lazy_dataclass": "how a class is made knows nothing of what it is for",
    "sizes": "a leaf knows errors only, so that every room can use it",
    "addresses": "a leaf knows errors only, so that every room can use it",
    "version": "a leaf knows errors only, so that every room can use it",
    "clock": "a leaf knows errors only, so that every room can use it",
    "filters": "a leaf knows what sizes and ages are, and nothing of what is filtered",
    "user_folders": "a leaf knows errors only, so that every room can use it",
    "renaming": "a leaf knows errors only, so that every room can use it",
    "protocol": "protocol makes values of values: no sockets, files or jobs in it",
    "transport": "transport carries requests and does not know what they are for",
    "profiles": "profiles resolve settings; who uses them stands above",
    "calls": "a call is a request and what its reply means: it knows no loops, files or progress",
    "sdk_settings": "settings are read from another object, and who uses them stands above",
    "client": "client is one method per call: it knows no loops, files or progress",
    "jobs": "jobs declares what sources and sinks implement, and shows nothing to anybody",
    "aws": "what boto3 does for us, wrapped in one typed place: it knows nothing of the appliance",
    "lotame": "Lotame's API and its files, and nothing of the appliance",
    "firehose": "delivery streams and what they deliver, and nothing of the appliance",
    "sources": "a source is what jobs asks for, and knows no sink and no terminal",
    "sinks": "a sink is what jobs asks for, and knows no source and no terminal",
    "certification": "certification tries any appliance through client and jobs: the one in a box is one of many",
    "bench": "a measurement runs puts and gets as anybody's, and shows nothing to anybody",
    "simulator": "the appliance shares words with the client and no code, so that no misreading is in both",
    "cli": "commands parse, call and show; the appliance in a box is opened by `sim` and `demo` alone",
    "__main__": "the program's start calls the command line",
    "": "the library is used without a terminal, and without an appliance in a box",
}
# Of protocol, the simulator shares the words and the types; the codecs are the client's own.
SIMULATOR_SHARES = frozenset(
    {"protocol", "protocol.appliance_model", "protocol.media_model", "protocol.model", "protocol.names"}
)
OPEN_THE_SIMULATOR = ("cli.sim", "cli.sim_certify", "cli.demo", "cli.demo_lotame")
# HTTP is spoken by transport itself; these would be a second way of doing it.
FOREIGN_HTTP = ("http.client", "urllib.request", "requests", "urllib3", "httpx", "aiohttp")


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: the module it stands in, the module it names, and the line. Without `ds3tool.`."""

    by: str
    of: str
    line: int
    foreign: bool


def imports_of(source: str, module: str, modules: frozenset[str], *, package: bool = False) -> Iterator[Import]:
    """Yield every import in `source`, those inside functions and under TYPE_CHECKING too.

    `module` is the importing module's dotted name without `ds3tool`, `modules` those that exist.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = ("ds3tool." + module).rstrip(".").split(".")
                kept = parts[: len(parts) - node.level + (1 if package else 0)]
                base = ".".join([*kept, base] if base else kept)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                inside = name.removeprefix("ds3tool.") in modules
                yield _import(module, name if inside else base, node.lineno)


def _import(by: str, name: str, line: int) -> Import:
    ours = name == "ds3tool" or name.startswith("ds3tool.")
    return (
        Import(by, name.removeprefix("ds3tool").removeprefix("."), line, not ours)
        if ours
        else Import(by, name, line, True)
    )


def room_of(module: str) -> str:
    return module.partition(".")[0]


def broken_arrow(one: Import) -> str | None:
    """Return what is wrong with an import, None when nothing is."""
    room, other = room_of(one.by), room_of(one.of)
    where = f"{one.by or '__init__'}:{one.line} imports {one.of or 'ds3tool'}"
    if one.foreign:
        if room in {"protocol", "transport"} and any(
            one.of == name or one.of.startswith(f"{name}.") for name in FOREIGN_HTTP
        ):
            return f"{where}: transport is the one place that speaks HTTP, and does it itself"
        return None
    if room == other:
        return None
    if other == "simulator" and one.by in OPEN_THE_SIMULATOR:
        return None
    if other not in ALLOWED[room]:
        return f"{where}: {REASONS[room]}"
    if room == "simulator" and other == "protocol" and one.of not in SIMULATOR_SHARES:
        return f"{where}: {REASONS[room]}"
    return None


def modules_of(package: Path) -> dict[str, Path]:
    """Return every module below `package` by its dotted name; a folder's `__init__` has the folder's."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@pytest.fixture
def modules(project: Path) -> dict[str, Path]:
    return modules_of(project / "ds3tool")


def test_no_arrow_is_broken(modules: dict[str, Path]) -> None:
    """Every import in the package points to a room that its own may know."""
    known = frozenset(modules)
    broken = [
        message
        for module, path in modules.items()
        for one in imports_of(path.read_text(), module, known, package=path.name == "__init__.py")
        if (message := broken_arrow(one)) is not None
    ]
    assert not broken, "\n" + "\n".join(broken)


def test_every_room_has_its_place(modules: dict[str, Path]) -> None:
    """A new room, or a new module beside the rooms, is first given its place in the table of this file."""
    assert {room_of(module) for module in modules} - set(ALLOWED) == set()
    assert set(ALLOWED) == set(REASONS)


def test_rooms_make_no_circle() -> None:
    """No room can be reached from itself: the table of what is allowed is an order."""
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        free = {room for room, below in ALLOWED.items() if room not in done and below <= done}
        assert free, f"a circle among {set(ALLOWED) - done}"
        done |= free


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("protocol.requests", "import ds3tool.transport.pool", "no sockets"),
        ("protocol.requests", "from ds3tool.transport import pool", "no sockets"),
        ("protocol.requests", "from ds3tool import client", "no sockets"),
        ("protocol.requests", "from ..client import Ds3Client", "no sockets"),
        ("protocol.requests", "def f():\n    from ds3tool.jobs import plan", "no sockets"),
        ("transport.pool", "import http.client", "speaks HTTP"),
        ("transport.pool", "from urllib3 import PoolManager", "speaks HTTP"),
        ("transport.pool", "import requests.adapters", "speaks HTTP"),
        ("transport.pool", "from ds3tool.client import Ds3Client", "does not know"),
        ("client", "from ds3tool.jobs.plan import PlannedJob", "no loops"),
        ("jobs.put", "from ds3tool.sources.local import LocalSource", "declares"),
        ("jobs.put", "from ds3tool.cli import output", "declares"),
        ("sinks.local", "from ds3tool.sources.local import LocalSource", "no source"),
        ("simulator.http", "from ds3tool.protocol.requests import put_object", "no code"),
        ("simulator.http", "from ds3tool.protocol import xmlcodec", "no code"),
        ("simulator.http", "from ds3tool.client import Ds3Client", "no code"),
        ("cli.put", "from ds3tool.simulator import Appliance", "`sim` and `demo` alone"),
        ("certification.taping", "from ds3tool.simulator import Appliance", "one of many"),
        ("jobs.put", "from ds3tool.simulator import Appliance", "declares"),
        ("sizes", "from ds3tool.clock import Clock", "a leaf"),
        ("errors", "from ds3tool.sizes import format_size", "a leaf"),
    ],
)
def test_broken_arrow_is_named_with_its_reason(module: str, source: str, reason: str) -> None:
    """An import that points the wrong way is found wherever it stands, and the message says why it is wrong."""
    known = frozenset({"client", "transport.pool", "jobs.plan", "protocol.xmlcodec", "cli.output"})
    (message,) = [text for one in imports_of(source, module, known) if (text := broken_arrow(one)) is not None]
    assert message.startswith(f"{module}:")
    assert reason in message


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli.sim", "from ds3tool.simulator import Appliance"),
        ("cli.demo", "def f():\n    from ds3tool.simulator import Appliance"),
        ("simulator.http", "from ds3tool.protocol import names"),
        ("simulator.http", "from ds3tool.protocol.model import Job"),
        ("cli.put", "from ds3tool.jobs.put import PutRun\nimport requests"),
        ("protocol.requests", "from .model import Job\nfrom . import names\nfrom ..errors import UsageError"),
    ],
)
def test_allowed_import_is_not_complained_of(module: str, source: str) -> None:
    """An import that points the right way is no finding."""
    known = frozenset({"protocol.names", "protocol.model", "errors", "simulator", "jobs.put"})
    assert [broken_arrow(one) for one in imports_of(source, module, known)] == [None] * (
        len(list(imports_of(source, module, known)))
    )
