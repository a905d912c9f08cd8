"""`/faults`: what goes wrong, how often, and how often it has."""

from __future__ import annotations

from typing import Any

from ds3tool.errors import UsageError
from ds3tool.simulator.controls.documents import Control, Question, in_own_words
from ds3tool.simulator.faults import Faults, parse_rates


class FaultControl(Control):
    """GET tells every fault: rate, times left, times it has struck. PUT changes rates; those not named stay."""

    form = '{"clear": BOOL, "rates": ["NAME=RATE[:MOST]", ...]}.'

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def show(self, question: Question) -> dict[str, Any]:
        """Return the seed and every fault as it is now."""
        question.end()
        return {
            "seed": self._faults.seed,
            "faults": [
                {
                    "name": state.fault.value,
                    "rate": state.rate,
                    "most": state.most,
                    "struck": state.struck,
                    "does": state.fault.what,
                    "against": state.fault.exposes,
                }
                for state in self._faults.states()
            ],
        }

    def change(self, question: Question) -> dict[str, Any]:
        """Put all rates to zero where `clear` is true, then set those of `rates`."""
        clear, rates = question.flag("clear"), question.texts("rates")
        question.end()
        wanted = in_own_words(lambda: parse_rates(rates), UsageError)
        if clear:
            self._faults.clear()
        self._faults.apply(wanted)
        return self.show(question)
