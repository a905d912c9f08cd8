"""The failures that a journal holds and nobody has told a person yet, since the process that met them was killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Sequence

from ds3tool.errors import Ds3Error
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.journal_columns import pack_text, unpack_text
from ds3tool.jobs.journal_file import JournalFile


def write_failures(db: sqlite3.Connection, failures: Sequence[tuple[str | None, Failure, float]]) -> None:
    """Write failures, each with its job's id, if any, and its time in seconds since 1970."""
    db.executemany(
        "INSERT INTO failures (job_id, key, path, code, exit_code, message, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                job_id,
                None if one.key is None else pack_text(one.key),
                None if one.path is None else pack_text(one.path),
                one.error.code,
                one.error.exit_code,
                pack_text(one.error.message),
                at,
            )
            for job_id, one, at in failures
        ],
    )


def read_untold(file: JournalFile) -> list[Failure]:
    """Return the failures that were recorded since `all_told`, the last one of each object."""
    rows = file.rows(
        "SELECT key, path, code, exit_code, message FROM failures WHERE number > (SELECT told FROM work)"
        " ORDER BY number"
    )
    found: dict[tuple[bytes | None, bytes | None], Failure] = {}
    with file.unpacking():
        for key, path, code, exit_code, message in rows:
            error = _error(code, exit_code, unpack_text(message))
            found[key, path] = Failure(_text(key), error, _text(path))
    return list(found.values())


def all_told(db: sqlite3.Connection) -> None:
    """Write that a person was told of all failures that are recorded by now."""
    db.execute("UPDATE work SET told = (SELECT coalesce(max(number), 0) FROM failures)")


def without(failures: Sequence[Failure], keys: Container[str]) -> list[Failure]:
    """Return the failures of other objects than those of `keys`."""
    return [one for one in failures if one.key is None or one.key not in keys]


def _error(code: str, exit_code: int, message: str) -> Ds3Error:
    """Return an error that says what the recorded one said, and means the same exit code."""
    kind = type("RecordedError", (Ds3Error,), {"code": code, "exit_code": exit_code})
    error: Ds3Error = kind(message)
    return error


def _text(packed: bytes | None) -> str | None:
    return None if packed is None else unpack_text(packed)
