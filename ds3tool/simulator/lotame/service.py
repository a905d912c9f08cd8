"""Lotame's DataStream in a box: its API, hourly files from a seed, and the bucket that they lie in, on two real ports.

    with LotameSimulator(LotameSimulatorSettings(clock=clock)) as lotame:
        client = LotameClient(find_settings(environ=lotame.environ))
        clock.advance(3600)  # an hour later there are new files

The bucket speaks as much of S3 as boto3 needs to read it, and knows the temporary credentials that the API has issued;
they are over by the clock, after so many requests, or when `credentials.expire_all()` says so. What goes wrong is
told to `faults`; `asked()` tells what was asked. What it does not imitate: TLS, users and rights, `include_latest`,
limits on how far back `since` reaches, and what `lotame_bucket` says of S3.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from email.utils import formatdate
from types import TracebackType
from typing import Self

from ds3tool.clock import Clock, RealClock
from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.lotame.api import ROOT, LotameApi
from ds3tool.simulator.lotame.bucket import Bucket
from ds3tool.simulator.lotame.credentials import REGION, CredentialDesk
from ds3tool.simulator.lotame.faults import LotameFault, LotameFaults
from ds3tool.simulator.lotame.feeds import HOUR, FeedStore, SimulatedFeed, StoredObject
from ds3tool.simulator.lotame.replies import Asked, Record
from ds3tool.simulator.wire.http import HttpServer

__all__ = [
    "Asked",
    "LotameFault",
    "LotameFaults",
    "LotameSimulator",
    "LotameSimulatorSettings",
    "SimulatedFeed",
]

_HOST = "127.0.0.1"
USUAL_FEEDS = (
    SimulatedFeed(9001, "client", "cookie"),
    SimulatedFeed(9002, "3pd", "mobile", mapping="http"),
    SimulatedFeed(9003, "3pd", "cookie", region="eu", empty=True),
)


@dataclass(frozen=True, slots=True)
class LotameSimulatorSettings:
    """How the simulation begins.

    `hours`: so many whole hours before the clock's hour have files already. `feeds`: a client's cookies, another
    party's mobile profiles, and one without anything new. The bucket's name has a dot and `prefix` an equals sign, as
    real ones may. `life_seconds`, `credential_requests`: how long credentials are good, and for how many requests of
    the bucket (None: any number). `retry_after`: seconds, of a 429. `slow_seconds`: how long a slow answer takes.
    """

    clock: Clock = field(default_factory=RealClock)
    seed: int = 1
    hours: int = 3
    feeds: tuple[SimulatedFeed, ...] = USUAL_FEEDS
    token: str = "simulated-token"  # noqa: S105 - it opens nothing but a simulation
    access: str = "simulated-access"
    client_id: str = "4321"
    bucket: str = "lotame-firehose.example"
    prefix: str = "export/v=2.1"
    life_seconds: float = 3600.0
    credential_requests: int | None = None
    retry_after: int = 7
    slow_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.hours < 0 or self.life_seconds <= 0 or self.slow_seconds < 0 or self.retry_after < 0:
            raise UsageError("simulated Lotame cannot have negative hours, lives or waits")


class LotameSimulator:
    """A running simulation; `start` (or entering it) begins, `close` ends it. Any thread may call any method."""

    def __init__(self, settings: LotameSimulatorSettings | None = None) -> None:
        self.settings = told = settings or LotameSimulatorSettings()
        self.clock = told.clock
        self.token, self.access, self.client_id = told.token, told.access, told.client_id
        self.faults = LotameFaults(told.seed)
        self.credentials = CredentialDesk(
            seed=told.seed, life_seconds=told.life_seconds, requests=told.credential_requests
        )
        begun = (int(self.clock.time() // HOUR) - told.hours) * HOUR
        self.store = FeedStore(
            seed=told.seed, bucket=told.bucket, client_id=told.client_id, prefix=told.prefix, begun=begun
        )
        for feed in told.feeds:
            self.store.add_feed(feed)
        self._record = Record()
        self._closing = threading.Event()
        api = LotameApi(
            self.store,
            self.credentials,
            self.faults,
            self._record,
            self.clock.time,
            token=told.token,
            access=told.access,
            client_id=told.client_id,
            retry_after=told.retry_after,
            slow_seconds=told.slow_seconds,
            closing=self._closing,
            web=lambda: f"http://{_HOST}:{self._api.port}",
        )
        bucket = Bucket(
            self.store,
            self.credentials,
            self.faults,
            self._record,
            self.clock.time,
            slow_seconds=told.slow_seconds,
            closing=self._closing,
        )
        self._api = HttpServer(_HOST, 0, api.handle, api.refuse, self._headers("lotame-sim"))
        try:
            self._s3 = HttpServer(_HOST, 0, bucket.handle, bucket.refuse, self._headers("AmazonS3"))
        except OSError:
            self._api.close()
            raise

    def _headers(self, server: str) -> Callable[[], str]:
        return lambda: f"Date: {formatdate(self.clock.time(), usegmt=True)}\r\nServer: {server}\r\n"

    def start(self) -> None:
        """Begin to answer."""
        self._api.start()
        self._s3.start()

    def close(self) -> None:
        """End, with every thread and socket; may be called twice."""
        self._closing.set()
        self._api.close()
        self._s3.close()

    def __enter__(self) -> Self:
        """Begin to answer."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.close()

    # -- where it is -----------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """The address of its API, as LOTAME_BASE_URL has it."""
        return f"http://{_HOST}:{self._api.port}{ROOT}"

    @property
    def s3_endpoint(self) -> str:
        """The address of its S3."""
        return f"http://{_HOST}:{self._s3.port}"

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables of the environment that lead `ds3tool lotame` and boto3's S3 here."""
        return {
            "LOTAME_TOKEN": self.token,
            "LOTAME_ACCESS": self.access,
            "LOTAME_CLIENT_ID": self.client_id,
            "LOTAME_BASE_URL": self.base_url,
            "AWS_ENDPOINT_URL_S3": self.s3_endpoint,
            "AWS_REGION": REGION,
        }

    # -- what is in it ---------------------------------------------------------------------------------------------

    def add_feed(self, feed: SimulatedFeed) -> None:
        """Add a feed, with files from the first hour on."""
        self.store.add_feed(feed)

    def add_file(self, feed_id: int, name: str, data: bytes, *, at: float | None = None) -> str:
        """Let a file appear in a feed, now or at another time (seconds since 1970); return its key in the bucket."""
        return self.store.add_file(feed_id, name, data, self.clock.time() if at is None else at)

    def files(self, feed_id: int) -> list[str]:
        """Return the names of all files that a feed has by now, in the order in which they appeared."""
        return [one.name for one in self.store.files(feed_id, now=self.clock.time())]

    def stored(self, feed_id: int, name: str) -> StoredObject:
        """Return a feed's file as it lies in the bucket; KeyError when it is not there."""
        found = self.store.object(self._key(feed_id, name), self.clock.time())
        if found is None:
            raise KeyError(name)
        return found

    def remove(self, feed_id: int, name: str) -> None:
        """Take a file out of the bucket, while Lotame goes on listing it."""
        self.stored(feed_id, name)
        self.store.remove_object(self._key(feed_id, name))

    def replace(self, feed_id: int, name: str, data: bytes) -> None:
        """Give a file other bytes, and so another ETag."""
        self.stored(feed_id, name)
        self.store.replace_object(self._key(feed_id, name), data)

    def cut_gzip(self, feed_id: int, name: str) -> None:
        """Let a file end in the middle of its gzip stream: a valid object with an ETag, and half of its lines."""
        data = self.stored(feed_id, name).data
        self.store.replace_object(self._key(feed_id, name), data[: len(data) // 2])

    def _key(self, feed_id: int, name: str) -> str:
        return f"{self.store.location(feed_id)}/{name}"

    def asked(self, door: str | None = None) -> list[Asked]:
        """Return what was asked so far: of `api`, `web` or `s3`, or all of it."""
        return self._record.all(door)
