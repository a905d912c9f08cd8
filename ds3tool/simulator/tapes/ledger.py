"""What the tapes' time was spent on: counts and seconds of the appliance's clock, in all, by tape and by job."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import field
from enum import StrEnum

from ds3tool.lazy_dataclass import dataclass

# Of so many jobs and tapes, those last heard of, the ledger keeps accounts of their own.
_JOBS = 1000
_TAPES = 2000
# Of the pauses of an account, so many of the latest are told apart: work that is entered later may lie within them.
_PAUSES = 8


class Spent(StrEnum):
    """What time is spent on. `MOUNT` and `UNLOAD` are without the robot's moves, which are `ROBOT`.

    `WAIT`: work was ready and no drive free for it; added up over tasks, so that it may exceed the time that passed.
    """

    MOUNT = "mount"
    SEEK = "seek"
    READ = "read"
    WRITE = "write"
    VERIFY = "verify"
    UNLOAD = "unload"
    ROBOT = "robot"
    WAIT = "wait"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """How often something was done, the seconds of the appliance's clock it took in all, the bytes it moved."""

    count: int
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Account:
    """What was spent for one tape (`subject`: its bar code), one job (its id), or in all (None).

    `appliance_seconds`: while any of it was done or waited for, work side by side counted once and the pauses between
    left out; `client_seconds`: the same by the clock of the clients, nearly, where the pace changed meanwhile:
    "100 mounts, 2 h 13 m of the appliance, 9 s of yours".
    """

    subject: str | None
    spent: dict[Spent, Entry]
    appliance_seconds: float
    client_seconds: float

    @property
    def mounts(self) -> int:
        """How often a tape was mounted."""
        return self.spent[Spent.MOUNT].count

    @property
    def drive_seconds(self) -> float:
        """Seconds that drives and robot were busy, those of several drives added up."""
        return sum(entry.seconds for what, entry in self.spent.items() if what is not Spent.WAIT)


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """All accounts: `total`, and by tape and by job those that the ledger still has, the last heard of at the end."""

    total: Account
    tapes: tuple[Account, ...]
    jobs: tuple[Account, ...]


@dataclass(slots=True)
class _Sums:
    """Of times, the first is by the appliance's clock, the second by that of the clients; of pauses, both lengths."""

    since: tuple[float, float]
    until: tuple[float, float]
    cells: dict[Spent, list[float]] = field(default_factory=dict)
    # The latest pauses: from when to when by the appliance's clock, and for how long by that of the clients.
    pauses: deque[tuple[float, float, float]] = field(default_factory=deque)
    paused: tuple[float, float] = (0.0, 0.0)

    def reach(self, begin: float, end: tuple[float, float]) -> None:
        """Let the account reach `end`, with something that began at `begin`; ends come nearly in order."""
        since, (until, client_until) = self.since, self.until
        if begin > until:
            length = begin - until
            self._pause(until, begin, (end[1] - client_until) * length / (end[0] - until))
        elif begin < since[0]:
            self.since = (begin, since[1])
        while self.pauses and self.pauses[-1][1] > begin:
            start, stop, client = self.pauses.pop()
            self.paused = (self.paused[0] - (stop - start), self.paused[1] - client)
            if start < begin:
                self._pause(start, begin, client * (begin - start) / (stop - start))
        self.until = (max(until, end[0]), max(client_until, end[1]))

    def _pause(self, start: float, stop: float, client: float) -> None:
        if len(self.pauses) == _PAUSES:
            self.pauses.popleft()
        self.pauses.append((start, stop, client))
        self.paused = (self.paused[0] + stop - start, self.paused[1] + client)

    def add(self, what: Spent, count: int, seconds: float, moved: int) -> None:
        cell = self.cells.setdefault(what, [0, 0.0, 0])
        cell[0] += count
        cell[1] += seconds
        cell[2] += moved

    def account(self, subject: str | None) -> Account:
        spent = {}
        for what in Spent:
            count, seconds, moved = self.cells.get(what, (0, 0.0, 0))
            spent[what] = Entry(int(count), float(seconds), int(moved))
        passed, client_passed = self.until[0] - self.since[0], self.until[1] - self.since[1]
        return Account(subject, spent, max(0.0, passed - self.paused[0]), max(0.0, client_passed - self.paused[1]))


class Ledger:
    """The book of one appliance since its start. Methods may be called from any thread.

    Memory: one account in all, and at most 2,000 tapes' and 1,000 jobs' of nine cells each, below 6 MB.
    """

    def __init__(self, now: Callable[[], float], client_now: Callable[[], float]) -> None:
        self._now = now
        self._client_now = client_now
        self._lock = threading.Lock()
        # Told of each entry: what, how much of it, the tape's bar code, the drive's id.
        self.watch: Callable[[Spent, Entry, str | None, str | None], None] | None = None
        self._total: _Sums | None = None
        self._tapes: OrderedDict[str, _Sums] = OrderedDict()
        self._jobs: OrderedDict[str, _Sums] = OrderedDict()

    def add(
        self,
        what: Spent,
        seconds: float,
        *,
        count: int = 1,
        moved: int = 0,
        tape: str | None = None,
        jobs: Iterable[str] = (),
        by: str | None = None,
        ago: float = 0.0,
    ) -> None:
        """Enter what has just been done: `seconds` of the appliance's clock that end now, `moved` bytes.

        `tape` is a bar code, `jobs` are the ids of those it was done for: each is charged the whole. `by` is the id of
        the drive that did it. It ended `ago` seconds before now, and until now other things were done that are entered
        as well.
        """
        end = (self._now(), self._client_now())
        begin = (end[0] - seconds - ago, end[1])
        with self._lock:
            if self._total is None:
                self._total = _Sums(begin, end)
            accounts = [self._total]
            if tape is not None:
                accounts.append(_newest(self._tapes, tape, begin, _TAPES))
            accounts += [_newest(self._jobs, job, begin, _JOBS) for job in jobs]
            for account in accounts:
                account.reach(begin[0], end)
                account.add(what, count, seconds, moved)
        if self.watch is not None:
            self.watch(what, Entry(count, seconds, moved), tape, by)

    def summary(self) -> LedgerSummary:
        """Return all accounts as they are now."""
        with self._lock:
            total = self._total or _Sums((0.0, 0.0), (0.0, 0.0))
            return LedgerSummary(
                total.account(None),
                tuple(sums.account(code) for code, sums in self._tapes.items()),
                tuple(sums.account(job) for job, sums in self._jobs.items()),
            )

    def of_job(self, job_id: str) -> Account | None:
        """Return what was spent for a job, None when the ledger does not know it (any more)."""
        with self._lock:
            sums = self._jobs.get(job_id)
            return None if sums is None else sums.account(job_id)

    def of_tape(self, bar_code: str) -> Account | None:
        """Return what was spent on a tape, None when the ledger does not know it (any more)."""
        with self._lock:
            sums = self._tapes.get(bar_code)
            return None if sums is None else sums.account(bar_code)

    def clear(self) -> None:
        """Begin a new book."""
        with self._lock:
            self._total = None
            self._tapes.clear()
            self._jobs.clear()


def _newest(accounts: OrderedDict[str, _Sums], subject: str, begin: tuple[float, float], most: int) -> _Sums:
    sums = accounts.get(subject)
    if sums is None:
        sums = accounts[subject] = _Sums(begin, begin)
        while len(accounts) > most:
            accounts.popitem(last=False)
    else:
        accounts.move_to_end(subject)
    return sums
