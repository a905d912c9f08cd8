"""Runs console blocks as a person types them: one shell's memory from line to line, output held against the page."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Shell:
    """A folder and an environment that stay between commands. `ds3tool` is the one under test."""

    folder: Path
    state: Path
    transcript: list[str] = field(default_factory=list)

    def run(self, command: str) -> tuple[int, str]:
        """Run one command; return its exit code and what it said on both streams."""
        script = f"[ -e {self.state} ] && . {self.state}\n{command}\ncode=$?\nexport -p > {self.state}\nexit $code\n"
        environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}", COLUMNS="120")
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=100,
        )
        self.transcript.append(f"$ {command}\n{done.stdout}[{done.returncode}]")
        return done.returncode, done.stdout


def commands_of(block: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that the page shows beneath it."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found:
            command, shown = found[-1]
            found[-1] = (command, shown + line + "\n")
    return found


def agrees(shown: str, said: str) -> bool:
    """Whether the output is what the page shows, `...` standing for anything, also for several lines."""
    pattern = "".join(".*" if part == "..." else re.escape(part) for part in re.split(r"(\.\.\.)", shown.strip()))
    return re.fullmatch(pattern, said.strip(), re.DOTALL) is not None


def is_make(command: str) -> str | None:
    """Return the target of `make TARGET`, which is looked up and not run: it would run the tests in the tests."""
    return command.removeprefix("make ") if fnmatch.fnmatch(command, "make *") else None
