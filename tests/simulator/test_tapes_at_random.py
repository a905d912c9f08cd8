"""Tapes under everything that people and hands may do to them, in any order: what is said to be there is there."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ds3tool.simulator.tapes.operator import Operator
from ds3tool.simulator.tapes.tape import OUTSIDE
from ds3tool.simulator.wire.refusals import Refusal
from tests.simulator.conftest import Bench, Build

_OPERATIONS = ("eject", "cancel_eject", "online", "cancel_online", "inspect", "verify", "cancel_verify", "format")
# What a tape stays in when nobody does anything, while an operator attends.
_SETTLED = {"NORMAL", "EJECTED", "LOST", "OFFLINE", "CANNOT_FORMAT_DUE_TO_WRITE_PROTECTION"}


class _Hands:
    """Does one thing after the other to an appliance, as a seed says; remembers what was put and not deleted."""

    def __init__(self, start: Callable[[], Bench], seed: int) -> None:
        self._start = start
        self.bench = start()
        assert self.bench.wire.ask("PUT", "/b").status == 200
        self.chance = random.Random(seed)  # order, not secrets
        self.contents: dict[str, bytes] = {}
        self._number = 0

    @property
    def operator(self) -> Operator:
        return Operator(self.bench.appliance.machine)

    def restart(self) -> None:
        """Close the appliance, whatever it is at, and go on with another one over its state."""
        self.bench.wire.close()
        self.bench.appliance.close()
        self.bench = self._start()

    def step(self) -> None:
        """Do the next thing; to be refused is as good as to be obeyed."""
        deeds: list[Callable[[], object]] = [
            *(self._ask, self._ask, self._ask, self._put, self._delete, self._compact, self._take),
            *(self._return, self._remove, self._attend, self._tab),
        ]
        with contextlib.suppress(Refusal):
            self.chance.choice(deeds)()

    def _tape(self) -> str:
        codes = sorted(tape.bar_code for tape in self.bench.appliance.machine.library.tapes.values())
        return self.chance.choice(codes)

    def _ask(self) -> None:
        what = self.chance.choice(_OPERATIONS)
        force = "&force" if self.chance.random() < 0.3 else ""
        reply = self.bench.wire.ask("PUT", f"/_rest_/tape/{self._tape()}?operation={what}{force}")
        assert reply.status in (200, 409), reply

    def _put(self) -> None:
        self._number += 1
        name, data = f"o{self._number}", self.chance.randbytes(self.chance.randrange(1, 900))
        created = self.bench.wire.start_put("b", {name: len(data)})
        if created.status == 200:  # else no tape would take it
            self.bench.wire.send("b", created.xml.attrib["JobId"], {name: data}, created.xml)
            self.contents[name] = data

    def _delete(self) -> None:
        if self.contents:
            name = self.chance.choice(sorted(self.contents))
            assert self.bench.wire.ask("DELETE", f"/b/{name}").status == 204
            del self.contents[name]

    def _compact(self) -> None:
        reply = self.bench.wire.ask("PUT", f"/_rest_/tape/{self._tape()}?operation=mark_for_compaction")
        assert reply.status in (200, 409), reply

    def _take(self) -> None:
        self.operator.take(self._tape())

    def _return(self) -> None:
        shelf = self.chance.random() < 0.5
        self.operator.bring_back(self._tape(), shelf=shelf, online=self.chance.random() < 0.7)

    def _remove(self) -> None:
        self.operator.remove(self._tape())

    def _attend(self) -> None:
        self.operator.attend(self.chance.random() < 0.5)

    def _tab(self) -> None:
        self.operator.protect(self._tape(), self.chance.random() < 0.3)


def _come_home(hands: _Hands) -> None:
    """Let everything come to its end, bring all tapes back, and have each looked at once more."""
    bench, operator, machine = hands.bench, hands.operator, hands.bench.appliance.machine
    tapes = list(machine.library.tapes.values())

    def is_still() -> bool:
        waits = any(tape.eject_pending is not None or tape.state not in _SETTLED for tape in tapes)
        # What waits for any tape of a storage domain may wait for one that is to come home yet.
        return not waits and not machine.library.in_use and all(task.tape is None for task in machine.drives.tasks())

    operator.attend(True)
    for tape in tapes:
        if tape.state == "OFFLINE":  # in the way of those that are to leave
            operator.take(tape.bar_code)
    bench.until(is_still, "something never came to its end")
    for tape in tapes:
        operator.protect(tape.bar_code, False)
        if tape.place == OUTSIDE:
            operator.bring_back(tape.bar_code, shelf=True)
        elif tape.state == "CANNOT_FORMAT_DUE_TO_WRITE_PROTECTION":
            assert bench.wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?state=NORMAL").status == 200
        elif tape.state != "NORMAL":
            operator.take(tape.bar_code)
            operator.bring_back(tape.bar_code, shelf=True)
    bench.until(is_still, "a tape was never looked at")
    assert bench.wire.ask("PUT", "/_rest_/tape?operation=inspect").status == 204
    bench.until(is_still, "an inspection never ended")
    for _ in range(4):  # what was put may need more room than a storage domain has left
        operator.insert_blank(shelf=True)
    bench.until_persisted()
    bench.until(is_still, "something never came to its end")
    assert {tape.state for tape in tapes} == {"NORMAL"}


def _check(hands: _Hands) -> None:
    """Every copy that is on record is what was put; an object with one, or in the cache, is served."""
    bench, machine = hands.bench, hands.bench.appliance.machine
    with machine.store.lock:
        rows = machine.store.db.execute(
            "SELECT o.name, b.cached, c.tape, c.position FROM objects o JOIN blobs b ON b.object = o.n "
            "LEFT JOIN copies c ON c.blob = b.n AND c.suspect = 0"
        ).fetchall()
    assert {name for name, *_ in rows} == set(hands.contents)
    kept = set()
    for name, cached, number, position in rows:
        if cached or number is not None:
            kept.add(name)
        if number is not None:
            tape = machine.library.tapes[number]
            assert position + len(hands.contents[name]) <= tape.written
            with open(machine.library.path(tape), "rb") as file:
                file.seek(position)
                assert file.read(len(hands.contents[name])) == hands.contents[name]
    bench.reclaim()
    for name in sorted(kept):
        reply = bench.wire.ask("GET", f"/b/{name}")
        while reply.status == 307:  # it is held for a while, then told to come again
            reply = bench.wire.ask("GET", f"/b/{name}")
        assert (reply.status, reply.body) == (200, hands.contents[name]), name


@pytest.mark.sampled(10)
@pytest.mark.parametrize("seed", range(40))
def test_what_is_said_to_be_on_tape_is_there_whatever_was_done(build: Build, tmp_path: Path, seed: int) -> None:
    """Forty things in the order that the seed says, a restart in between, then all tapes home: copies are as put."""
    settings = {"copies": 1 + seed % 2, "tapes": 5, "tape_capacity": 4000, "entry_exit_slots": 2, "seed": seed}
    hands = _Hands(lambda: build(bucket=None, directory=str(tmp_path), **settings), seed)
    for number in range(40):
        if number == 20:
            hands.restart()
        hands.step()
    _come_home(hands)
    _check(hands)
