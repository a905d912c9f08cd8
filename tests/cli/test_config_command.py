"""`ds3tool config`: the file is written right, and a secret goes nowhere else."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.runner import Run, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ds3tool" / "config.toml"


@pytest.fixture
def environ(path: Path) -> dict[str, str]:
    return {"DS3TOOL_CONFIG": str(path)}


KEYS = {"DS3_ENDPOINT": "https://bp.example", "DS3_ACCESS_KEY": "id", "DS3_SECRET_KEY": "hunter2"}


def test_init_writes_the_first_profile_and_makes_it_the_default(environ: dict[str, str], path: Path) -> None:
    """Without a terminal the environment says what is to be written; the file is its owner's alone."""
    told = run("config", "init", environ=environ | KEYS).expect()
    assert "hunter2" not in told.stdout + told.stderr
    assert tomllib.loads(path.read_text()) == {
        "default_profile": "default",
        "profile": {"default": {"endpoint": "https://bp.example", "access_key": "id", "secret_key": "hunter2"}},
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_init_keeps_the_options_of_the_connection(environ: dict[str, str], path: Path) -> None:
    """What is needed to get there belongs to the profile."""
    run("config", "init", "-P", "lab", "--ca-bundle", "/lab.pem", "--endpoint", "https://lab", environ=environ | KEYS)
    profile = tomllib.loads(path.read_text())["profile"]["lab"]
    assert (profile["endpoint"], profile["ca_bundle"]) == ("https://lab", "/lab.pem")


def test_init_without_a_terminal_names_what_is_missing(environ: dict[str, str], path: Path) -> None:
    """A script learns which variable to set, and nothing is written."""
    told = run("config", "init", "--endpoint", "http://bp", environ=environ).expect(2)
    assert "set DS3_ACCESS_KEY" in told.stderr
    assert not path.exists()


def test_a_profile_is_not_written_over_unasked(environ: dict[str, str], path: Path) -> None:
    """A second init of one name wants --yes where nobody can be asked."""
    run("config", "init", environ=environ | KEYS).expect()
    before = path.read_text()
    assert "add --yes" in run("config", "init", environ=environ | KEYS).expect(2).stderr
    assert path.read_text() == before
    run("config", "init", "--yes", environ=environ | KEYS | {"DS3_ENDPOINT": "http://new"}).expect()
    assert "http://new" in path.read_text()


def test_a_secret_is_refused_on_the_command_line(environ: dict[str, str], path: Path) -> None:
    """What stands in a command line stands in the process list and the shell's history."""
    told = run("config", "set", "secret_key", "hunter2", environ=environ).expect(2)
    assert "not taken from the command line" in told.stderr
    assert not path.exists()


def test_a_secret_is_read_from_stdin(environ: dict[str, str], path: Path) -> None:
    """A script pipes it in."""
    run("config", "set", "secret_key", environ=environ, stdin="hunter2\n").expect()
    assert tomllib.loads(path.read_text())["profile"]["default"]["secret_key"] == "hunter2"


def test_set_changes_the_profile_that_is_meant(environ: dict[str, str], path: Path) -> None:
    """--profile, else the default one; true and false are no texts."""
    run("config", "set", "endpoint", "http://a", "-P", "lab", environ=environ).expect()
    run("config", "set", "verify_ssl", "false", environ=environ).expect()
    run("config", "set", "endpoint", "http://b", "-P", "prod", environ=environ).expect()
    assert tomllib.loads(path.read_text()) == {
        "default_profile": "lab",
        "profile": {"lab": {"endpoint": "http://a", "verify_ssl": False}, "prod": {"endpoint": "http://b"}},
    }
    run("config", "set", "default_profile", "prod", environ=environ).expect()
    assert tomllib.loads(path.read_text())["default_profile"] == "prod"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["endpont", "x"], "no setting 'endpont'"),
        (["verify_ssl", "perhaps"], "true or false"),
        (["endpoint"], "no value"),
        (["default_profile", "nobody"], "no profile 'nobody'"),
        (["endpoint", "x", "-P", "a b"], "not a profile's name"),
    ],
)
def test_what_cannot_be_set_is_a_usage_error(environ: dict[str, str], arguments: list[str], named: str) -> None:
    """A slip changes nothing and says what is right."""
    assert named in run("config", "set", *arguments, environ=environ).expect(2).stderr


def test_path_prints_the_files_place(environ: dict[str, str], path: Path) -> None:
    """One line, fit for a shell; a record in the other shapes."""
    assert run("config", "path", environ=environ).expect().stdout == f"{path}\n"
    assert run("config", "path", "-o", "json", environ=environ).expect().json == {"path": str(path)}


def on_a_terminal(arguments: list[str], typed: list[tuple[str, str]], environ: dict[str, str]) -> Run:
    """Run the program on a pseudo terminal, answering each question with what is typed."""
    master, slave = pty.openpty()
    line = [sys.executable, "-m", "ds3tool", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DS3")}
    process = subprocess.Popen(line, stdin=slave, stdout=slave, stderr=slave, env=clean | environ, close_fds=True)
    os.close(slave)
    screen = ""
    pending = list(typed)
    while True:
        try:
            read = os.read(master, 4096).decode()
        except OSError:
            break
        screen += read
        while pending and pending[0][0] in screen:
            os.write(master, pending.pop(0)[1].encode() + b"\n")
    os.close(master)
    return Run(tuple(arguments), process.wait(), screen, "")


def test_init_asks_on_a_terminal_and_does_not_show_the_secret(environ: dict[str, str], path: Path) -> None:
    """A person types address and keys; the secret is not on the screen."""
    typed = [("Address", "https://bp.example"), ("Access key", "id"), ("Secret key", "hunter2")]
    told = on_a_terminal(["config", "init"], typed, environ).expect()
    assert "hunter2" not in told.stdout
    assert tomllib.loads(path.read_text())["profile"]["default"] == {
        "endpoint": "https://bp.example",
        "access_key": "id",
        "secret_key": "hunter2",
    }


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 2), ("no", 2)])
def test_a_question_on_a_terminal_takes_only_yes_for_yes(
    environ: dict[str, str], path: Path, answer: str, code: int
) -> None:
    """Anything but yes means no, and no changes nothing."""
    run("config", "init", environ=environ | KEYS).expect()
    changed = environ | KEYS | {"DS3_ENDPOINT": "http://new"}
    on_a_terminal(["config", "init"], [("[y/N]", answer)], changed).expect(code)
    assert ("http://new" in path.read_text()) is (code == 0)
