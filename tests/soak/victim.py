"""The tool, armed: `python -m tests.soak.victim POINT COUNT patient|hurried ARGUMENTS` dies by SIGKILL at POINT.

A point is a place between two steps that a crash must not confuse; COUNT says at which passing of it the process dies.
A hurried tool waits no seconds for an appliance whose lists of jobs are late: the embedded one's never are.
The product has no such places of its own: the steps are wrapped here, in the process that is to die.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from ds3tool.cli.main import main
from ds3tool.jobs import job_run
from ds3tool.jobs.journal import Journal
from ds3tool.sinks import publishing
from ds3tool.sinks.publishing import Publisher
from ds3tool.transport.burst import Burst
from ds3tool.transport.connection import Connection

_BLOBS = b"&offset=", b"?offset="


class Fuse:
    """Kills the process at the `count`-th call, from any thread."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: object, name: str, fuse: Fuse, *, only: Callable[..., bool] = lambda *_, **__: True) -> None:
    step = getattr(owner, name)

    @functools.wraps(step)
    def armed(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # whatever the step takes
        if only(*arguments, **options):
            fuse()
        return step(*arguments, **options)

    setattr(owner, name, armed)


def _after(owner: object, name: str, fuse: Fuse) -> None:
    step = getattr(owner, name)

    @functools.wraps(step)
    def armed(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        result = step(*arguments, **options)
        fuse()
        return result

    setattr(owner, name, armed)


def _body_sent(fuse: Fuse) -> None:
    """After the last byte of a blob, or of the question for one, and before its reply is read."""
    send = Connection.send_request

    @functools.wraps(send)
    def armed(self: Connection, head: bytes, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        early = send(self, head, *arguments, **options)
        line = head.split(b"\r\n", 1)[0]
        if early is None and any(mark in line for mark in _BLOBS):
            fuse()
        return early

    setattr(Connection, "send_request", armed)  # noqa: B010  # as the other steps are wrapped
    open_lane = Burst._open_lane

    def open_armed(self: Burst) -> Any:  # noqa: ANN401
        lane = open_lane(self)
        receive = lane.receive_into

        def receive_armed(buffer: Any) -> int:  # noqa: ANN401
            if not lane.left:
                fuse()
            return receive(buffer)

        lane.receive_into = receive_armed  # type: ignore[assignment]  # it has the one argument that is given
        return lane

    setattr(Burst, "_open_lane", open_armed)  # noqa: B010


def _named(wrap: Callable[[Any, str, Fuse], None], fuse: Fuse) -> None:
    """About the step that gives a file its name, be it one that had another or one that had none."""
    wrap(Publisher, "_give_name", fuse)
    wrap(publishing, "link", fuse)


POINTS: dict[str, Callable[[Fuse], None]] = {
    "plan-written": lambda fuse: _after(Journal, "planned", fuse),
    "created-unrecorded": lambda fuse: _before(Journal, "created", fuse),
    "created-recorded": lambda fuse: _after(Journal, "created", fuse),
    "body-sent": _body_sent,
    "moved-unrecorded": lambda fuse: _before(Journal, "moved", fuse),
    "moved-recorded": lambda fuse: _after(Journal, "moved", fuse),
    "before-rename": lambda fuse: _named(_before, fuse),
    "after-rename": lambda fuse: _named(_after, fuse),
    "appeared-unrecorded": lambda fuse: _before(Journal, "appeared", fuse),
    "finished-unrecorded": lambda fuse: _before(Journal, "finished", fuse),
}
# Those that only a get, or only a put, passes.
OF_GET = frozenset({"before-rename", "after-rename", "appeared-unrecorded"})


def run(point: str, count: int, arguments: list[str], *, hurried: bool) -> int:
    """Arm `point`, unless it is `none`, and run the command line."""
    if hurried:
        setattr(job_run, "LAG_SECONDS", (0.01,))  # noqa: B010  # as the steps are wrapped
    if point != "none":
        POINTS[point](Fuse(count))
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], int(sys.argv[2]), sys.argv[4:], hurried=sys.argv[3] == "hurried"))
