"""All that docs/performance.md shows: every script, one after the other, and their rows written into that page.

Nothing else should run on the machine. Each script's own options are left as they are; `--quick` is handed on, and
then nothing is written. Exit code 1 when a bar is missed, or a script fails.

    python -m benchmarks.all [--only large,small] [--quick] [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.bars import say

SCRIPTS = ("startup", "large", "small", "planning", "memory", "overheads")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


_HEAD = ["| what | measured | bar | | from |", "| --- | ---: | --- | --- | --- |"]


def line(row: dict[str, Any]) -> str:
    """Return one row of a table in Markdown."""
    cells = (row["what"], row["figure"], row["bar"], row["outcome"], row["told"])
    return "| " + " | ".join(cell.replace("<=", "≤").replace(">=", "≥") for cell in cells) + " |"


def tables(found: list[dict[str, Any]]) -> list[str]:
    """Return what the scripts found: first every row that has a bar, then what else there is, script by script."""
    lines = ["### Beside their bars", "", *_HEAD]
    lines += [line(row) for script in found for row in script["rows"] if row["bar"]]
    for script in found:
        rows = [line(row) for row in script["rows"] if not row["bar"]]
        lines += ["", f"### {script['title']}, further", ""]
        lines += [*_HEAD, *rows] if rows else []
        if script["notes"]:
            lines += ["", *(f"- {note}" for note in script["notes"])]
    return [*lines, ""]


def written(page: str, measured: list[str]) -> str:
    """Return the page with what was measured between its two markers; SystemExit when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE} has no place for the figures: {BEGIN} and {END}")
    return "\n".join([before + begin, "", *measured, end + after])


def main() -> int:
    """Run the scripts, write the page, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SCRIPTS), help="some of them, with commas between")
    parser.add_argument("--quick", action="store_true", help="show that all of them work; the page stays as it is")
    parser.add_argument("--keep", type=Path, help="keep each script's rows here; those of others are taken from here")
    asked = parser.parse_args()
    only = [name.strip() for name in asked.only.split(",")]
    if unknown := set(only) - set(SCRIPTS):
        raise SystemExit(f"no such script: {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    exit_code = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in only:
            record = folder / f"{name}.json"
            record.unlink(missing_ok=True)
            say(f"\n== {name} ==")
            started = time.monotonic()
            options = ["--record", str(record), *(["--quick"] if asked.quick else [])]
            done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False)
            say(f"== {name}: exit code {done.returncode} after {time.monotonic() - started:.0f} s")
            exit_code = exit_code or done.returncode
        if asked.quick:
            return exit_code
        measured = [*(f"- {fact}" for fact in machine.facts()), ""]
        records = [folder / f"{name}.json" for name in SCRIPTS]
        measured += tables([json.loads(record.read_text()) for record in records if record.exists()])
    PAGE.write_text(written(PAGE.read_text(), measured))
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
