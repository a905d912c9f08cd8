"""Something that happens to a command while it moves data, at a point that is always the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from ds3tool.jobs.run import Run as JobRun
from tests.cli.archive import Archive
from tests.cli.runner import Run, run
from tests.jobs.rooms import Meddler

# The last blob of `large` is so small that it goes another way, beside the others.
_TAIL = b"offset=3145728"


@dataclass
class Between:
    """Stands between commands and the appliance, counts the blobs that pass, and lets something happen at one of them.

    `passed` counts each blob's requests, by method, key and offset, as they stand on the wire. Things happen at blobs
    of the object called `large` (not at its small tail), which one worker (`-j 1`) moves one after the other.
    """

    archive: Archive
    meddler: Meddler
    monkeypatch: pytest.MonkeyPatch
    passed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Count from the start."""
        self._lock = threading.Lock()
        self._at: tuple[int, Callable[[], object]] | None = None
        self._large = 0
        self.meddler.to_appliance = self._pass

    @property
    def environ(self) -> dict[str, str]:
        """What commands need to go this way."""
        return {**self.archive.environ, "DS3_ENDPOINT": self.meddler.endpoint}

    def run(self, *arguments: str, stdin: str = "") -> Run:
        """Run a command that goes this way."""
        return run(*arguments, environ=self.environ, stdin=stdin)

    def _pass(self, data: bytes) -> bytes:
        for method, target in re.findall(rb"(PUT|GET) (/[^_ ][^ ]*job=[^ ]*) HTTP/1.1", data):
            with self._lock:
                self.passed[method.decode(), re.sub(r"[?&]job=[^&]*", "", target.decode())] += 1
                self._large += b"large" in target and _TAIL not in target
                act = None
                if self._at is not None and self._large >= self._at[0]:
                    act, self._at = self._at[1], None
            if act is not None:
                act()
        return data

    def at(self, blob: int, act: Callable[[], object]) -> None:
        """Let `act` happen once, when the next `blob`-th large blob goes, before the appliance hears of it."""
        self._at = (self._large + blob, act)

    def signal_at(self, blob: int, *, times: int = 1, number: signal.Signals = signal.SIGINT) -> None:
        """Let a signal reach the command that runs in this very process, and be heard before anything goes on."""
        heard = threading.Event()
        stop = JobRun.stop

        def and_tell(one: JobRun) -> None:
            stop(one)
            heard.set()

        self.monkeypatch.setattr(JobRun, "stop", and_tell)

        def send() -> None:
            os.kill(os.getpid(), number)
            assert heard.wait(30), "nobody has heard the signal"
            for _ in range(times - 1):
                os.kill(os.getpid(), number)

        self.at(blob, send)

    def killed(self, blob: int, *arguments: str, stdin: Path = Path(os.devnull)) -> None:
        """Run a command in a process of its own, and kill it without a word at a large blob."""
        with open(stdin, "rb") as file:
            process = self.started(arguments, file)
        self.at(blob, process.kill)
        _, said = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, said.decode()

    def started(self, arguments: tuple[str, ...], stdin: BinaryIO) -> subprocess.Popen[bytes]:
        """Start a command that goes this way, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ds3tool", *arguments],
            env={**os.environ, **self.environ},
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
