"""What everything that goes wrong here stands on."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _lists_are_never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a job whose creation nobody answered need not be patient: these appliances list it at once."""
    monkeypatch.setattr("ds3tool.jobs.job_run.LAG_SECONDS", (0.01,))
