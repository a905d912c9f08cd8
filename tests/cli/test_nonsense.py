"""Nonsense on the command line, for every option of every command: a sentence, exit code 2, and nothing is sent."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.cli.runner import Run, run
from tests.cli.test_main import EVERY, GROUPS, leaf

HUGE = "9" * 5000
SIZES = ("", "-1", "M", "1e9", "nan", "inf", "0x10", "1 0", "٣", HUGE, "9" * 400 + ".5K", "\udcff", "\x1b[31m")
MOMENTS = ("", "-1", "99999-01-01", "2024-13-01", "yesterday", "inf", HUGE, HUGE + "d", "2024-01-01T25:00")
COUNTS = ("", "-1", "0", "x", "1.5", "nan", HUGE, "٣x")
RANGES = ("", ":", "-1:5", "5:-1", "5:0", "a:b", "0:" + HUGE, "5", ":5", "0:1:2")
META = ("", "=x", "x=", "x", "ds3-x=1", "x=\udcff", "ds3tool-name=x")
PATTERNS = ("", "/")
ANY_CHOICE = ("", "nonsense", "\udcff", "\x1b[31m")
MISSING = ("/no/such/file", "/")
ADDRESSES = ("", "ds3://", "ds3:///x", "s3://b/x", "lotame://all", "ds3://b c/x", "ds3://" + "b" * 64, "ds3://\udcff/x")

# What no such option can mean, by its name; of those that are not named here any text may be meant.
NONSENSE: dict[str, tuple[str, ...]] = {
    "--min-size": SIZES,
    "--max-size": SIZES,
    "--max-job-size": (*SIZES, "0"),
    "--max-upload-size": (*SIZES, "0"),
    "--spool-max": SIZES,
    "--size": SIZES,
    "--bwlimit": (*SIZES, "0", "0/s"),
    "--max-retry-time": ("", "-1", "x", "1h-5m", HUGE + "d", "inf", "nan"),
    "--newer": MOMENTS,
    "--older": MOMENTS,
    "--transfers": (*COUNTS, "65"),
    "--rounds": (*COUNTS, "101"),
    "--max-job-objects": (*COUNTS, "500001"),
    "--depth": ("", "-1", "x", "1.5"),
    "--range": RANGES,
    "--version-id": ("", " "),
    "--meta": META,
    "--include": PATTERNS,
    "--exclude": PATTERNS,
    "--name": PATTERNS,
    "--job-name": ("", "a\nb", "\x1b[31m", "x" * 201, "\udcff"),
    "--priority": ("", "CRITICAL", "nonsense"),
    "--if-exists": ANY_CHOICE,
    "--checksum": ANY_CHOICE,
    "--symlinks": ANY_CHOICE,
    "--on-error": ANY_CHOICE,
    "--wait": ANY_CHOICE,
    "--output": ANY_CHOICE,
    "--progress": ANY_CHOICE,
    "--log-format": ANY_CHOICE,
    "--files-from": MISSING,
    "--rename-map": MISSING,
    "--failed-to": ("", "/no/such/folder/x", "/"),
    "--notify": ("", "alerts", "sns:", "sns:alerts", "sns:arn:aws:s3:::b", "\udcff"),
    "--expires": ("", "0s", "8d", "-1", "x", HUGE),
    "--phone": ("", "0151", "+0", "+49 151", HUGE),
    "--s3-endpoint": ("h", "ftp://h", "http://", "http://me:x@h"),
    "--method": ANY_CHOICE,
    "--set": ANY_CHOICE,
    "--endpoint": ("http://", "ftp://h", "http://h:99999", "http://h:x", "http://h/path?x", "::"),
}
LEAVES = [words for words in EVERY if words not in GROUPS]
# These talk to no appliance, or are one.
OFFLINE = {("demo",), ("config",), ("sim",), ("doctor",)}


class Counting(http.server.ThreadingHTTPServer):
    """Refuses everything, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Counting

    def _refuse(self) -> None:
        self.server.asked.append(self.requestline)
        self.send_response_only(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _refuse  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[Counting]:
    server = Counting()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def environ(refusing: Counting, tmp_path: Path) -> dict[str, str]:
    """An appliance that counts, and a tree to put."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x")
    refusing.asked.clear()
    return {
        "DS3_ENDPOINT": f"http://127.0.0.1:{refusing.server_address[1]}",
        "DS3_ACCESS_KEY": "id",
        "DS3_SECRET_KEY": "hunter2",
        "DS3TOOL_CONFIG": str(tmp_path / "none.toml"),
        "DS3TOOL_STATE_DIR": str(tmp_path / "state"),
        "DS3TOOL_MAX_RETRY_TIME": "0s",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{refusing.server_address[1]}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "hunter3",
    }


def arguments_of(words: tuple[str, ...], option: str, tree: str) -> list[str]:
    """Return arguments with which the command would begin to work, were it not for the option."""
    if words[0] == "bench":
        return ["ds3://b/x/", "--yes"]
    if option == "--size":
        return ["-", "ds3://b/x"]
    if option == "--s3-endpoint" and words[-1] in ("put", "get"):
        return ["s3://b/x/", "ds3://b"] if words[-1] == "put" else ["ds3://b/x/", "s3://b/"]
    if words[-1] == "get":
        return ["ds3://b/x", f"{tree}/there"]
    if words[-1] in ("put", "sync"):
        return [tree, "ds3://b"]
    if words == ("s3", "cp"):
        return ["s3://b/x", "s3://c/x"]
    if words == ("sns", "publish"):
        return ["message"]
    found = []
    for parameter in leaf(words).params:
        if parameter.param_type_name == "argument":
            told = parameter.make_metavar(None) if parameter.metavar is None else parameter.metavar
            scheme = "s3" if told.startswith("s3:") else "ds3"
            if "BUCKET" in told and "KEY" not in told:
                found.append(f"{scheme}://b")
            elif "TOPIC" in told or "SUBSCRIPTION" in told:
                found.append("arn:aws:sns:eu-west-1:123456789012:alerts")
            else:
                found.append(f"{scheme}://b/x" if "s3:" in told else "id")
    return found


def options_of(words: tuple[str, ...]) -> list[str]:
    return [one.opts[0] for one in leaf(words).params if one.param_type_name == "option" and not one.is_flag]


def check(told: Run, asked: list[str]) -> None:
    """Fail unless the command was refused as a mistake of whoever typed it, in one clear sentence."""
    # A path that is not there has a code of its own.
    assert told.exit_code in (2, 4), str(told)
    assert asked == [], str(told)
    assert told.stdout == "", str(told)
    assert "Traceback" not in told.stderr, str(told)
    assert "unexpected failure" not in told.stderr, str(told)
    assert "\x1b" not in told.stderr, str(told)
    said = [line for line in told.stderr.splitlines() if line.startswith("ds3tool: ")]
    assert len(said) == 1, str(told)
    assert len(said[0]) < 400, str(told)


# Every command takes these in one way; one command is enough.
SHARED = ("--endpoint", "--output", "--progress", "--log-format")
CASES = [
    (words, option)
    for words in LEAVES
    if words[:1] not in OFFLINE
    for option in options_of(words)
    if option in NONSENSE
    and (option not in ("--endpoint", "--output", "--progress", "--log-format") or words == ("ls",))
]


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("words", "option"), CASES, ids=lambda one: " ".join(one) if isinstance(one, tuple) else one)
def test_no_nonsense_value_is_sent_or_surprises(
    words: tuple[str, ...], option: str, environ: dict[str, str], refusing: Counting, tmp_path: Path
) -> None:
    """Each command refuses what an option cannot mean: exit code 2 (4 for a missing file), and no request."""
    before = {name: value for name, value in environ.items() if option != "--max-retry-time" or "RETRY" not in name}
    arguments = arguments_of(words, option, str(tmp_path / "tree"))
    for value in NONSENSE[option]:
        told = run(*words, *arguments, f"{option}={value}", environ=before)
        check(told, refusing.asked)


@pytest.mark.parametrize("address", ADDRESSES, ids=repr)
@pytest.mark.parametrize(
    "words", ["ls", "tree", "find", "du", "stat", "where", "cat", "rm", "undelete", "verify objects"]
)
def test_what_is_no_address_is_refused_by_every_command(
    words: str, address: str, environ: dict[str, str], refusing: Counting
) -> None:
    """Exit code 2, one sentence, and no request; a surrogate in a bucket's name is no bucket."""
    check(run(*words.split(), "--", address, environ=environ), refusing.asked)


@pytest.mark.parametrize(
    "arguments",
    [
        ("put", "{tree}", "ds3://b/\udcff"),
        ("put", "{tree}", "/local"),
        ("put", "ds3://b/x", "ds3://b/y"),
        ("put", "{tree}/none", "ds3://b/"),
        ("get", "/local", "{tree}"),
        ("get", "ds3://b/x", "ds3://b/y"),
        ("sync", "{tree}", "{tree}"),
        ("sync", "ds3://b/x/", "ds3://b/y/"),
        ("plan", "put", "{tree}", "elsewhere"),
        ("put",),
        ("put", "{tree}"),
        ("get", "ds3://b/x", "{tree}", "more"),
        ("nonsense",),
        ("put", "{tree}", "ds3://b", "--no-such-option"),
        ("job", "nonsense"),
        ("ls", "ds3://b/\udcff"),
        ("ls", "ds3://b/\x1b[31m"),
        ("find", "ds3://b/\x01/"),
        ("tape", "show", ""),
        ("job", "cancel", "", "--yes"),
        ("job", "show", "."),
        ("tape", "eject", "", "--yes"),
        ("mb", ""),
        ("rb", "ds3://b/x", "--yes"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_together_is_refused(
    arguments: tuple[str, ...], environ: dict[str, str], refusing: Counting, tmp_path: Path
) -> None:
    """Exit code 2 (4 for a path that is not there), one sentence, and no request, above all none that deletes."""
    tree = str(tmp_path / "tree")
    check(run(*(one.format(tree=tree) for one in arguments), environ=environ), refusing.asked)


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--files-from", b"\xff\xfe\x00binary\n" * 3, "cannot be put"),
        ("--rename-map", b"\xff\xfe\x00\x01\n", "not UTF-8"),
        ("--rename-map", b"file\tother\nfile\tthird\n", "twice"),
        ("--rename-map", b"no tab here\n", "line 1"),
    ],
)
def test_lists_that_are_none_are_refused_by_name(
    archive: Archive, tmp_path: Path, option: str, content: bytes, said: str
) -> None:
    """A binary file, a line that is no pair, a name mapped twice: the list is named, and nothing is put."""
    bucket = archive.bucket()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x")
    (tmp_path / "list").write_bytes(content)
    told = archive.run("put", str(tmp_path / "tree"), f"ds3://{bucket}", option, str(tmp_path / "list"))
    assert told.exit_code in (2, 3, 4), str(told)
    assert said in told.stderr or option == "--files-from", str(told)
    assert "unexpected failure" not in told.stderr, str(told)
    assert archive.keys(bucket) == []


def test_a_map_in_a_circle_exchanges_the_names(archive: Archive, tmp_path: Path) -> None:
    """Each name is looked up once, so a map of two names to each other loops nowhere and loses nothing."""
    bucket = archive.bucket()
    (tmp_path / "tree").mkdir()
    for name in ("a", "b"):
        (tmp_path / "tree" / name).write_bytes(name.encode())
    (tmp_path / "map").write_bytes(b"a\tb\nb\ta\n")
    archive.run("put", str(tmp_path / "tree"), f"ds3://{bucket}", "--rename-map", str(tmp_path / "map")).expect(0)
    assert archive.keys(bucket) == ["a", "b"]
    assert archive.client.get_object(bucket, "a", lambda reply: b"".join(reply.body)) == b"b"


def test_a_version_that_is_empty_never_means_the_latest(archive: Archive) -> None:
    """An empty variable of a script after --version-id removes nothing: exit code 2."""
    bucket = archive.bucket("one")
    for command in ("rm", "stat", "cat", "undelete"):
        told = archive.run(command, f"ds3://{bucket}/one", "--version-id", "").expect(2)
        assert "--version-id is empty" in told.stderr
    assert archive.keys(bucket) == ["one"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("put", "-", "ds3://b/x"),
        ("put", "/etc", "ds3://b/", "--files-from", "-"),
        ("put", "/etc", "ds3://b/", "--rename-map", "-"),
        ("config", "init"),
        ("config", "set", "secret_key"),
    ],
    ids=" ".join,
)
def test_stdin_that_is_closed_is_told(
    arguments: tuple[str, ...], environ: dict[str, str], refusing: Counting, tmp_path: Path
) -> None:
    """A real process whose caller closed stdin says so, exit code 2, and puts nothing empty in its place."""
    code = "import os, sys; os.close(0); os.execv(sys.executable, [sys.executable, '-m', 'ds3tool', *sys.argv[1:]])"
    clean = environ | {"PATH": "/usr/bin:/bin", "DS3_SECRET_KEY": ""} if arguments[0] == "config" else environ
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=clean, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert re.search(r"^ds3tool: .*(stdin|terminal)", done.stderr), done.stderr
    assert not any(asked.startswith(("PUT", "POST", "DELETE")) for asked in refusing.asked)
