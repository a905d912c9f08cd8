"""What is logged, where, and what never is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.cli import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    logs.release()
    logs.forget_secrets()


LOG = logging.getLogger("ds3tool.transport.pool")


def test_a_secret_and_a_signature_are_never_logged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Neither the key that was told nor any request's signature reaches a line."""
    file = tmp_path / "log"
    logs.hide("hunter2")
    logs.configure(verbosity=2, quiet=False, file=file, json=False)
    LOG.debug("key hunter2, Authorization: AWS id:c2lnbmF0dXJl")
    for text in (capsys.readouterr().err, file.read_text()):
        assert "key ***, Authorization: AWS id:***" in text
        assert "hunter2" not in text
        assert "c2lnbmF0dXJl" not in text


@pytest.mark.parametrize(
    ("verbosity", "quiet", "levels"),
    [
        (0, False, ["warning", "error"]),
        (1, False, ["info", "warning", "error"]),
        (2, False, ["debug", "info", "warning", "error"]),
        (0, True, ["error"]),
    ],
)
def test_each_v_tells_more_and_quiet_tells_less(
    capsys: pytest.CaptureFixture[str], levels: list[str], *, verbosity: int, quiet: bool
) -> None:
    """Warnings are always said, unless --quiet; -v adds information, -vv every request."""
    logs.configure(verbosity=verbosity, quiet=quiet, file=None, json=True)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        LOG.log(level, "said")
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == levels


def test_a_name_in_a_log_line_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A line feed in a key makes no second line."""
    logs.configure(verbosity=0, quiet=False, file=None, json=False)
    LOG.warning("%s", "a\nb\x1b[2J")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "a\\nb\\e[2J" in told


def test_other_libraries_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """-vv shows our requests, not the insides of libraries that print credentials."""
    logs.configure(verbosity=2, quiet=False, file=None, json=False)
    logging.getLogger("botocore").debug("secret")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "line",
    [
        "https://h:443 GET /b/k?X-Amz-Credential=AKIAID%2F2026&X-Amz-Signature=c2ln&X-Amz-Security-Token=dG9r",
        "http://h/b/k?AWSAccessKeyId=AKIAID&Signature=c2ln%3D&x-amz-security-token=dG9r&Expires=1",
        "{'Authorization': 'AWS4-HMAC-SHA256 Credential=AKIAID/2026/eu/s3, SignedHeaders=host, Signature=c2ln'}",
        '{"X-Amz-Security-Token": "dG9r", "Signature": "c2ln"}',
    ],
)
def test_nothing_that_aws_is_asked_with_is_logged(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """No access key, signature or session token is in a line, whether they stand in a URL or in headers."""
    logs.configure(verbosity=2, quiet=False, file=None, json=False)
    logging.getLogger("urllib3.connectionpool").debug("%s", line)
    told = capsys.readouterr().err
    assert "***" in told
    for secret in ("AKIAID", "c2ln", "dG9r"):
        assert secret not in told


def test_warnings_of_libraries_are_told_as_ours_are(capsys: pytest.CaptureFixture[str]) -> None:
    """What speaks for us to AWS warns in our way, and no library writes to stderr by itself."""
    logs.configure(verbosity=0, quiet=False, file=None, json=True)
    logging.getLogger("urllib3.connectionpool").warning("retrying /k?X-Amz-Signature=c2ln")
    logging.getLogger("urllib3.connectionpool").debug("GET /k")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "retrying /k?X-Amz-Signature=***"


def test_a_traceback_is_part_of_its_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """One event is one line, traceback included."""
    logs.configure(verbosity=2, quiet=False, file=None, json=True)
    try:
        raise ValueError("x")
    except ValueError:
        LOG.info("failed", exc_info=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: x" in json.loads(line)["traceback"][-1]
