"""Configured things of every kind (users, policies, domains, drives, failures), as the wire names their properties."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ds3tool.simulator.events import FailureRecorded, RecordRemoved
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import not_found

Fields = dict[str, Any]


class Beans:
    """All beans, in memory and, one row each, in the store; ids are UUIDs in lower case.

    A bean's fields are JSON values; dates among them are seconds since 1970. A change is seen by readers when its
    transaction has been committed. What is returned must not be changed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kinds: dict[str, dict[str, Fields]] = {}
        self._changes: dict[str, int] = {}
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        for kind, identifier, text in store.db.execute("SELECT kind, id, fields FROM beans ORDER BY n"):
            self._kinds.setdefault(kind, {})[identifier] = json.loads(text)

    def changes(self, kind: str) -> int:
        """Return a number that is another one after every change to a bean of `kind`."""
        return self._changes.get(kind, 0)

    def watch(self, kind: str, action: Callable[[], None]) -> None:
        """Have `action` called with the store's lock held after every committed change to a bean of `kind`."""
        self._watchers.setdefault(kind, []).append(action)

    def _note(self, kind: str) -> None:
        self._changes[kind] = self.changes(kind) + 1
        for action in self._watchers.get(kind, ()):
            action()

    def add(self, kind: str, identifier: str, values: Fields) -> Fields:
        """Add one and return its fields, `Id` among them."""
        complete = {**values, "Id": identifier}
        with self._store.writing() as db:
            row = (kind, identifier, json.dumps(complete))
            db.execute("INSERT INTO beans (kind, id, fields) VALUES (?, ?, ?)", row)
            self._store.after_commit(lambda: self._put(kind, identifier, complete))
            if kind.endswith(("Failure", "CreationFailed")):
                self._store.events.tell(FailureRecorded(kind, complete))
        return complete

    def _put(self, kind: str, identifier: str, values: Fields) -> None:
        self._kinds.setdefault(kind, {})[identifier] = values
        self._note(kind)

    def all(self, kind: str) -> list[Fields]:
        """Return all of `kind` in the order they were added."""
        with self._store.lock:
            return list(self._kinds.get(kind, {}).values())

    def get(self, kind: str, identifier: str) -> Fields | None:
        """Return the one whose id (any case) or `Name` is `identifier`, or None."""
        with self._store.lock:
            found = self._kinds.get(kind, {}).get(identifier.lower())
            if found is not None:
                return found
            return next((fields for fields in self.all(kind) if fields.get("Name") == identifier), None)

    def find(self, kind: str, identifier: str) -> Fields:
        """Return what `get` returns; a 404 when there is none."""
        found = self.get(kind, identifier)
        if found is None:
            raise not_found(kind, identifier)
        return found

    def is_stored(self, kind: str, identifier: str) -> bool:
        """Tell whether there is one with this id, as the transaction around has left it."""
        query = "SELECT 1 FROM beans WHERE kind = ? AND id = ?"
        with self._store.lock:
            return self._store.db.execute(query, (kind, identifier)).fetchone() is not None

    def update(self, kind: str, identifier: str, values: Fields) -> Fields:
        """Change some fields of the one with this id and return them all; KeyError when there is none."""
        with self._store.writing() as db:
            complete = {**self._kinds[kind][identifier], **values}
            row = (json.dumps(complete), kind, identifier)
            db.execute("UPDATE beans SET fields = ? WHERE kind = ? AND id = ?", row)
            self._store.after_commit(lambda: self._put(kind, identifier, complete))
        return complete

    def remove(self, kind: str, identifier: str) -> bool:
        """Remove the one with this id; tell whether there was one."""
        with self._store.writing() as db:
            removed = db.execute("DELETE FROM beans WHERE kind = ? AND id = ?", (kind, identifier)).rowcount > 0
            if removed:
                self._store.events.tell(RecordRemoved(kind, identifier))
                self._store.after_commit(lambda: self._drop(kind, identifier))
        return removed

    def _drop(self, kind: str, identifier: str) -> None:
        self._kinds.get(kind, {}).pop(identifier, None)
        self._note(kind)
