"""Ctrl-C, SIGTERM and a closed terminal: the first ends a run in order, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from ds3tool.cli import messages

# What a shell, a service manager and a terminal that is closed send to whoever is to end.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let every such signal mean what Ctrl-C does: KeyboardInterrupt, at once."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextmanager
def stoppable(stop: Callable[[], None], *, under_way: Callable[[], bool]) -> Iterator[None]:
    """Let the first such signal call `stop` and say so; a second one, or one with nothing under way, interrupts.

    Both are called between any two steps of the main thread, whatever lock that holds: they must not wait for one.
    """
    # The one queue that may be written to amid anything; what is said takes locks, and so is said by a thread.
    asked: SimpleQueue[bool] = SimpleQueue()
    asked_once = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked_once
        if asked_once or not under_way():
            raise KeyboardInterrupt
        asked_once = True
        stop()
        asked.put(True)

    teller = threading.Thread(target=_tell, args=(asked,), name="interruption", daemon=True)
    teller.start()
    try:
        with _handled_by(interrupt):
            yield
    finally:
        asked.put(False)
        teller.join()


def _tell(asked: SimpleQueue[bool]) -> None:
    while asked.get():
        messages.note("stopping when what is under way is through; once more (Ctrl-C) stops at once", quiet=False)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give these signals to `handler`, but for those that whoever started us wants to be ignored (nohup, `&`)."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = [number for number, present in before.items() if present is not signal.SIG_IGN]
    try:
        for number in heeded:
            signal.signal(number, handler)
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
