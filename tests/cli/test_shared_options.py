"""The options every command takes: before or after its name, from a variable, and who wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.runner import run

CONFIG = """\
[profile.lab]
endpoint = "http://lab.example"
access_key = "lab-id"
secret_key = "lab-secret"

[profile.prod]
endpoint = "http://prod.example"
access_key = "prod-id"
secret_key = "prod-secret"
proxy = "http://user:hunter2@proxy.example:3128"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A configuration of two profiles, `lab` chosen by a variable."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return {"DS3TOOL_CONFIG": str(path), "DS3TOOL_PROFILE": "lab"}


def effective(environ: dict[str, str], *arguments: str) -> dict[str, tuple[str | None, str | None]]:
    """What `config show -o json` says of each setting: its value and where it comes from."""
    shown = run(*arguments, "-o", "json", environ=environ).expect().json
    return {row["setting"]: (row["value"], row["from"]) for row in shown}


def test_an_option_counts_before_and_after_the_commands_name(environ: dict[str, str]) -> None:
    """`-P prod config show`, `config -P prod show` and `config show -P prod` mean the same."""
    places = [("-P", "prod", "config", "show"), ("config", "-P", "prod", "show"), ("config", "show", "-P", "prod")]
    for arguments in places:
        assert effective(environ, *arguments)["endpoint"] == ("http://prod.example", "profile prod")


def test_what_stands_nearer_to_the_arguments_wins(environ: dict[str, str]) -> None:
    """Given twice, the value at the command counts."""
    assert effective(environ, "-P", "lab", "config", "show", "-P", "prod")["access_key"][0] == "prod-id"


def test_a_flag_before_the_name_wins_over_the_environment(environ: dict[str, str]) -> None:
    """A flag is a flag wherever it stands."""
    environ["DS3TOOL_OUTPUT"] = "csv"
    assert isinstance(run("-o", "json", "config", "show", environ=environ).expect().json, list)


def test_flag_then_environment_then_profile_then_default(environ: dict[str, str]) -> None:
    """Each place is asked in its turn."""
    assert effective(environ, "config", "show")["endpoint"] == ("http://lab.example", "profile lab")
    environ["DS3_ENDPOINT"] = "http://variable.example"
    assert effective(environ, "config", "show")["endpoint"] == ("http://variable.example", "environment")
    environ["DS3TOOL_ENDPOINT"] = "http://tool.example"
    assert effective(environ, "config", "show")["endpoint"] == ("http://tool.example", "environment")
    flagged = effective(environ, "config", "show", "--endpoint-url", "http://flag.example")
    assert flagged["endpoint"] == ("http://flag.example", "command line")
    assert flagged["verify_ssl"] == (None, None)


def test_a_profile_named_on_the_command_line_wins_over_the_environment(environ: dict[str, str]) -> None:
    """Whoever types -P prod does not end up at the appliance that the shell still names."""
    environ["DS3_ENDPOINT"] = "http://variable.example"
    assert effective(environ, "config", "show", "-P", "prod")["endpoint"][0] == "http://prod.example"
    assert (
        effective(environ | {"DS3TOOL_PROFILE": "prod"}, "config", "show")["endpoint"][0] == "http://variable.example"
    )


def test_no_secret_is_shown(environ: dict[str, str]) -> None:
    """Neither the secret key nor a password in the proxy's address reaches the screen."""
    for shape in ("table", "json", "ndjson", "csv"):
        told = run("config", "show", "-P", "prod", "-o", shape, environ=environ).expect()
        assert "prod-secret" not in told.stdout + told.stderr
        assert "hunter2" not in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["config", "show", "--output", "xml"], "'--output' / '-o': 'xml' is not one of"),
        (["config", "show", "--nonsense"], "--nonsense"),
        (["confg"], "Did you mean 'config'"),
        (["config"], ""),
        (["config", "shwo"], "show"),
        (["stat"], "Missing argument"),
        (["put", "film.mov"], "it takes: ds3tool put {SOURCE}... {ds3://BUCKET/KEY}; see: ds3tool put --help"),
        (["job", "wait", "x", "--interval", "soon"], "--interval"),
    ],
)
def test_a_slip_is_a_usage_error_that_names_it(arguments: list[str], named: str) -> None:
    """Exit code 2, and the word that is wrong."""
    told = run(*arguments).expect(2)
    assert named in told.stderr


@pytest.mark.parametrize(
    "asking",
    [["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"], ["-qo", "json"], ["-v", "-o=json"]],
)
def test_a_usage_error_is_json_where_json_was_asked_for(asking: list[str]) -> None:
    """However -o json was written, a script finds one document with the error in it."""
    error = run("stat", *asking, "--nonsense").expect(2).json["error"]
    assert error["code"] == "Usage"
    assert error["exit_code"] == 2
    assert "--nonsense" in error["message"]
    assert error["hint"] == "see: ds3tool stat --help"
    assert error["request_id"] is None


def test_a_usage_error_is_json_where_the_environment_asks_for_it() -> None:
    """DS3TOOL_OUTPUT counts before the options are understood."""
    assert run("stat", environ={"DS3TOOL_OUTPUT": "json"}).expect(2).json["error"]["code"] == "Usage"


def test_an_error_is_one_line_in_ndjson() -> None:
    """A reader of lines gets a line."""
    told = run("-o", "ndjson", "ls", environ={"DS3TOOL_CONFIG": "/nonexistent/x"}).expect(2)
    assert [line["error"]["code"] for line in told.lines] == ["Config"]


def test_certificates_that_are_not_checked_are_warned_of_at_every_run(environ: dict[str, str]) -> None:
    """--no-verify-ssl is never silent, not even with --quiet."""
    told = run(
        "ls", "-q", "--no-verify-ssl", "--endpoint", "https://127.0.0.1:1", "--max-retry-time", "0", environ=environ
    )
    assert "certificates are not checked" in told.expect(7).stderr


def test_a_wrong_duration_is_a_usage_error() -> None:
    """--max-retry-time wants a duration."""
    assert "not a duration" in run("config", "path", "--max-retry-time", "soon").expect(2).stderr


def test_a_configuration_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """--config FILE means that file; only the default one may be missing."""
    told = run("config", "show", "--config", str(tmp_path / "none.toml")).expect(2)
    assert "none.toml" in told.stderr


def test_the_log_file_gets_json_lines_and_no_secret(environ: dict[str, str], tmp_path: Path) -> None:
    """What is written for a machine has time, level, logger and message."""
    log = tmp_path / "log.ndjson"
    environ |= {"DS3_ENDPOINT": "http://127.0.0.1:9", "DS3TOOL_LOG_FORMAT": "json"}
    run("ls", "-vv", "--max-retry-time", "0", "--log-file", str(log), environ=environ).expect(7)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert "lab-secret" not in log.read_text()


def test_a_log_file_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """A run that was to be logged and cannot be does not start."""
    assert "cannot write the log file" in run("config", "path", "--log-file", str(tmp_path)).expect(2).stderr
