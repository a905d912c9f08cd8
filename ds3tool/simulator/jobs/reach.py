"""Which blobs a read job is about, and from which tapes they can come; or which tapes must be put back first."""

from __future__ import annotations

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.objects import Objects
from ds3tool.simulator.records.beans import Beans
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import Refusal, bad_request, conflict
from ds3tool.simulator.wire.xmlin import WantedObject

# States in which a tape can be read soon without anybody's help.
_WITHIN_REACH = ("NORMAL", "ONLINE_PENDING", "ONLINE_IN_PROGRESS", "PENDING_INSPECTION", "AUTO_COMPACTION_IN_PROGRESS")


@dataclass(frozen=True, slots=True)
class WantedBlob:
    """A blob's row, length in bytes, and where it lies: `tape` is a row, 0 for none, `position` bytes on it."""

    blob: int
    length: int
    cached: bool
    latest: bool
    tape: int
    position: int


class Reach:
    """Finds blobs on tapes. Methods are called with the store's lock held."""

    def __init__(self, *, store: Store, beans: Beans, objects: Objects, failure_ids: IdFamily, clock: Clock) -> None:
        self._store = store
        self._beans = beans
        self._objects = objects
        self._failure_ids = failure_ids
        self._clock = clock

    def find(self, bucket: Bucket, wanted: list[WantedObject]) -> dict[int, WantedBlob]:
        """Return the blobs, by row, that cover what is wanted, each once; a 404 or a 400 for what is not there."""
        found: dict[int, WantedBlob] = {}
        db = self._store.db
        for each in wanted:
            version = self._objects.complete(bucket.n, each.name, each.version_id)
            start, end = each.offset or 0, version.size
            if each.length is not None:
                end = start + each.length
            if end > version.size or (start >= end and version.size) or start > version.size:
                message = f"The range {start}-{end} is not inside '{each.name}', which has {version.size} bytes."
                raise bad_request(message)
            rows = db.execute(
                "SELECT b.n, b.length, b.cached FROM blobs b WHERE b.object = ? AND b.offset < ? AND "
                "(b.offset + b.length > ? OR b.length = 0) ORDER BY b.offset",
                (version.n, max(end, 1), start),
            )
            for blob, length, cached in rows:
                found.setdefault(blob, WantedBlob(blob, length, bool(cached), version.latest, 0, 0))
        return found

    def reachable(self, found: dict[int, WantedBlob], *, from_tape: bool, user_id: str) -> list[WantedBlob]:
        """Return the blobs with the tape that each will come from; none for those that are only taken from the cache.

        A 409 that names bar codes, and a record of it for the user `user_id`, when tapes must be put back first.
        """
        reach = ", ".join(f"'{state}'" for state in _WITHIN_REACH)
        blobs: list[WantedBlob] = []
        missing: set[str] = set()
        for each in found.values():
            if each.cached and not from_tape:
                blobs.append(each)
                continue
            rows = self._store.db.execute(
                f"SELECT t.n, c.position, t.bar_code, t.state IN ({reach}) AND t.eject_pending IS NULL "  # noqa: S608 - constants
                "FROM copies c JOIN tapes t ON t.n = c.tape WHERE c.blob = ? ORDER BY c.suspect, 4 DESC, t.n",
                (each.blob,),
            ).fetchall()
            near = [row for row in rows if row[3]]
            if near:
                place = (near[0][0], near[0][1])
                blobs.append(WantedBlob(each.blob, each.length, each.cached, each.latest, *place))
            elif rows:
                missing.update(row[2] for row in rows)
            else:
                blobs.append(each)  # in no place at all: the entry will fail by name
        if missing:
            raise self._tapes_missing(sorted(missing), user_id)
        return blobs

    def _tapes_missing(self, bar_codes: list[str], user_id: str) -> Refusal:
        listed = ", ".join(bar_codes)
        message = f"Conflict[409]: Tapes must be onlined before the job can be created: [{listed}]."
        user = self._beans.get("User", user_id)
        values = {
            "Date": self._clock.now(),
            "ErrorMessage": message,
            "TapeBarCodes": listed,
            "Type": "TAPES_MUST_BE_ONLINED",
            "UserName": user["Name"] if user is not None else "",
        }
        with self._store.writing():
            number = self._store.numbers("failures", 1)
            self._beans.add("JobCreationFailed", self._failure_ids.of(number), values)
        return conflict(message)
