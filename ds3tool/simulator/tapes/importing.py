"""Takes in what is on tapes of other appliances, and of nobody's: buckets, objects, blobs and copies out of an index.

A version of an object is known again by its id on the appliance that wrote it, so that tapes with the second copies, or
with the other blobs of an object that spans tapes, join what came before; an object is there when its last blob is.
A name that is taken in a bucket without versions is left out, and so is what an index tells of a bucket that cannot be.
What is taken in twice, since the appliance died meanwhile, is there once.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType, Versioning
from ds3tool.simulator.buckets import Bucket, Rules
from ds3tool.simulator.events import ObjectChanged
from ds3tool.simulator.tapes.index import BadIndexError, IndexedBlob, IndexedFile, TapeLabel, read_entries, read_label
from ds3tool.simulator.tapes.ledger import Spent
from ds3tool.simulator.tapes.media import BlobOnTape, opened
from ds3tool.simulator.tapes.verification import is_good
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.refusals import Refusal
from ds3tool.simulator.wire.targets import check_name

if TYPE_CHECKING:
    from ds3tool.simulator.machine import Machine
    from ds3tool.simulator.tapes.drive import Drive
    from ds3tool.simulator.tapes.tape import Tape

_BATCH = 200
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import a tape. Ids of the data policy and the user that new buckets get, and of the storage domain that
    the copies become part of (None: the first of the data policy's that takes such a tape); of a raw import the bucket.

    `verify_before`: whether all bytes are read before anything is taken in; `verify_after`: the priority of a
    verification that follows, None for none.
    """

    data_policy_id: str
    user_id: str
    storage_domain_id: str | None = None
    bucket_id: str | None = None
    priority: str | None = None
    verify_before: bool = True
    verify_after: str | None = None


class _NotImportedError(Exception):
    """A tape stays what it was: `kind` of failure and why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def import_objects(machine: Machine, tape: Tape, drive: Drive) -> None:
    """Take in a FOREIGN tape that is to be imported."""
    _import(machine, tape, drive, "IMPORT_PENDING", "FOREIGN")


def import_files(machine: Machine, tape: Tape, drive: Drive) -> None:
    """Take in the files of a tape of nobody's, as objects of one bucket."""
    _import(machine, tape, drive, "RAW_IMPORT_PENDING", "LTFS_WITH_FOREIGN_DATA")


def _import(machine: Machine, tape: Tape, drive: Drive, pending: str, before: str) -> None:
    at_work = pending.replace("PENDING", "IN_PROGRESS")
    with machine.store.lock:
        if tape.state not in (pending, at_work) or tape.directive is None:
            return
        work = _Import(machine, tape, drive, ImportOptions(**json.loads(tape.directive)))
        machine.library.enter(tape, at_work)
    try:
        work.run()
    except (_NotImportedError, BadIndexError, Refusal) as error:
        kind = error.kind if isinstance(error, _NotImportedError) else "IMPORT_FAILED"
        with machine.store.writing():
            tape.directive = None
            machine.failures.tape(kind, tape, f"The tape {tape.bar_code} was not imported: {error}", drive.id)
            machine.library.enter(tape, before)


class _Import:
    """One import, run by a drive."""

    def __init__(self, machine: Machine, tape: Tape, drive: Drive, options: ImportOptions) -> None:
        self._machine = machine
        self._tape = tape
        self._drive = drive
        self._options = options
        self._index = machine.library.index_path(tape)
        self._left_out: list[str] = []
        self._left_out_count = 0
        self._incomplete: set[int] = set()

    def run(self) -> None:
        """Take everything in; _NotImportedError or BadIndexError when nothing more can be done."""
        label = read_label(self._index)
        if label is None:
            raise _NotImportedError("IMPORT_FAILED", "it has no index.")
        if self._options.verify_before and label.owner is not None:
            self._check_bytes()
        if self._tape.tab:
            raise _NotImportedError(
                "IMPORT_FAILED_DUE_TO_TAKE_OWNERSHIP_FAILURE", "it is protected against writing, and stays another's."
            )
        domain = self._domain()
        if label.owner is None:
            self._take_files(label, domain)
        else:
            self._take_blobs(domain)
        self._drive.settle()
        self._finish(label, domain)

    def _check_bytes(self) -> None:
        for entry in read_entries(self._index):
            assert isinstance(entry, IndexedBlob)
            if not is_good(self._machine, self._tape, self._drive, _on_tape(entry)):
                message = f"the blob of '{entry.name}' at offset {entry.offset} is damaged."
                raise _NotImportedError("IMPORT_FAILED_DUE_TO_DATA_INTEGRITY", message)

    def _domain(self) -> str:
        """Return the storage domain that takes the tape."""
        machine, options = self._machine, self._options
        with machine.store.lock:
            wanted = [options.storage_domain_id] if options.storage_domain_id else self._domains()
            for domain in wanted:
                if machine.library.member(domain, self._tape) is not None and not self._has_copies(domain):
                    return domain
        raise _NotImportedError(
            "IMPORT_FAILED", f"no storage domain takes another {self._tape.type} with these objects."
        )

    def _domains(self) -> list[str]:
        """Return the storage domains of the data policy: the one of the first bucket, where that is there already."""
        policy = self._options.data_policy_id
        first = next(read_entries(self._index), None)
        if isinstance(first, IndexedBlob):
            known = next((each for each in self._machine.buckets.all() if each.name == first.bucket), None)
            policy = policy if known is None else known.data_policy_id
        rules = self._machine.beans.all("DataPersistenceRule")
        return [str(e["StorageDomainId"]) for e in rules if e["DataPolicyId"] == policy and e["Type"] != "RETIRED"]

    def _has_copies(self, domain: str) -> bool:
        """Tell whether the storage domain has a copy of the tape's first blob already, on another tape."""
        first = next(read_entries(self._index), None)
        if not isinstance(first, IndexedBlob):
            return False
        number = self._known(self._machine.store.db, first.version)
        row = self._machine.store.db.execute(
            "SELECT 1 FROM blobs b JOIN copies c ON c.blob = b.n WHERE b.object = ? AND b.offset = ? AND c.domain = ? "
            "AND c.tape <> ? AND c.suspect = 0",
            (number, first.offset, domain, self._tape.n),
        ).fetchone()
        return row is not None

    # Objects of an appliance.

    def _take_blobs(self, domain: str) -> None:
        buckets: dict[str, Bucket | None] = {}
        for batch in _batches(read_entries(self._index)):
            self._drive.check()
            entries = [entry for entry in batch if isinstance(entry, IndexedBlob)]
            for entry in entries:
                if entry.bucket not in buckets:
                    buckets[entry.bucket] = self._bucket(entry.bucket)
            with self._machine.store.writing() as db:
                for entry in entries:
                    bucket = buckets[entry.bucket]
                    if bucket is not None and self._machine.buckets.find_number(bucket.n) is None:
                        bucket = buckets[entry.bucket] = None  # deleted meanwhile
                    if bucket is None or not self._take_blob(db, bucket, entry, domain):
                        self._leave_out(f"{entry.bucket}/{entry.name}")

    def _bucket(self, name: str) -> Bucket | None:
        """Return the bucket of this name, made when there is none; None when there can be none."""
        machine, options = self._machine, self._options
        with machine.store.lock:
            try:
                return machine.buckets.named(name)
            except Refusal:
                pass
            try:
                return machine.buckets.create(
                    name,
                    identifier=machine.new_id(),
                    policy=options.data_policy_id,
                    user=options.user_id,
                    now=machine.clock.now(),
                    protected=False,
                )
            except Refusal:
                return None

    def _take_blob(self, db: sqlite3.Connection, bucket: Bucket, entry: IndexedBlob, domain: str) -> bool:
        """Take one blob in; False when its object cannot be."""
        number = self._known(db, entry.version)
        if number is None:
            metadata = None if entry.metadata is None else json.dumps(entry.metadata)
            number = self._new_object(db, bucket, entry.version, entry.name, entry.size)
            if number is None:
                return False
            db.execute("UPDATE objects SET etag = ?, metadata = ? WHERE n = ?", (entry.etag, metadata, number))
        elif not self._is_of(db, number, bucket, entry):
            return False
        kind, digest = ChecksumType(entry.checksum_type), bytes.fromhex(entry.checksum)
        if not self._place_blob(db, number, _Placed(entry.offset, entry.length, kind, digest, entry.position), domain):
            return False
        self._complete(db, bucket, number, entry.created, latest=entry.latest)
        return True

    def _known(self, db: sqlite3.Connection, version: str) -> int | None:
        """Return the row of a version that is here already, by the id it has on the tape."""
        row = db.execute(
            "SELECT o.n FROM imports i JOIN objects o ON o.n = i.object WHERE i.version = ?", (version,)
        ).fetchone()
        if row is None:
            row = db.execute(
                "SELECT n FROM objects WHERE n = ?", (self._machine.objects.ids.number(version),)
            ).fetchone()
        return None if row is None else int(row[0])

    def _is_of(self, db: sqlite3.Connection, number: int, bucket: Bucket, entry: IndexedBlob) -> bool:
        """Tell whether a blob's object is the known one: appliances of one seed give one id to different objects."""
        named = (number, bucket.n, entry.name, entry.size)
        query = "SELECT 1 FROM objects WHERE n = ? AND bucket = ? AND name = ? AND size = ?"
        return db.execute(query, named).fetchone() is not None

    def _new_object(self, db: sqlite3.Connection, bucket: Bucket, version: str, name: str, size: int) -> int | None:
        """Make an object's row, not complete yet; None when its name is taken."""
        machine = self._machine
        taken = self._rules(bucket).versioning is Versioning.NONE and machine.objects.exists(bucket.n, name)
        if taken or not _is_name(name):
            return None
        number = machine.store.numbers("objects", 1)
        db.execute(
            "INSERT INTO objects (n, bucket, name, size, latest) VALUES (?, ?, ?, ?, 0)",
            (number, bucket.n, name, size),
        )
        db.execute("INSERT OR REPLACE INTO imports (version, object) VALUES (?, ?)", (version, number))
        return number

    def _rules(self, bucket: Bucket) -> Rules:
        return self._machine.buckets.rules(bucket)

    def _place_blob(self, db: sqlite3.Connection, number: int, placed: _Placed, domain: str) -> bool:
        """Make a blob's row when there is none, and that of its copy; False when it is another blob than is here."""
        row = db.execute(
            "SELECT n, length, checksum FROM blobs WHERE object = ? AND offset = ?", (number, placed.offset)
        ).fetchone()
        if row is not None and row[1:] != (placed.length, placed.digest):
            return False
        if row is None and not self._may_grow(db, number):
            return False
        blob = self._machine.store.numbers("blobs", 1) if row is None else row[0]
        if row is None:
            db.execute(
                "INSERT INTO blobs (n, object, offset, length, checksum, checksum_type, cached, persisted) "
                "VALUES (?, ?, ?, ?, ?, ?, 0, 1)",
                (blob, number, placed.offset, placed.length, placed.digest, placed.kind),
            )
        db.execute(
            "INSERT INTO copies (blob, domain, tape, position) VALUES (?, ?, ?, ?) ON CONFLICT (blob, domain) "
            "DO UPDATE SET tape = excluded.tape, position = excluded.position, suspect = 0 WHERE suspect = 1",
            (blob, domain, self._tape.n, placed.position),
        )
        return True

    def _may_grow(self, db: sqlite3.Connection, number: int) -> bool:
        """Tell whether an object still lacks blobs that no job brings: one that is whole must not be added to."""
        query = "SELECT 1 FROM objects WHERE n = ? AND created IS NULL AND job IS NULL"
        return db.execute(query, (number,)).fetchone() is not None

    def _complete(self, db: sqlite3.Connection, bucket: Bucket, number: int, created: float, *, latest: bool) -> None:
        """Make an object complete when all of its blobs are known; the newest of its name is the latest."""
        size, there, known = db.execute(
            "SELECT o.size, o.created, (SELECT sum(b.length) FROM blobs b WHERE b.object = o.n) "
            "FROM objects o WHERE o.n = ?",
            (number,),
        ).fetchone()
        if there is not None:
            return
        if known != size:
            self._incomplete.add(number)
            return
        self._incomplete.discard(number)
        name = "bucket = ?1 AND name = (SELECT name FROM objects WHERE n = ?2) AND n <> ?2 AND created IS NOT NULL"
        values = (bucket.n, number)
        newer = db.execute(f"SELECT 1 FROM objects WHERE {name} AND latest = 1 AND created > ?3", (*values, created))  # noqa: S608 - constants
        first = latest and newer.fetchone() is None
        events = self._machine.store.events
        older = db.execute(f"SELECT n FROM objects WHERE {name} AND latest = 1", values).fetchall() if first else []  # noqa: S608 - constants
        db.execute("UPDATE objects SET created = ?, latest = ? WHERE n = ?", (created, first, number))
        events.tell(ObjectChanged("CREATE", number))
        for (each,) in older:
            db.execute("UPDATE objects SET latest = 0 WHERE n = ?", (each,))
            events.tell(ObjectChanged("UNMARK_LATEST", each))
        if self._rules(bucket).versioning is Versioning.KEEP_LATEST:
            others = db.execute(f"SELECT n FROM objects WHERE {name}", values).fetchall()  # noqa: S608 - constants
            self._machine.objects.remove(db, [each for (each,) in others] if first else [number])

    # Files of nobody's.

    def _take_files(self, label: TapeLabel, domain: str) -> None:
        machine = self._machine
        with machine.store.lock:
            bucket = machine.buckets.find(self._options.bucket_id or "")
            rules = self._rules(bucket)
        blob_size = max(1, rules.default_blob_size or machine.settings.blob_size) if rules.blobbing else None
        with opened(machine.library.path(self._tape), os.O_RDONLY) as source:
            for entry in read_entries(self._index):
                assert isinstance(entry, IndexedFile)
                version = f"{label.tape}/{entry.position}/{entry.name}"
                placed = [self._digested(source, each, rules.checksum_type) for each in _cut(entry, blob_size)]
                with machine.store.writing() as db:
                    number = self._known(db, version)
                    if number is None and machine.buckets.find_number(bucket.n) is not None:
                        number = self._new_object(db, bucket, version, entry.name, entry.length)
                    if number is None:
                        self._leave_out(entry.name)
                        continue
                    etag = checksums.etag([each.digest for each in placed])
                    db.execute("UPDATE objects SET etag = ? WHERE n = ?", (etag, number))
                    for each in placed:
                        self._place_blob(db, number, each, domain)
                    self._complete(db, bucket, number, machine.clock.now(), latest=True)

    def _digested(self, source: int, place: tuple[int, int, int], kind: ChecksumType) -> _Placed:
        """Read a blob's bytes, which nobody has a digest of."""
        offset, length, position = place
        self._drive.check()
        self._drive.locate(position)
        self._drive.stream(length, Spent.READ)
        digester = checksums.digester(kind)
        done = 0
        while done < length:
            self._drive.check()
            piece = os.pread(source, min(_PIECE, length - done), position + done)
            if not piece:
                raise _NotImportedError("IMPORT_FAILED_DUE_TO_DATA_INTEGRITY", "it ends before its last file.")
            digester.update(piece)
            done += len(piece)
        return _Placed(offset, length, kind, digester.digest(), position)

    # The end.

    def _leave_out(self, name: str) -> None:
        self._left_out_count += 1
        if len(self._left_out) < 3:
            self._left_out.append(name)

    def _finish(self, label: TapeLabel, domain: str) -> None:
        machine, tape, options = self._machine, self._tape, self._options
        with machine.store.writing():
            member = machine.library.member(domain, tape)
            tape.domain_id, tape.member_id = domain, None if member is None else str(member["Id"])
            tape.written, tape.directive, tape.description = label.written, None, None
            tape.full = tape.available == 0
            tape.modified = tape.accessed = machine.clock.now()
            machine.library.enter(tape, "NORMAL")
            if self._left_out_count:
                names = ", ".join(self._left_out)
                message = f"Of the tape {tape.bar_code} {self._left_out_count} blobs were left out, as of: {names}."
                machine.failures.tape("IMPORT_INCOMPLETE", tape, message, self._drive.id)
            if self._incomplete:
                message = f"{len(self._incomplete)} objects on the tape {tape.bar_code} go on on other tapes."
                machine.failures.tape("IMPORT_INCOMPLETE", tape, message, self._drive.id)
            if options.verify_after is not None:
                machine.store.after_commit(lambda: machine.upkeep.verify(tape, options.verify_after))
        # The rows tell from now on what is on it.
        os.unlink(self._index)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A blob: its range in the object, its digest, and where it lies on the tape."""

    offset: int
    length: int
    kind: ChecksumType
    digest: bytes
    position: int


def _on_tape(entry: IndexedBlob) -> BlobOnTape:
    digest = bytes.fromhex(entry.checksum)
    return BlobOnTape(0, entry.length, ChecksumType(entry.checksum_type), digest, entry.position)


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except Refusal:
        return False
    return True


def _cut(entry: IndexedFile, blob_size: int | None) -> list[tuple[int, int, int]]:
    """Return a file's blobs as (offset, length, position)."""
    step = blob_size or max(1, entry.length)
    starts = range(0, max(1, entry.length), step)
    return [(start, min(step, entry.length - start), entry.position + start) for start in starts]


def _batches(entries: Iterable[IndexedBlob | IndexedFile]) -> Iterator[list[IndexedBlob | IndexedFile]]:
    each = iter(entries)
    while batch := list(itertools.islice(each, _BATCH)):
        yield batch
