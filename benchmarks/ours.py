"""The ds3tool under test, as a person runs it: its command line, its environment, and what it says that it did."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.programs import Taken, bare_environment, run


def program() -> list[str]:
    """Return the command of the ds3tool that is installed beside this Python, compiled beforehand."""
    beside = Path(sys.executable).with_name("ds3tool")
    command = [str(beside)] if beside.exists() else [sys.executable, "-m", "ds3tool"]
    package = Path(__file__).parents[1] / "ds3tool"
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(package)], check=True)
    return command


@dataclass(slots=True)
class Ours:
    """ds3tool against one appliance; each run has a state folder of its own below `folder`."""

    endpoint: str
    folder: Path
    access_key: str = "k"
    secret_key: str = "s"
    command: Sequence[str] = field(default_factory=program)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def environ(self) -> Mapping[str, str]:
        """What leads it to the appliance, and nothing of the user's."""
        return {
            **bare_environment(self.folder),
            "DS3_ENDPOINT": self.endpoint,
            "DS3_ACCESS_KEY": self.access_key,
            "DS3_SECRET_KEY": self.secret_key,
        }

    def run(self, *arguments: str, admitted: Sequence[int] = (0,)) -> Taken:
        """Run one command with a fresh state folder."""
        state = self.folder / f"state-{next(self._numbers)}"
        return run(
            [*self.command, *arguments],
            environ={**self.environ, "DS3TOOL_STATE_DIR": str(state)},
            folder=self.folder,
            admitted=admitted,
        )

    def put(self, source: Path, target: str, *options: str, objects: int) -> Taken:
        """Put a tree; SystemExit unless all of its objects came."""
        return _checked(self.run("put", str(source), target, "-o", "json", *options), objects)

    def get(self, source: str, target: Path, *options: str, objects: int) -> Taken:
        """Get what is below an address; SystemExit unless all of its objects came."""
        return _checked(self.run("get", source, str(target), "-o", "json", *options), objects)


def _checked(taken: Taken, objects: int) -> Taken:
    try:
        told = json.loads(taken.said)["objects"]
    except (ValueError, KeyError) as error:
        raise SystemExit(f"ds3tool did not tell what it did: {taken.said[:500]}") from error
    if told != objects:
        raise SystemExit(f"{told} of {objects} objects came: {taken.said[:500]}")
    return taken
