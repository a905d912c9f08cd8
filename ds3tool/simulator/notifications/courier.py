"""Brings notices to their end points: one thread that looks what is due, and one for each receiver at work.

A notice is delivered when its receiver answers with a status of 2xx; anything else, a redirect too, is a failure. What
failed is tried again after 1, 2, 4 … seconds, at most ten minutes, of the appliance's clock, until it has been tried 20
times or is a day old; meanwhile later notices go out, so that they may come first. A notice may come twice: after a
crash, when the answer to it was lost, or when a fault has it so. A receiver has one notice at a time, of each of its
registrations; a slow one holds up nobody but its own, while no more than 16 are slow at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container
from typing import Any

from ds3tool.simulator.clock import Clock
from ds3tool.simulator.contract import kind as contract_kind
from ds3tool.simulator.faults import Fault, Faults
from ds3tool.simulator.notifications.envelope import compose
from ds3tool.simulator.notifications.kinds import BY_NAME, NoticeKind
from ds3tool.simulator.notifications.notices import Notice, Notices
from ds3tool.simulator.notifications.posting import Parcel, Posting, PostingError
from ds3tool.simulator.notifications.registrations import Registrations
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.xmlout import date

_log = logging.getLogger(__name__)

_MOST_SENDERS = 16
_MOST_TRIES = 20
_OLDEST_SECONDS = 24 * 3600.0
_LONGEST_WAIT = 600.0
_LATEST_SECONDS = 60.0
# How long a closing appliance waits for its senders, in real time: one may be looking up a name, which nothing ends.
_CLOSE_SECONDS = 0.8


def wait_before(tries: int) -> float:
    """Return the seconds between a notice's failure number `tries` and its next try."""
    return min(2.0 ** (tries - 1), _LONGEST_WAIT)


class Courier:
    """Delivers notices from `start` to `close`; its threads begin with the first notice there is.

    `changed` is the condition of the store's lock that others wait on. `collect` is asked, with the lock held, to make
    notices of what has gathered elsewhere; `retire` is told of each registration that has had a notice settled.
    """

    def __init__(
        self,
        *,
        store: Store,
        changed: threading.Condition,
        clock: Clock,
        faults: Faults,
        registrations: Registrations,
        notices: Notices,
        own_ports: Callable[[], Container[int]],
        collect: Callable[[], None],
        retire: Callable[[NoticeKind, Fields], None],
    ) -> None:
        self._store = store
        self._changed = changed
        self._clock = clock
        self._faults = faults
        self._registrations = registrations
        self._notices = notices
        self._own_ports = own_ports
        self._collect = collect
        self._retire = retire
        # Of the same lock, but its own: what else changes in the appliance is none of its business.
        self._woken = threading.Condition(store.lock)
        self._started = False
        self._closing = False
        self._thread: threading.Thread | None = None
        # Registrations that a sender is at, and the tries under way.
        self._senders: dict[str, threading.Thread] = {}
        self._postings: set[Posting] = set()

    def start(self) -> None:
        """Deliver from now on, what was left from before first."""
        with self._changed:
            self._started = True
            self._collect()  # what happened before the end, and had not been looked at
            if self._notices.waiting():
                self.wake()

    def wake(self) -> None:
        """Look for notices, with the lock held."""
        if not self._started or self._closing:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ds3-notices", daemon=True)
            self._thread.start()
        self._woken.notify_all()

    def close(self) -> None:
        """Stop within a second; what is not settled by then is sent again after the next start."""
        with self._changed:
            self._closing = True
            for posting in self._postings:
                posting.abort()
            threads = [*self._senders.values(), *([self._thread] if self._thread is not None else [])]
            self._woken.notify_all()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # Looking.

    def _run(self) -> None:
        with self._woken:
            while not self._closing:
                try:
                    self._collect()
                    wait = self._send_out()
                except Exception:  # noqa: BLE001 - without this thread nothing would ever be told again
                    _log.exception("notices cannot be sent for now")
                    wait = 1.0
                self._clock.wait(self._woken, wait)

    def _send_out(self) -> float | None:
        """Give every registration that has a notice due a sender; return the seconds until another may have one."""
        waits: list[float] = []
        now = self._clock.now()
        for registration, due in self._notices.waiting():
            if registration in self._senders:
                continue
            if due > now:
                waits.append(due - now)
            elif len(self._senders) < _MOST_SENDERS:
                thread = threading.Thread(
                    target=self._serve, args=(registration,), name="ds3-notice-sender", daemon=True
                )
                thread.start()
                self._senders[registration] = thread
        return min(waits, default=None)

    # Sending.

    def _serve(self, registration: str) -> None:
        """Send what is due for one registration, one notice after the other."""
        try:
            while self._serve_one(registration):
                pass
        except Exception:  # noqa: BLE001 - the notice stays, and a full disk does not get better by trying at once
            _log.exception("registration %s: sending failed", registration)
            with self._woken:
                self._clock.wait(self._woken, 1.0)
        finally:
            with self._changed:
                self._senders.pop(registration, None)
                self._woken.notify_all()
                self._changed.notify_all()

    def _serve_one(self, registration: str) -> bool:
        with self._changed:
            taken = None if self._closing else self._take(registration)
            if taken is None:
                return False
            notice, kind, parcel = taken
            posting = Posting(parcel, self._own_ports())
            self._postings.add(posting)
        code: int | None = None
        failure: PostingError | None = None
        try:
            code = posting.send()
        except PostingError as error:
            failure = error
        with self._changed:
            self._postings.discard(posting)
            if self._closing:
                return False
            with self._store.writing():
                self._settle(notice, kind, code, failure)
            self._changed.notify_all()
        return True

    def _take(self, registration: str) -> tuple[Notice, NoticeKind, Parcel] | None:
        """Return what is due next for a registration, and as what it is sent."""
        with self._store.writing():
            while (notice := self._notices.next(registration)) is not None:
                record = self._registrations.get(notice.kind, registration)
                if record is None:
                    self._notices.remove_all("registration", registration)
                    return None
                late = None if notice.sealed else self._faults.strike(Fault.NOTICE_LATE, _subject(notice))
                now = self._clock.now()
                made = self._notices.seal(notice, due=now if late is None else now + 1 + late.place * _LATEST_SECONDS)
                if late is None:
                    kind = BY_NAME[notice.kind]
                    return notice, kind, self._parcel(notice, kind, record, made)
        return None

    def _parcel(self, notice: Notice, kind: NoticeKind, record: Fields, made: float) -> Parcel:
        values: dict[str, Any] = {**notice.facts, "NotificationGenerationDate": made}
        for each in contract_kind(kind.payload).properties:
            if each.type == "BlobInfo":
                values[each.name] = list(self._notices.blobs(notice))
            elif each.type == "Date" and isinstance(values.get(each.name), (int, float)):
                values[each.name] = date(values[each.name])
        document, content_type = compose(kind.payload, values, form=record["Format"], naming=record["NamingConvention"])
        return Parcel(record["NotificationEndPoint"], record["NotificationHttpMethod"], document, content_type)

    # What came of it.

    def _settle(self, notice: Notice, kind: NoticeKind, code: int | None, failure: PostingError | None) -> None:
        record = self._registrations.get(notice.kind, notice.registration)
        if record is None:
            self._notices.remove_all("registration", notice.registration)
            return
        if failure is None and self._faults.strike(Fault.NOTICE_LOST_REPLY, _subject(notice)) is not None:
            code, failure = None, PostingError(f"The answer of {record['NotificationEndPoint']} was lost")
        if failure is None and code is not None and not 200 <= code < 300:
            failure = PostingError(f"{record['NotificationEndPoint']} answered with {code}")
        if failure is not None:
            self._fail(notice, kind, record, code, failure)
        else:
            assert code is not None
            self._succeed(notice, kind, code)
        self._retire(kind, record)

    def _succeed(self, notice: Notice, kind: NoticeKind, code: int) -> None:
        last = notice.facts.get("LastProcessedEvent")
        changes = {} if last is None else {"LastSequenceNumber": last}
        self._registrations.delivered(kind, notice.registration, code, changes)
        if not notice.repeated and self._faults.strike(Fault.NOTICE_TWICE, _subject(notice)) is not None:
            self._notices.repeat(notice)
        else:
            self._notices.remove(notice.n)

    def _fail(self, notice: Notice, kind: NoticeKind, record: Fields, code: int | None, failure: PostingError) -> None:
        self._registrations.failed(kind, record, code, str(failure))
        now, tries = self._clock.now(), notice.tries + 1
        if failure.hopeless or tries >= _MOST_TRIES or now - notice.made > _OLDEST_SECONDS:
            # Not why: that names the end point, in which there may be a token. The record tells it to its owner.
            _log.warning(
                "registration %s: a notice of %s is given up after %d tries; see its LastFailure",
                *(notice.registration, kind.name, tries),
            )
            self._notices.remove(notice.n)
        else:
            self._notices.retry(notice, due=now + wait_before(tries))


def _subject(notice: Notice) -> str:
    return f"{notice.kind} notice {notice.n}"
