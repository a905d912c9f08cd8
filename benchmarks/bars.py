"""What was measured beside its bar: rows, the table of them, and the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its bar.

    `at_least` or `at_most` is the bar; with neither, the row is there for information. `unit` follows the figure.
    `told` are the absolute figures it comes from.
    """

    what: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "x"
    told: str = ""

    @property
    def held(self) -> bool:
        """Whether the bar is held; a row without one holds."""
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )

    @property
    def bar(self) -> str:
        """The bar as a text, empty without one."""
        if self.at_least is not None:
            return f">= {_number(self.at_least)}{_unit(self.unit)}"
        return "" if self.at_most is None else f"<= {_number(self.at_most)}{_unit(self.unit)}"

    @property
    def outcome(self) -> str:
        """`pass`, `MISS`, or nothing for a row without a bar."""
        return ("pass" if self.held else "MISS") if self.bar else ""

    @property
    def figure(self) -> str:
        """What was measured, with its unit."""
        return f"{_number(self.measured)}{_unit(self.unit)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"


def _unit(unit: str) -> str:
    return unit if unit == "x" else f" {unit}"


@dataclass(slots=True)
class Report:
    """The rows of one script, told as they come and once more together.

    They are in `record` too, as JSON and as they come, where one is asked for: a script takes minutes, and one that is
    stopped has measured what it has.
    """

    title: str
    record: Path | None = None
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Add a row, and say it at once: a script takes minutes."""
        self.rows.append(row)
        self._write()
        print(f"  {row.what}: {row.figure} {row.bar and f'({row.bar}: {row.outcome})'} {row.told}", flush=True)

    def note(self, text: str) -> None:
        """Add what the table does not say."""
        self.notes.append(text)
        self._write()
        print(f"  {text}", flush=True)

    def _write(self) -> None:
        if self.record is not None:
            rows = [{**asdict(row), "bar": row.bar, "outcome": row.outcome, "figure": row.figure} for row in self.rows]
            self.record.write_text(json.dumps({"title": self.title, "rows": rows, "notes": self.notes}, indent=1))

    def conclude(self) -> int:
        """Print the table, and return the exit code."""
        width = max((len(row.what) for row in self.rows), default=0)
        print(f"\n{self.title}")
        for row in self.rows:
            print(f"  {row.what:{width}}  {row.figure:>12}  {row.bar:14} {row.outcome:5} {row.told}".rstrip())
        missed = [row for row in self.rows if not row.held]
        print(f"{len(missed)} of {sum(1 for row in self.rows if row.bar)} bars missed" if missed else "all bars held")
        return 1 if missed else 0


def arguments(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of what every script takes: `--rounds`, `--quick`, `--record`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="each way is gone so often")
    parser.add_argument("--quick", action="store_true", help="one small round: shows that it works, and little else")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the rows to this file, as JSON")
    return parser


def say(text: str) -> None:
    """Say on stderr what is being done."""
    print(text, file=sys.stderr, flush=True)
