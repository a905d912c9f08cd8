"""`/reset`: back to a new appliance, or to one without jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ds3tool.simulator.controls.documents import Control, Question
from ds3tool.simulator.wire.refusals import bad_request

if TYPE_CHECKING:
    from ds3tool.simulator.appliance import Appliance


class ResetControl(Control):
    """PUT `{"what": "all"}` makes it a new appliance of the same settings and keys; `"jobs"` cancels every job."""

    patient = False  # nobody waits for himself
    form = '{"what": "all" or "jobs"}.'

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    def change(self, question: Question) -> dict[str, Any]:
        """Reset, and return when clients are served again."""
        what = question.needed("what")
        question.end()
        acts: dict[str, Callable[[], int]] = {"all": self._all, "jobs": self._jobs}
        if what not in acts:
            raise bad_request(f"Nothing called {what!r} can be reset. The document is {self.form}")
        cancelled = acts[what]()
        machine = self._appliance.machine
        self._appliance.diary.deed("operator", f"reset: {what}", at=machine.clock.now())
        return {"what": what, "jobs": cancelled, "endpoint": self._appliance.endpoint}

    def _all(self) -> int:
        machine = self._appliance.machine
        with machine.store.lock:
            active = len(machine.jobs.active)
        self._appliance.reset()
        return active

    def _jobs(self) -> int:
        with self._appliance.undisturbed:
            machine = self._appliance.machine
            with machine.store.lock:
                jobs = list(machine.jobs.active.values())
                for job in jobs:
                    machine.cancel(job)
        return len(jobs)
