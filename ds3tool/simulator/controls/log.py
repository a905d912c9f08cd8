"""`/log`: what the appliance did lately, and what comes as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ds3tool.simulator.controls.documents import Control, Question
from ds3tool.simulator.diary import Diary, Entry

# An answer holds no more entries than this unless a `tail` says how many; whoever wants more asks on.
_MOST = 1000
# Whoever follows asks again after this long without anything new.
_LONGEST_WAIT_SECONDS = 20.0


class LogControl(Control):
    """GET `?tail=N` tells the latest entries, `?after=N` those after one, waiting for the first up to `wait` seconds.

    Answers name the seed and `last`, the number to ask on from.
    """

    patient = False  # it may wait long, and looks at nothing that a reset takes away
    form = "a query of tail=N, or of after=N and wait=SECONDS."

    def __init__(self, diary: Diary, seed: int) -> None:
        self._diary = diary
        self._seed = seed

    def show(self, question: Question) -> dict[str, Any]:
        """Return entries, the oldest first."""
        tail, after = question.whole("tail"), question.whole("after")
        wait = question.number("wait") or 0.0
        question.end()
        if after is None:
            last = self._diary.last
            found = self._diary.latest(_MOST if tail is None else tail)
            return self._told(found, max(last, found[-1].n if found else 0))
        if wait:
            self._diary.wait(after, min(wait, _LONGEST_WAIT_SECONDS))
        found = self._diary.after(after, most=_MOST)
        return self._told(found, found[-1].n if found else after)

    def _told(self, entries: Sequence[Entry], last: int) -> dict[str, Any]:
        return {"seed": self._seed, "last": last, "entries": [entry.document for entry in entries]}
