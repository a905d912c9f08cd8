"""A command that cannot reach its appliance says so at once, not after its patience has run out."""

from __future__ import annotations

import pytest

from ds3tool.cli import messages
from ds3tool.errors import BusyError, TransportError
from tests.cli.runner import run


def test_the_reason_is_told_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """The same reason is not repeated with every try; another one is told at once."""
    now = 1000.0
    notes = messages.RetryNotes(max_retry_seconds=900, monotonic=lambda: now)
    for _ in range(5):
        notes(TransportError("nobody there"), 1.0)
    notes(TransportError("broken"), 1.0)
    now += 61
    notes(TransportError("broken"), 1.0)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in said] == [
        "ds3tool: warning: nobody there",
        "ds3tool: warning: broken",
        "ds3tool: warning: broken",
    ]
    assert "15 m 00 s" in said[0]


def test_a_wait_that_the_appliance_asked_for_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    """It says how long is left, again each minute, and nothing of a patience that does not run out meanwhile."""
    now = 1000.0
    notes = messages.RetryNotes(max_retry_seconds=900, monotonic=lambda: now)
    busy = BusyError("no room now", status=503, code="SlowDown", retry_after_seconds=3600.0)
    for left in (3600.0, 3540.0):
        notes(busy, left)
        now += 60
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("ds3tool: warning: no room now; asking again in 1 h")
    assert "59 m" in second
    assert "as the appliance wishes" in second
    assert "--max-retry-time" not in first + second


def test_a_command_without_an_appliance_says_that_it_keeps_trying() -> None:
    """Port 9 refuses; the first failure is told before the next try, the last one ends the command with code 7.

    The first wait is a quarter of a second at most, and so within the budget whatever the jitter.
    """
    keys = {"DS3_ENDPOINT": "http://127.0.0.1:9", "DS3_ACCESS_KEY": "a", "DS3_SECRET_KEY": "b"}
    result = run("ls", "--max-retry-time", "300ms", environ=keys).expect(7)
    first, *_ = result.stderr.splitlines()
    assert first.startswith("ds3tool: warning: the appliance at http://127.0.0.1:9 cannot be reached")
    assert "trying again" in first
