"""Which media a get will need, asked for before anything is mounted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from ds3tool.client import Ds3Client
from ds3tool.jobs.copies import Reach, reach_of_pool, reach_of_tape
from ds3tool.jobs.plan import PlannedJob
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ObjectToGet, PlacedBlob, Tape
from ds3tool.protocol.names import MAX_KEYS_PER_REQUEST


@dataclass(slots=True)
class MediaNeeded:
    """The tapes that blobs of some plans are on, by bar code, and what needs none.

    `online`: tapes a robot reaches, of which the appliance will choose. `away`: tapes that somebody has to bring,
    since of some blob there is no other copy. `lost`: keys of which no copy can be read at all, the first hundred.
    """

    cached_blobs: int = 0
    cached_bytes: int = 0
    online: dict[str, Tape] = field(default_factory=dict)
    away: dict[str, Tape] = field(default_factory=dict)
    pools: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)

    def add(self, client: Ds3Client, plan: PlannedJob) -> None:
        """Ask where the objects of `plan` are, a thousand at a time."""
        wanted = (ObjectToGet(key, version_id=plan.version_ids.get(number)) for number, key in enumerate(plan.keys))
        while batch := list(itertools.islice(wanted, MAX_KEYS_PER_REQUEST)):
            for placed in client.get_blob_placement(plan.bucket, batch):
                self._take(placed)

    def _take(self, placed: PlacedBlob) -> None:
        if placed.blob.in_cache:
            self.cached_blobs += 1
            self.cached_bytes += placed.blob.length
            return
        if not placed.blob.length:
            return
        placement = placed.placement
        pools = [pool.name for pool in placement.pools if reach_of_pool(pool) is Reach.ONLINE]
        online = [tape for tape in placement.tapes if reach_of_tape(tape) is Reach.ONLINE]
        away = [tape for tape in placement.tapes if reach_of_tape(tape) is Reach.OFFLINE]
        if pools or placement.targets:
            self.pools.update(pools)
        elif online:
            self.online.update((tape.bar_code, tape) for tape in online)
        elif away:
            self.away.update((tape.bar_code, tape) for tape in away)
        elif len(self.lost) < 100:
            self.lost.append(placed.blob.key)

    def mapping(self) -> dict[str, Any]:
        """Return this for a JSON document."""
        return {
            "cached_blobs": self.cached_blobs,
            "cached_bytes": self.cached_bytes,
            "tapes": [_tape(tape, away=False) for _, tape in sorted(self.online.items())]
            + [_tape(tape, away=True) for _, tape in sorted(self.away.items())],
            "pools": sorted(self.pools),
            "without_copy": self.lost,
        }

    def sentences(self) -> Iterator[str]:
        """Yield this for people, a line each."""
        if self.online:
            yield f"on tapes in the library: {', '.join(sorted(self.online))}"
        if self.away:
            told = ", ".join(_with_place(tape) for _, tape in sorted(self.away.items()))
            yield f"somebody must bring: {told}"
        if not self.online and not self.away and self.cached_blobs:
            yield "all of it is in the cache"
        if self.lost:
            yield f"on no medium that can be read: {', '.join(self.lost[:5])}{' ...' if len(self.lost) > 5 else ''}"


def _tape(tape: Tape, *, away: bool) -> dict[str, Any]:
    return {
        "bar_code": tape.bar_code,
        "state": tape.state,
        "away": away,
        "label": tape.eject_label,
        "location": tape.eject_location,
    }


def _with_place(tape: Tape) -> str:
    place = " ".join(text for text in (tape.eject_label, tape.eject_location) if text)
    return f"{tape.bar_code} ({place})" if place else tape.bar_code
