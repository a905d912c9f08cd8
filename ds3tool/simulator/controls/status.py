"""`/status`: what an appliance holds and what it is doing, at one look."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ds3tool.protocol.model import JobType
from ds3tool.simulator.controls.documents import Control, Question, counted
from ds3tool.simulator.controls.tapes import drives
from ds3tool.simulator.controls.time import told as clock_told
from ds3tool.simulator.controls.time import waiting_told

if TYPE_CHECKING:
    from ds3tool.simulator.appliance import Appliance
    from ds3tool.simulator.machine import Machine


class StatusControl(Control):
    """GET tells buckets, jobs, cache, drives, tapes, requests by kind, and the clock; nothing can be changed."""

    form = "empty: a status is looked at."

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    def show(self, question: Question) -> dict[str, Any]:
        """Return it all. Objects are counted bucket by bucket: between two of them clients have their turn."""
        question.end()
        appliance = self._appliance
        machine, now = appliance.machine, time.monotonic()
        return {
            "seed": appliance.settings.seed,
            "uptime_seconds": round(now - appliance.started, 3),
            "since_reset_seconds": round(now - appliance.reset_at, 3),
            "clock": clock_told(machine),
            "waiting": waiting_told(machine.ledger.summary()),
            "buckets": _buckets(machine),
            "jobs": _jobs(machine),
            "cache": _cache(machine),
            "drives": drives(machine),
            "tapes": _tapes(machine),
            "requests": _requests(appliance),
        }


def _buckets(machine: Machine) -> list[dict[str, Any]]:
    with machine.store.lock:
        buckets = machine.store.db.execute("SELECT n, name FROM buckets ORDER BY name").fetchall()
    found = []
    for number, name in buckets:
        with machine.store.lock:
            count, size = machine.store.db.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM objects WHERE bucket = ? AND created IS NOT NULL",
                (number,),
            ).fetchone()
        found.append({"name": name, "objects": count, "bytes": size})
    return found


def _jobs(machine: Machine) -> dict[str, Any]:
    with machine.store.lock:
        jobs = list(machine.jobs.active.values())
        puts = [job for job in jobs if job.type is JobType.PUT]
        readers = [job for job in jobs if job.type is not JobType.PUT]
        return {
            "active": {kind.value: sum(job.type is kind for job in jobs) for kind in JobType},
            # All is received of these, and they are not yet on every tape.
            "waiting_to_be_written": sum(not job.chunks and bool(job.storing) for job in puts),
            # Somebody waits until a drive has read something for these.
            "waiting_to_be_read": sum(
                any(chunk.to_load or job.type is JobType.VERIFY for chunk in job.chunks.values()) for job in readers
            ),
        }


def _cache(machine: Machine) -> dict[str, Any]:
    with machine.store.lock:
        return {"used": machine.cache.used, "capacity": machine.cache.capacity}


def _tapes(machine: Machine) -> dict[str, int]:
    with machine.store.lock:
        return counted(str(tape.state) for tape in machine.library.tapes.values())


def _requests(appliance: Appliance) -> list[dict[str, Any]]:
    counts = sorted(appliance.diary.counts().items(), key=lambda item: (-item[1], item[0]))
    return [
        {"operation": operation or None, "status": status or None, "count": count}
        for (operation, status), count in counts
    ]
