"""What everything that goes wrong here stands on."""

from __future__ import annotations

import pytest

from tests.faults.proxy import Fault

# With these a creation may still be under way when the client has long had an answer that was not for it.
_LATE = {Fault.DUPLICATE_REPLY, Fault.DUPLICATE_REQUEST}


@pytest.fixture(autouse=True)
def _lists_are_never_late(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a job whose creation nobody answered need not be patient: these appliances list it at once."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    patience = (0.05, 0.2, 0.5, 1.0) if parameters.get("fault") in _LATE else (0.01,)
    monkeypatch.setattr("ds3tool.jobs.job_run.LAG_SECONDS", patience)
