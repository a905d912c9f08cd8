"""`/clock`: the appliance's time, how fast it goes, and what waiting would have cost."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ds3tool.errors import UsageError
from ds3tool.simulator.clock import SimulatedClock
from ds3tool.simulator.controls.documents import Control, Question, in_own_words
from ds3tool.simulator.tapes.ledger import Account, LedgerSummary
from ds3tool.simulator.wire.refusals import Refusal, bad_request

if TYPE_CHECKING:
    from ds3tool.simulator.appliance import Appliance
    from ds3tool.simulator.machine import Machine

# Of jobs and tapes, accounts of so many of either are told: those last heard of.
_ACCOUNTS = 100


def told(machine: Machine) -> dict[str, Any]:
    """Return the clock as it stands: its pace, the host's time and the appliance's, in UTC."""
    return {
        "pace": machine.clock.pace,
        "real_time": _date(time.time()),
        "appliance_time": _date(machine.clock.now()),
    }


def waiting_told(summary: LedgerSummary) -> dict[str, Any]:
    """Return what the ledger of waiting says in all, since the appliance started or was reset."""
    return _account(summary.total)


class ClockControl(Control):
    """GET tells the clock and the ledger. PUT does one thing to the clock, and tells both, and the seconds skipped."""

    form = 'one of {"pace": NUMBER}, {"step": SECONDS} and {"skip": true}; a pace of 0 lets the clock stand.'

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    def show(self, question: Question) -> dict[str, Any]:
        """Return the clock, and the ledger in all, by tape and by job."""
        question.end()
        machine = self._appliance.machine
        summary = machine.ledger.summary()
        return {
            "clock": told(machine),
            "waiting": {
                **waiting_told(summary),
                "by_tape": {str(each.subject): _account(each) for each in summary.tapes[-_ACCOUNTS:]},
                "by_job": {str(each.subject): _account(each) for each in summary.jobs[-_ACCOUNTS:]},
            },
        }

    def change(self, question: Question) -> dict[str, Any]:
        """Change the pace, or let time pass: so many seconds, or up to the next moment that anybody waits for."""
        pace, step, skip = question.number("pace"), question.number("step"), question.flag("skip")
        question.end()
        if (pace is not None) + (step is not None) + skip != 1:
            raise bad_request(f"The document is {self.form}")
        clock = self._appliance.machine.clock
        if not isinstance(clock, SimulatedClock):
            message = "This appliance lives by a clock of the program that started it, which alone can move it."
            raise Refusal(409, "Conflict", message)
        skipped = 0.0
        if pace is not None:
            in_own_words(lambda: clock.set_pace(pace), UsageError)
        elif step is not None:
            in_own_words(lambda: clock.step(step), UsageError)
            skipped = step
        else:
            skipped = in_own_words(clock.skip, UsageError)
        return {**self.show(question), "skipped_seconds": skipped}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _account(account: Account) -> dict[str, Any]:
    return {
        "mounts": account.mounts,
        "appliance_seconds": round(account.appliance_seconds, 3),
        "real_seconds": round(account.client_seconds, 3),
        "drive_seconds": round(account.drive_seconds, 3),
        "spent": {
            what.value: {"count": entry.count, "seconds": round(entry.seconds, 3), "bytes": entry.bytes}
            for what, entry in account.spent.items()
            if entry.count
        },
    }
