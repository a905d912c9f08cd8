"""All of the notifications put together: who registered, what is to be told, and what brings it there."""

from __future__ import annotations

from collections.abc import Callable

from ds3tool.simulator.buckets import Buckets
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.faults import Faults
from ds3tool.simulator.history import BucketHistory
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.notifications import kinds
from ds3tool.simulator.notifications.courier import Courier
from ds3tool.simulator.notifications.kinds import NoticeKind
from ds3tool.simulator.notifications.notices import Notices
from ds3tool.simulator.notifications.outbox import Outbox
from ds3tool.simulator.notifications.registrations import CURSOR, Registrations
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.store import Store

# Changes of buckets that one notice tells at most.
_MOST_CHANGES = 1_000


class Notifications:
    """The notifications of an appliance, from `start` to `close`. Other methods are called with the lock held."""

    def __init__(
        self,
        *,
        store: Store,
        beans: Beans,
        buckets: Buckets,
        jobs: JobBook,
        history: BucketHistory,
        clock: Clock,
        faults: Faults,
        blob_ids: IdFamily,
        object_ids: IdFamily,
        own_port: Callable[[], int],
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._jobs = jobs
        self._history = history
        self.registrations = Registrations(beans, clock)
        self.notices = Notices(store, clock, blob_ids, object_ids)
        self._courier = Courier(
            store=store,
            changed=jobs.changed,
            clock=clock,
            faults=faults,
            registrations=self.registrations,
            notices=self.notices,
            own_ports=lambda: (own_port(),),
            collect=self._collect_changes,
            retire=self._retire,
        )
        Outbox(store, self.registrations, self.notices, self._courier.wake)

    def start(self) -> None:
        """Deliver notices from now on."""
        self._courier.start()

    def close(self) -> None:
        """Stop delivering, within a second."""
        self._courier.close()

    def begin_now(self) -> Fields:
        """Return the fields that let a registration for changes of buckets begin with what comes after it."""
        return {CURSOR: self._history.last}

    def _collect_changes(self) -> None:
        """Make one notice of the changes of buckets, for every registration that has none waiting."""
        for each in self.registrations.all_of(kinds.BUCKET_CHANGES):
            last = self._history.last
            if each[CURSOR] >= last or self.notices.waits(each["Id"]):
                continue
            bucket = None if each["BucketId"] is None else self._buckets.find(each["BucketId"]).n
            numbers = self._history.numbers_after(each[CURSOR], bucket, _MOST_CHANGES)
            with self._store.writing():
                seen = numbers[-1] if len(numbers) == _MOST_CHANGES else last
                self.registrations.looked_at(kinds.BUCKET_CHANGES, each["Id"], seen)
                if numbers:
                    changes = [{"Id": self._history.ids.of(number), "SequenceNumber": number} for number in numbers]
                    facts = {"Changes": changes, "LastProcessedEvent": numbers[-1]}
                    self.notices.add(each["Id"], kinds.BUCKET_CHANGES, facts)

    def _retire(self, kind: NoticeKind, registration: Fields) -> None:
        """Remove a registration of one job, when that has ended and nothing waits any more."""
        job_id = registration.get("JobId")
        if kind.scope != "JobId" or job_id is None or self.notices.waits(registration["Id"]):
            return
        if self._jobs.ids.number(job_id) not in self._jobs.active:
            self.registrations.remove(kind, registration["Id"])
