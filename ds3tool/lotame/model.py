"""What Lotame's DataStream tells: feeds, what is new in them, where its files lie, and the credentials for those."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

from ds3tool.lazy_dataclass import dataclass


def bare_address(url: str) -> str:
    """Return an address of the web without what may be a secret in it: user, password, query, fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not close, say: nobody can tell its parts
        return f"{url.partition(':')[0]}://..."
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@dataclass(frozen=True, slots=True)
class S3Location:
    """A place in S3: a bucket, and below it a key, or the prefix that files lie under."""

    bucket: str
    key: str = ""

    def file(self, name: str) -> S3Location:
        """Return where the file `name` lies below this: exactly one slash stands between the two."""
        folder = self.key.rstrip("/")
        below = name.lstrip("/")
        return S3Location(self.bucket, f"{folder}/{below}" if folder else below)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True, repr=False)
class WebLocation:
    """A place on the web, `http` or `https`; what stands behind its `?` may be a secret, and is not shown."""

    url: str

    def __str__(self) -> str:
        return bare_address(self.url)

    def __repr__(self) -> str:
        return f"WebLocation({str(self)!r})"

    @property
    def name(self) -> str:
        """The last part of its path, empty where it has none."""
        return urlsplit(self.url).path.rpartition("/")[2]


Location = S3Location | WebLocation


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed that the client has: `type` is such as `client` or `3pd`, `profile_type` such as `cookie` or `mobile`.

    `mapping` is where the names of its behaviours are; None where the feed has no such file.
    """

    id: int
    client_id: int | None = None
    type: str | None = None
    profile_type: str | None = None
    mapping: Location | None = None


@dataclass(frozen=True, slots=True)
class FeedUpdates:
    """What is new in one feed: the names of its files, all below `location`, each once, in Lotame's order.

    A feed without news has no files and often no `location`. `mapping` as of the feed.
    """

    feed_id: int
    location: S3Location | None = None
    files: tuple[str, ...] = ()
    mapping: Location | None = None

    def where(self, name: str) -> S3Location:
        """Return where one of its `files` lies."""
        if self.location is None:
            raise ValueError(f"feed {self.feed_id} has no location")
        return self.location.file(name)

    @property
    def region(self) -> str | None:
        """The region that its files are of (`na`), as their location tells; None where it does not."""
        return self._part(-2)

    @property
    def profile_type(self) -> str | None:
        """The type of profile in its files (`cookie`), as their location tells; None where it does not."""
        return self._part(-1)

    def _part(self, place: int) -> str | None:
        # The cookbook's layout: s3://bucket/<client>/<region>/<profile type>.
        parts = [] if self.location is None else [part for part in self.location.key.split("/") if part]
        return parts[place] if len(parts) >= 3 else None


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """Temporary credentials for S3; `expires` and `obtained` (when we had them) in UTC. Nothing shows the secrets."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: datetime
    obtained: datetime

    @property
    def life(self) -> timedelta:
        """How long they were good for when they came; nothing for those that came expired."""
        return max(timedelta(0), self.expires - self.obtained)

    def is_fresh(self, now: datetime, *, share: float = 0.8) -> bool:
        """Whether less than `share` of their life has passed."""
        return now < self.obtained + self.life * share


@dataclass(frozen=True, slots=True)
class Updates:
    """One answer to a question for updates.

    `since` is what was asked for (None: from the beginning), `at` when it was answered: by Lotame's clock, or by ours
    where that is behind it, so that nothing that came after it can lie before `at`. `record` is the answer as
    canonical JSON, without credentials or anything that looks like a secret: fit to be archived. Not `is_dated`: no
    clock but ours tells `at`, and it may be ahead.
    """

    feeds: tuple[FeedUpdates, ...]
    since: datetime | None
    at: datetime
    record: bytes = field(repr=False)
    credentials: S3Credentials | None = None
    is_dated: bool = True

    def feed(self, feed_id: int) -> FeedUpdates | None:
        """Return what is new in one feed; None where the answer does not name it."""
        return next((one for one in self.feeds if one.feed_id == feed_id), None)
