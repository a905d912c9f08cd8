"""Whole objects on their way to their names: gathered, so that many are made safe on the disk in one go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ds3tool.errors import Ds3Error
from ds3tool.jobs.ends import TargetObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sinks.descriptors import allowed
from ds3tool.sinks.parts import Part
from ds3tool.sinks.unnamed import GROUP_FILES, unwritable

# Whole files wait at most this long, or until a group of them is together, to be made durable in one go.
GROUP_SECONDS = 0.5

Outcome = list[tuple[TargetObject, Ds3Error | None]]


@dataclass(frozen=True, slots=True)
class Due:
    """A whole object that waits for its name: its temporary file, open; None for a folder."""

    item: TargetObject
    part: Part | None


class Groups:
    """Hands groups of at most half a second to `publish`, in a thread of its own.

    At most 512 objects wait, and fewer where that is more than a quarter of the files that may be open; who brings
    some dozens at a time may go beyond that by these. `beside` is called in that thread as often, and after `wake`.
    """

    def __init__(self, publish: Callable[[list[Due]], Outcome], *, beside: Callable[[], None]) -> None:
        self._publish = publish
        self._beside = beside
        self._awake = False
        self._most = allowed(2 * GROUP_FILES, eighths=2)
        self._group = max(1, self._most // 2)
        self._due: list[Due] = []
        self._settled: Outcome = []
        self._unsettled = 0
        self._hurried = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="ds3tool-finisher", daemon=True)
        self._thread.start()

    def add(self, due: Due) -> None:
        """Take an object, whose file is closed when it has its name; waits while too many wait."""
        self.add_all((due,))

    def add_all(self, dues: Sequence[Due]) -> None:
        """Take some dozens of objects."""
        with self._changed:
            self._due += dues
            self._unsettled += len(dues)
            if len(self._due) >= self._group:
                self._changed.notify_all()
            if self._unsettled >= self._most:  # each that is due holds a descriptor
                self._changed.wait_for(lambda: self._unsettled < self._most)

    def add_failure(self, item: TargetObject, error: Ds3Error) -> None:
        """Take an object that cannot appear."""
        with self._changed:
            self._settled.append((item, error))

    def wake(self) -> None:
        """Have `beside` called soon."""
        with self._changed:
            self._awake = True
            self._changed.notify_all()

    def settle(self, *, wait: bool) -> Outcome:
        """Return what has come to an end since the last call; with `wait`, all that was taken."""
        with self._changed:
            if wait:
                self._hurried = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._unsettled)
                self._hurried = False
            settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Publish what was taken, and end the thread. Twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._closed
                        or self._awake
                        or len(self._due) >= self._group
                        or (self._hurried and bool(self._due))
                    ),
                    GROUP_SECONDS,
                )
                group, self._due = self._due, []
                closed, self._awake = self._closed, False
            self._beside()
            if group:
                self._publish_group(group)
            elif closed:
                return

    def _publish_group(self, group: list[Due]) -> None:
        try:
            outcome = self._publish(group)
        except Exception as error:  # noqa: BLE001  # whoever waits for the group must hear of it
            outcome = [(due.item, unwritable(due.item.name, error)) for due in group]
        finally:
            for due in group:
                if due.part is not None:
                    due.part.close()
        with self._changed:
            self._settled.extend(outcome)
            self._unsettled -= len(group)
            self._changed.notify_all()
