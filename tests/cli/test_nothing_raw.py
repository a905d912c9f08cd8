"""Names, metadata and the appliance's own words that would steer a terminal, in commands that move data and fail."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.cli.runner import Run, run
from tests.cli.test_config_command import on_a_terminal
from tests.cli.test_hostile_keys import RAW

# File names may hold what no key can: an escape code is put under an escaped key, and told.
NAMES = (
    "=1+1",
    "@SUM(A1)",
    "[red]x[",
    "[link=http:x]y[",
    ":smile:",
    "a\nb",
    "a\rb",
    "c1\x9b31m",
    "rtl\u202egpj.exe",
    "\u2066isolated",
    "esc\x1b[31m\x1b]0;title\x07",
    "\x1b]8;;http:x\x1b\\link",
)
VALUE = "esc\x1b[31m \u202e[red]=1 \x9b"
SHAPES = ("table", "json", "ndjson", "csv")


def check(told: Run) -> None:
    assert not RAW.search(told.stdout), str(told.stdout.encode("unicode_escape"))
    assert not RAW.search(told.stderr), str(told.stderr.encode("unicode_escape"))
    assert "unexpected failure" not in told.stderr, str(told)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder whose own name is hostile as well."""
    tree = tmp_path / "tree\x1b[31m\u202e"
    tree.mkdir()
    for name in NAMES:
        (tree / name).write_bytes(name.encode())
    (tree / "link\x1b[32m").symlink_to("nowhere\x1b[33m")
    os.mkfifo(tree / "fifo\x1b[34m")
    return tree


@pytest.mark.parametrize("shape", SHAPES)
def test_moving_hostile_names_says_nothing_raw(archive: Archive, tree: Path, tmp_path: Path, shape: str) -> None:
    """put, plan, sync, get, verify and rm, when all goes well and when each name fails: controls are visible text."""
    bucket = archive.bucket()
    far, back = f"ds3://{bucket}/p\u202e/", tmp_path / "back\x1b[31m"
    common = ("-o", shape, "--progress", "log", "--yes")
    check(archive.run("plan", "put", str(tree), far, *common).expect(0))
    check(archive.run("put", str(tree), far, "--meta", f"note={VALUE}", *common).expect(0))
    assert len(archive.keys(bucket)) == len(NAMES)
    check(archive.run("put", str(tree), far, "--symlinks", "follow", *common).expect(3))
    for name in NAMES:
        (tree / name).write_bytes(b"another")
    for told in (
        archive.run("put", str(tree), far, "--failed-to", str(tmp_path / "failed"), *common).expect(3),
        archive.run("put", str(tree), f"{far}\x9bnew/", "--if-exists", "fail", "--job-name", "night", *common).expect(
            0
        ),
        archive.run("verify", "objects", far, "--against", str(tree), *common).expect(5),
        archive.run("plan", "get", far, str(back), *common).expect(0),
        archive.run("get", far, str(back), *common),
        archive.run("get", far, str(back), "--if-exists", "fail", *common).expect(3),
        archive.run("get", far, str(back / "new"), "--range", "0:1", *common).expect(2),
        archive.run("get", f"{far}none\x1b[31m", str(back), *common).expect(2),
        archive.run("get", f"{far}none\x9b31m", str(back), *common).expect(4),
        archive.run("sync", str(tree), far, "--dry-run", "--delete", *common),
        archive.run("sync", far, str(back), "--dry-run", "--delete", *common),
        archive.run("put", f"{tree}/none\x1b[31m", far, *common).expect(4),
        archive.run("put", str(tree), far, "--files-from", f"{tree}/none\x1b[31m", *common).expect(4),
        archive.run("ls", "ds3://b\x1b[31m", *common).expect(2),
        archive.run("nonsense\x1b[31m\u202e", *common[:2]).expect(2),
        archive.run("rm", "-r", far, *common).expect(0),
    ):
        check(told)


def test_a_hostile_metadata_value_is_text(archive: Archive, tree: Path) -> None:
    """stat shows it in every shape with its controls visible, and a plain JSON document gives it back."""
    bucket = archive.bucket()
    (name, *_) = NAMES
    archive.run("put", str(tree / name), f"ds3://{bucket}/x", "--meta", f"note={VALUE}").expect(0)
    for shape in SHAPES:
        check(archive.run("stat", f"ds3://{bucket}/x", "-o", shape).expect(0))
    assert archive.run("stat", f"ds3://{bucket}/x", "-o", "json").json["metadata"]["note"] == VALUE


def test_the_bar_on_a_terminal_shows_hostile_names_as_text(archive: Archive, tree: Path) -> None:
    """Beside its own colours nothing of a name steers the terminal: no title, no link, no turned writing, no markup."""
    bucket = archive.bucket()
    for arguments in (
        ["put", str(tree), f"ds3://{bucket}/p/", "--progress", "bar", "--symlinks", "follow"],
        ["put", str(tree), f"ds3://{bucket}/p/", "--progress", "bar", "--if-exists", "fail"],
    ):
        told = on_a_terminal(arguments, [], dict(archive.environ)).stdout
        for raw in ("\x1b]0;", "\x1b]8;", "\x07", "\x9b", "\u202e", "\u2066"):
            assert raw not in told, told.encode("unicode_escape")
        assert "\\e" in told


class Rude(http.server.ThreadingHTTPServer):
    """Refuses everything with the body that it was given."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 400
        self.body = b""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Rude
    protocol_version = "HTTP/1.1"

    def _refuse(self) -> None:
        body = b"" if self.command == "HEAD" else self.server.body
        self.send_response_only(self.server.status, "Bad\u00a0[red]x")
        self.send_header("Server", "BlackPearl\u009b31m [link=http:x]")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _refuse  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def rude() -> Iterator[Rude]:
    server = Rude()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


DOCUMENT = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>Odd\u202e[red]</Code><HttpErrorCode>{}</HttpErrorCode>'
    "<Message>=cmd \u009b31m\u202e\u2066 [link=http:x]y[/link] \nnew line\ttab</Message>"
    "<Resource>/\u202eb</Resource><ResourceId>1\u009b</ResourceId></Error>"
)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("status", [400, 403, 404, 409])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "body", [DOCUMENT, "<html>\x1b[31m\x07\u202e<b>no", "\x1b]0;t\x07"], ids=["XML", "HTML", "text"]
)
def test_what_the_appliance_says_is_shown_as_text(
    rude: Rude, tmp_path: Path, body: str, shape: str, status: int
) -> None:
    """A refusal's code, message, resource and status line, and the server's name, steer nothing in any shape."""
    rude.status = status
    rude.body = body.format(status).encode()
    keys = {"DS3_ACCESS_KEY": "id", "DS3_SECRET_KEY": "s"}
    environ = {**keys, "DS3_ENDPOINT": f"http://127.0.0.1:{rude.server_address[1]}", "DS3TOOL_MAX_RETRY_TIME": "0s"}
    for arguments in (
        ("ls",),
        ("ls", "-r", "ds3://b/x/"),
        ("put", str(tmp_path), "ds3://b"),
        ("get", "ds3://b/x", str(tmp_path)),
        ("rm", "-r", "-y", "ds3://b/x/"),
        ("stat", "ds3://b/x"),
        ("tape", "ls"),
        ("doctor",),
    ):
        told = run(*arguments, "-o", shape, "-v", environ=environ)
        assert told.exit_code != 0, str(told)
        check(told)
