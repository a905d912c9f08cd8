"""Who registered for which notifications: records of the contract's types, and what became of the last notice of each.

An end point may be any text; what is not an http or https URL is kept, and nothing is ever sent there. A registration
stays until it is deleted, however often its receiver fails: NumberOfFailuresSinceLastSuccess counts on. One that is of
a single job goes when that job has ended and its last notice is out or given up; one that is of a single bucket goes
with the bucket.

LastNotification is when a notice was last tried and LastHttpResponseCode what came of that, null for no answer at all;
LastFailure stays after a success, as the last one there was.
"""

from __future__ import annotations

from ds3tool.simulator.clock import Clock
from ds3tool.simulator.notifications.kinds import BY_NAME, KINDS, NoticeKind
from ds3tool.simulator.records.beans import Beans, Fields

# What was looked at last, of the changes of buckets; not a property of the contract's type, and not shown.
CURSOR = "cursor"


def deliverable(end_point: str) -> bool:
    """Tell whether an end point can be sent to."""
    return end_point.lower().startswith(("http://", "https://"))


class Registrations:
    """All registrations. Methods are called with the store's lock held."""

    def __init__(self, beans: Beans, clock: Clock) -> None:
        self._beans = beans
        self._clock = clock

    def all_of(self, kind: NoticeKind) -> list[Fields]:
        """Return the registrations of a kind that can be sent to."""
        return [each for each in self._beans.all(kind.record) if deliverable(each["NotificationEndPoint"])]

    def wanting(self, kind: NoticeKind, scope: str | None = None) -> list[Fields]:
        """Return the registrations that a notice of `kind` goes to; `scope` is the id of its job or bucket."""
        found = self.all_of(kind)
        return [each for each in found if kind.scope is None or each.get(kind.scope) in (None, scope)]

    def of_one(self, scope: str, identifier: str) -> list[tuple[NoticeKind, Fields]]:
        """Return the registrations that are of one job or bucket only; `scope` is JobId or BucketId."""
        return [
            (kind, each)
            for kind in KINDS
            if kind.scope == scope
            for each in self._beans.all(kind.record)
            if each.get(scope) == identifier
        ]

    def get(self, kind: str, identifier: str) -> Fields | None:
        """Return a registration of the kind with this name, or None when it is gone."""
        return self._beans.get(BY_NAME[kind].record, identifier)

    def remove(self, kind: NoticeKind, identifier: str) -> None:
        """Remove a registration."""
        self._beans.remove(kind.record, identifier)

    def looked_at(self, kind: NoticeKind, identifier: str, last: int) -> None:
        """Note which change of a bucket was looked at last for a registration."""
        self._beans.update(kind.record, identifier, {CURSOR: last})

    def delivered(self, kind: NoticeKind, identifier: str, code: int, changes: Fields) -> None:
        """Note a success: the answer's status, and what else changes."""
        values = {
            "LastHttpResponseCode": code,
            "LastNotification": self._clock.now(),
            "NumberOfFailuresSinceLastSuccess": 0,
        }
        self._beans.update(kind.record, identifier, {**values, **changes})

    def failed(self, kind: NoticeKind, registration: Fields, code: int | None, why: str) -> None:
        """Note a failure: the answer's status, None when there was none, and a sentence."""
        values = {
            "LastFailure": why,
            "LastHttpResponseCode": code,
            "LastNotification": self._clock.now(),
            "NumberOfFailuresSinceLastSuccess": registration["NumberOfFailuresSinceLastSuccess"] + 1,
        }
        self._beans.update(kind.record, registration["Id"], values)
