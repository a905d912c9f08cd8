"""Replies that end early or come slowly, and the record of what was asked: shared by both doors of simulated Lotame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from types import MappingProxyType

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.wire.messages import Cut, Reply, Request, Sender
from ds3tool.simulator.wire.refusals import Refusal

_STEPS = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came, and the status of its answer (0: the connection was cut instead).

    `door` is `api`, `web` or `s3`; header names are in lower case. For tests: it holds the tokens that were sent.
    """

    door: str
    verb: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    status: int


class Record:
    """What was asked, in the order in which it was answered. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[Asked] = []

    def answered(self, door: str, request: Request, answer: Callable[[Request], Reply]) -> Reply:
        """Return what `answer` says to a request, and remember that; with status 0 where nothing is answered."""
        status = 0
        try:
            reply = answer(request)
            status = reply.status
            return reply
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            self._note(door, request, status)

    def _note(self, door: str, request: Request, status: int) -> None:
        one = Asked(
            door,
            request.verb,
            request.target.path,
            MappingProxyType(dict(request.target.parameters)),
            MappingProxyType(dict(request.headers)),
            status,
        )
        with self._lock:
            self._asked.append(one)

    def all(self, door: str | None = None) -> list[Asked]:
        """Return all that was asked so far, of one door or of all."""
        with self._lock:
            return [one for one in self._asked if door is None or one.door == door]


def cut_in_body(reply: Reply) -> Reply:
    """Let a reply end in the middle of its body, and the connection with it."""
    body = reply.body
    assert isinstance(body, bytes)

    def send(out: Callable[[bytes], None], head: bytes, _: Reply) -> None:
        out(head + body[: len(body) // 2])
        raise Cut(reset=False)

    reply.sender = send
    return reply


def slowly(reply: Reply, seconds: float, closing: threading.Event) -> Reply:
    """Let a reply's body come in steps that take so long together; no pause outlasts the simulation."""
    body = reply.body
    assert isinstance(body, bytes)
    step = max(1, -(-len(body) // _STEPS))

    def send(out: Callable[[bytes], None], head: bytes, _: Reply) -> None:
        out(head)
        for start in range(0, len(body), step):
            closing.wait(seconds / _STEPS)
            out(body[start : start + step])

    sender: Sender = send
    reply.sender = sender
    return reply
