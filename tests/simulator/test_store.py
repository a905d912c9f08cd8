"""The store of an appliance: transactions that end badly leave nothing behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.simulator.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    made = Store(tmp_path / "state.sqlite")
    yield made
    made.close()


def test_a_commit_that_fails_is_as_if_nothing_had_been_asked_for(store: Store) -> None:
    """As on a full disk: nothing is written, nothing of it is done later, and the next transaction is a new one."""
    store.db.execute("PRAGMA foreign_keys = ON")
    store.db.execute("CREATE TABLE parents (n INTEGER PRIMARY KEY)")
    store.db.execute("CREATE TABLE children (n INTEGER REFERENCES parents (n) DEFERRABLE INITIALLY DEFERRED)")
    done: list[str] = []

    def write() -> None:
        with store.writing() as db:
            store.remember("a", "b")
            store.after_commit(lambda: done.append("of the one that failed"))
            db.execute("INSERT INTO children VALUES (1)")  # refused at the end

    with pytest.raises(sqlite3.IntegrityError):
        write()
    assert store.meta("a") is None
    with store.writing():
        store.remember("c", "d")
        store.after_commit(lambda: done.append("of the next one"))
    assert (store.meta("c"), done) == ("d", ["of the next one"])


def test_what_follows_a_commit_is_done_whatever_becomes_of_the_rest(store: Store) -> None:
    """One action that fails does not keep the others from being done, and is heard of."""
    done: list[int] = []

    def write() -> None:
        with store.writing():
            store.after_commit(lambda: done.append(1))
            store.after_commit(lambda: done.append(1 // 0))
            store.after_commit(lambda: done.append(2))

    with pytest.raises(ZeroDivisionError):
        write()
    assert done == [1, 2]
