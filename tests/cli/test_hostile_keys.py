"""Keys that would steer a terminal, a table or a spreadsheet, shown by every command that reads."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from ds3tool.client import Ds3Client
from ds3tool.protocol.model import ObjectToPut
from tests.cli.archive import Archive
from tests.cli.test_config_command import on_a_terminal

# The controls that XML can carry, marks that turn the writing direction, Rich markup, formulas, and what ends lines.
KEYS = (
    "p/+1",
    "p/-2+3",
    "p/=1+1",
    "p/@SUM(A1)",
    "p/[red]x[/red]",
    "p/[link=http://x]y[/link]",
    "p/\tfirst",
    "p/a\nb",
    "p/a\rb",
    "p/c1\x9b31m",
    "p/del\x7f",
    "p/line\u2028end",
    "p/rtl\u202egpj.exe",
    "p/sub\n/x",
    "p/:smile:",
    "p/\u2066isolated",
)
# At the beginning of a whole key, where a cell begins.
TOP = ("=1+1", "@x", "+1", "-1", "\tx", "\rx", "[bold]b")
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
READING = (
    ("ls",),
    ("ls", "-r"),
    ("ls", "--versions", "-r"),
    ("tree",),
    ("tree", "--depth", "2", "--sizes"),
    ("du", "--depth", "3"),
    ("find",),
    ("find", "-l"),
    ("find", "--relative"),
    ("where", "-r"),
    ("verify", "objects"),
    ("verify", "job"),
)


@pytest.fixture(scope="module")
def bucket(archive: Archive) -> str:
    """A bucket of them, each also declared once more and never sent, so that checks have something to tell."""
    bucket = archive.bucket(*KEYS, *TOP)
    archive.client.create_put_job(bucket, [ObjectToPut(f"{key}~", 1) for key in (*KEYS, *TOP)])
    return bucket


@pytest.mark.parametrize("shape", ["table", "json", "ndjson", "csv"])
@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_nothing_raw_comes_out(archive: Archive, bucket: str, command: tuple[str, ...], shape: str) -> None:
    """No control, no turned writing, no broken line; JSON reads back, and a spreadsheet computes nothing."""
    run = archive.run(*command, "-o", shape, f"ds3://{bucket}/")
    assert run.exit_code in {0, 3}, str(run)
    assert not RAW.search(run.stdout), repr(run.stdout)
    assert not RAW.search(run.stderr), repr(run.stderr)
    if shape == "json":
        json.loads(run.stdout)
    elif shape == "ndjson":
        assert all(json.loads(line) for line in run.stdout.splitlines())
    elif shape == "csv":
        rows = list(csv.reader(io.StringIO(run.stdout)))
        assert len({len(row) for row in rows}) <= 1
        cells = [cell for row in rows[1:] for cell in row if not re.fullmatch(r"-?\d+", cell)]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("key", [*KEYS, *TOP])
def test_stat_shows_one_hostile_key(archive: Archive, bucket: str, key: str) -> None:
    """One object's record has its fields on lines of their own, whatever its key holds."""
    for shape in ("table", "json", "ndjson", "csv"):
        run = archive.run("stat", "-o", shape, f"ds3://{bucket}/{key}").expect()
        assert not RAW.search(run.stdout), repr(run.stdout)
    plain = archive.run("stat", f"ds3://{bucket}/p/+1").stdout
    assert len(archive.run("stat", f"ds3://{bucket}/{key}").stdout.splitlines()) == len(plain.splitlines())


def test_markup_is_text_on_a_terminal_too(archive: Archive, bucket: str) -> None:
    """A table with colours shows square brackets as they are, and makes no link and no smiling face of them."""
    for command in (["ls", "-r"], ["tree"], ["find"], ["du"], ["where", "-r"]):
        told = on_a_terminal([*command, f"ds3://{bucket}/"], [], dict(archive.environ)).stdout
        assert "\x1b]8" not in told
        assert "\x9b" not in told
        assert "\u202e" not in told
        if command != ["du"]:
            # The slash in it makes a level of a tree.
            assert "[red]x[/" in told, told
            assert ":smile:" in told


def test_names_come_back_letter_for_letter(archive: Archive, bucket: str) -> None:
    """find -0 and JSON give the keys as they are; without -0 each is one line."""
    keys = sorted(item.key for item in archive.client.list_objects(bucket))
    exact = archive.run("find", "-0", "--relative", f"ds3://{bucket}").expect().stdout
    assert exact.split("\0")[:-1] == keys
    assert len(archive.run("find", f"ds3://{bucket}").stdout.split("\n")) == len(keys) + 1
    assert [row["key"] for row in archive.run("find", "-o", "json", f"ds3://{bucket}").json] == keys


def test_removing_and_bringing_back_say_nothing_raw(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure names the key, and the key stays text."""
    bucket = archive.bucket("a\x9b31m\nb")
    monkeypatch.setattr(Ds3Client, "delete_objects", _refusing)
    for shape in ("table", "ndjson", "csv"):
        run = archive.run("rm", "-y", "-r", "-o", shape, f"ds3://{bucket}")
        assert run.exit_code == 3, str(run)
        assert not RAW.search(run.stdout + run.stderr)


def _refusing(self: Ds3Client, bucket: str, keys: object) -> object:
    from ds3tool.protocol.model import DeleteFailure, DeleteResult

    return iter([DeleteResult((), tuple(DeleteFailure(key, "Refused", "no") for key in keys))])  # type: ignore[attr-defined]  # an iterable
