"""The feeds of a simulated Lotame: hourly files that a seed makes, and what stands in the bucket.

A file of an hour appears some minutes after the hour has ended, by the simulation's clock: whoever moves the clock has
new files. Its lines are profiles as DataStream has them, made only when somebody reads them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import field

from ds3tool.lazy_dataclass import dataclass

HOUR = 3600
# A file of an hour is there at the latest so many seconds after the hour's end.
LONGEST_LAG_SECONDS = 600
_COUNTRIES = ("US", "DE", "BR", "JP", "FR")
_TAPS = ("DEVICE", "BROWSER", "MATCH")


@dataclass(frozen=True, slots=True)
class SimulatedFeed:
    """A feed: `profile_type` is cookie or mobile, `type` client or 3pd. `empty`: nothing is ever new in it.

    `mapping`: where the names of its behaviours are, "s3", "http", or None for nowhere. `files_per_hour` and `lines`
    of each file as the seed makes them; 0 files: only what is added by hand.
    """

    id: int
    type: str = "client"
    profile_type: str = "cookie"
    region: str = "na"
    empty: bool = False
    mapping: str | None = "s3"
    files_per_hour: int = 2
    lines: int = 20


@dataclass(slots=True)
class StoredObject:
    """An object of the bucket; its bytes are made when they are first asked for. `modified` in seconds since 1970."""

    key: str
    modified: float
    make: Callable[[], bytes]
    _made: tuple[bytes, str] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self._now_made()[0]

    @property
    def etag(self) -> str:
        """The MD5 of its bytes, in hex, without quotes."""
        return self._now_made()[1]

    def _now_made(self) -> tuple[bytes, str]:
        with self._lock:
            if self._made is None:
                data = self.make()
                self._made = data, hashlib.md5(data, usedforsecurity=False).hexdigest()
            return self._made


@dataclass(frozen=True, slots=True)
class Published:
    """A file as Lotame lists it: its name, and when it appeared, in seconds since 1970."""

    name: str
    at: float


class FeedStore:
    """All feeds of a client and the objects of their bucket. Every method may be called from any thread."""

    def __init__(self, *, seed: int, bucket: str, client_id: str, prefix: str, begun: float) -> None:
        """Begin with the hours from `begun` (seconds since 1970) on; `prefix` leads every key, without slashes."""
        self.bucket = bucket
        self._seed = seed
        self._client_id = client_id
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._lock = threading.RLock()
        self._feeds: dict[int, SimulatedFeed] = {}
        self._next_hour: dict[int, int] = {}
        self._files: dict[int, list[Published]] = {}
        self._objects: dict[str, StoredObject] = {}
        self._begun = int(begun // HOUR)

    # -- made ------------------------------------------------------------------------------------------------------

    def add_feed(self, feed: SimulatedFeed) -> None:
        """Add a feed, or put it in place of one of its number; its files begin with the first hour."""
        with self._lock:
            self._feeds[feed.id] = feed
            self._next_hour[feed.id] = self._begun
            self._files[feed.id] = []
            if feed.mapping is not None:
                key = self.mapping_key(feed.id)
                self._objects[key] = StoredObject(key, self._begun * HOUR, self._mapping_data)

    def add_file(self, feed_id: int, name: str, data: bytes, at: float) -> str:
        """Let a file appear in a feed at that time (seconds since 1970); return its key in the bucket."""
        with self._lock:
            key = f"{self.location(feed_id)}/{name}"
            self._objects[key] = StoredObject(key, at, lambda: data)
            if all(one.name != name for one in self._files[feed_id]):
                self._files[feed_id].append(Published(name, at))
            return key

    def remove_object(self, key: str) -> None:
        """Remove an object from the bucket; Lotame goes on listing it. KeyError when it is not there."""
        with self._lock:
            del self._objects[key]

    def replace_object(self, key: str, data: bytes) -> None:
        """Give an object other bytes; KeyError when it is not there."""
        with self._lock:
            self._objects[key] = StoredObject(key, self._objects[key].modified, lambda: data)

    def publish(self, now: float) -> None:
        """Make the files of all hours that are over by `now`."""
        with self._lock:
            for feed in self._feeds.values():
                while (hour := self._next_hour[feed.id]) * HOUR + HOUR <= now:
                    self._next_hour[feed.id] = hour + 1
                    self._make_hour(feed, hour)

    def _make_hour(self, feed: SimulatedFeed, hour: int) -> None:
        if feed.empty:
            return
        for number in range(feed.files_per_hour):
            chance = random.Random(f"{self._seed} {feed.id} {hour} {number}")  # noqa: S311 - data, not secrets
            name = f"{uuid.UUID(int=chance.getrandbits(128), version=4)}.gz"
            at = (hour + 1) * HOUR + chance.randrange(LONGEST_LAG_SECONDS)
            key = f"{self.location(feed.id)}/{name}"
            self._objects[key] = StoredObject(key, at, self._maker(feed, hour, number))
            self._files[feed.id].append(Published(name, at))

    def _maker(self, feed: SimulatedFeed, hour: int, number: int) -> Callable[[], bytes]:
        return lambda: packed(self._lines(feed, hour, number))

    def _lines(self, feed: SimulatedFeed, hour: int, number: int) -> Iterator[dict[str, object]]:
        chance = random.Random(f"{self._seed} {feed.id} {hour} {number} lines")  # noqa: S311 - data, not secrets
        for _ in range(feed.lines):
            about: dict[str, object] = {"val": f"p-{chance.getrandbits(40):010x}", "type": feed.profile_type}
            if feed.profile_type == "mobile":
                about["sub_type"] = chance.choice(("GAID", "IDFA"))
            event = {
                "tap": chance.choice(_TAPS),
                "c": int(self._client_id) if self._client_id.isdigit() else self._client_id,
                "subSrc": chance.randrange(1, 100),
                "ts": hour * HOUR + chance.randrange(HOUR),
                "add": sorted(chance.sample(range(100, 200), chance.randrange(4))),
                "remove": sorted(chance.sample(range(200, 300), chance.randrange(3))),
            }
            yield {"id": about, "country": chance.choice(_COUNTRIES), "region": feed.region, "events": [event]}

    def _mapping_data(self) -> bytes:
        return packed(
            {"behavior_id": number, "hierarchy_nodes": [{"id": 555, "path": f"Example Hierarchy^Sports^Kind {number}"}]}
            for number in range(100, 300)
        )

    # -- asked -----------------------------------------------------------------------------------------------------

    def feeds(self) -> list[SimulatedFeed]:
        """Return all feeds, in order of their numbers."""
        with self._lock:
            return [self._feeds[number] for number in sorted(self._feeds)]

    def location(self, feed_id: int) -> str:
        """Return the prefix that a feed's files lie under, without a slash at its end."""
        feed = self._feeds[feed_id]
        return f"{self._prefix}{self._client_id}/{feed.region}/{feed.profile_type}"

    def mapping_key(self, feed_id: int) -> str:
        """Return the key of a feed's mapping file; feeds share it, as they do at Lotame's."""
        assert feed_id in self._feeds
        return f"{self._prefix}{self._client_id}/meta/behaviors.json.gz"

    def files(self, feed_id: int, *, since: float | None = None, now: float) -> list[Published]:
        """Return a feed's files that appeared from `since` to `now`, in the order in which they did."""
        self.publish(now)
        with self._lock:
            found = [one for one in self._files[feed_id] if one.at <= now and (since is None or one.at >= since)]
        return sorted(found, key=lambda one: (one.at, one.name))

    def object(self, key: str, now: float) -> StoredObject | None:
        """Return an object of the bucket that is there by `now`."""
        self.publish(now)
        with self._lock:
            found = self._objects.get(key)
            return found if found is not None and found.modified <= now else None

    def objects(self, now: float) -> list[StoredObject]:
        """Return all objects that are there by `now`, in order of their keys."""
        self.publish(now)
        with self._lock:
            return sorted((one for one in self._objects.values() if one.modified <= now), key=lambda one: one.key)


def packed(lines: Iterator[dict[str, object]]) -> bytes:
    """Return lines of JSON, gzipped; the same lines make the same bytes."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return gzip.compress(text.encode(), mtime=0)
