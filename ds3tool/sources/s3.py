"""Objects of S3 as a source: listed lazily, pinned as they were listed, read by ranges."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ds3tool.aws.s3_listing import Restore, S3Listed, is_archived, listed
from ds3tool.aws.session import AwsSettings
from ds3tool.clock import Clock, RealClock
from ds3tool.errors import FarSideForbiddenError, FarSideNotFoundError, SourceError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Failure, SourceObject
from ds3tool.protocol import xmlcodec
from ds3tool.renaming import Renaming
from ds3tool.sources.listing import Kept
from ds3tool.sources.s3_opened import OpenS3, UnderWays
from ds3tool.sources.s3_reader import Pin, S3Reader, archived_error
from ds3tool.sources.s3_remarks import Remarks

__all__ = ["Pin", "S3Listed", "S3Source"]

# So many connections are kept for blobs that are read at once; more are opened, and closed, as they are needed.
_CONNECTIONS = 64
# So many names of a list are asked for at once.
_ASKED_AT_ONCE = 16


class S3Source:
    """The object `base` of a bucket (`whole`), or every object whose key begins with `base`.

    A key on the appliance is `prefix` and the rest of the key in S3, renamed by `names`; of one object it is `prefix`
    itself. Put is what `wanted` accepts, by the rest of the key (of one object, by its last part), what `matches`
    accepts by its whole key, and what `chosen` does. With `listed` it is what that names below `base`, in its order: a
    name that ends in a slash means all below it. `within`: the listing need not go beyond keys that begin with this.

    A key that ends in a slash and has no bytes becomes a folder object. By name fail: keys that XML cannot carry,
    bytes under a key that ends in a slash, and whatever is not any more what was listed when it is read. Archived
    objects (Glacier) are listed like others, and those that nobody has restored are `unreadable`, unless all are to be
    `restored` before they are read. `connect` makes a client where `aws` is not enough.

    Memory: two pages of the listing; of objects whose blobs are being put some hundred bytes each, and their parts'
    digests; for each blob under way 2 MiB of buffers beside what the mover holds.
    """

    def __init__(
        self,
        aws: AwsSettings,
        bucket: str,
        *,
        base: str,
        prefix: str,
        whole: bool = False,
        matches: Callable[[str], bool] | None = None,
        names: Renaming | None = None,
        wanted: Filter | None = None,
        listed: Iterable[bytes] | None = None,
        chosen: Callable[[S3Listed], bool] | None = None,
        within: str | None = None,
        restored: bool = False,
        connect: Callable[[], Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not xmlcodec.fits(prefix):
            raise UsageError(
                f"{prefix!a} holds characters that no request can carry, so no key can begin with it",
                hint="give another prefix",
            )
        self._bucket = bucket
        self._base = base
        self._within = base if within is None or not within.startswith(base) else within
        self._prefix = prefix
        self._whole = whole
        self._matches = matches
        self._names = names
        self._wanted = wanted or Filter()
        self._listed = None if listed is None else Kept(listed)
        self._chosen = chosen
        self._restored = restored
        self._reader = S3Reader(bucket, connect or _connector(aws), clock=clock or RealClock())
        self._known = UnderWays()
        self._remarks = Remarks()
        self._never = threading.Event()
        self.failures: list[Failure] = []
        self.skipped: list[str] = []

    @property
    def sequential(self) -> bool:
        """Objects can be read anywhere, and again."""
        return False

    @property
    def distant(self) -> bool:
        """Each reading is a request to S3."""
        return True

    @property
    def notes(self) -> list[str]:
        """Which objects could not be held against what S3 states, and what of their attributes was left out."""
        return self._remarks.notes

    def place(self, name: bytes) -> str:
        """Return the address of the object that this source knows by `name`."""
        return self._reader.shown(Pin.of(name).key)

    def open(self, item: SourceObject) -> OpenS3:
        """Open an object; nothing is asked for before it is read."""
        return OpenS3(self._reader, item, known=self._known, remarks=self._remarks)

    # -- what there is -----------------------------------------------------------------------------------------

    def objects(self) -> Iterator[SourceObject]:
        """Yield every object, in S3's order, or in that of the list.

        Raises FarSideNotFoundError when the bucket, or the one object, is not there, and what else `listed` raises.
        """
        self.failures.clear()
        self.skipped.clear()
        for one in self._found():
            try:
                item = self._item(one)
            except SourceError as error:
                self._fail(one.key, error)
            else:
                if item is not None:
                    yield item

    def _found(self) -> Iterator[S3Listed]:
        if self._listed is not None:
            yield from self._of_list(self._listed)
        elif self._whole:
            yield self._reader.find(self._base, self._never)
        else:
            yield from listed(self._reader.client, self._bucket, self._within)

    def _item(self, one: S3Listed) -> SourceObject | None:
        """Return what is to be put of a listed object, None where it is left out; SourceError when it cannot be."""
        below = one.key.rpartition("/")[2] if self._whole else one.key[len(self._base) :]
        if self._matches is not None and not self._matches(one.key):
            return None
        if not self._wanted.accepts(below, size=one.size, modified_ns=one.modified_ns):
            return None
        if self._chosen is not None and not self._chosen(one):
            return None
        key, shown = self._key(one.key), self._reader.shown(one.key)
        if not key:
            if not one.size and one.key.endswith("/"):
                return None  # the marker of the very folder that is put
            raise SourceError(f"{shown} would have no key", hint="mend --strip-prefix or --rename-map")
        if not xmlcodec.fits(key):
            raise SourceError(
                f"{shown!a} holds characters that no request to the appliance can carry",
                hint="give it another name: --rename-map",
            )
        if key.endswith("/") and one.size:
            raise SourceError(
                f"{shown} has {one.size:,} bytes, and a key that ends in a slash is a folder on the appliance",
                hint="give it another name: --rename-map",
            )
        if not one.etag:
            raise SourceError(f"{shown} has no ETag, so nobody could tell whether it changes while it is read")
        archived = one.storage_class if is_archived(one) else ""
        return SourceObject(key, one.size, one.modified_ns, Pin(one.key, one.etag, archived=archived).to_name())

    def _key(self, key: str) -> str:
        """Return the key on the appliance of what has this one in S3."""
        if self._whole:
            return self._prefix
        below = key[len(self._base) :]
        return self._prefix + (self._names(below) if self._names is not None else below)

    def unreadable(self, item: SourceObject) -> SourceError | None:
        """Return why an object cannot be read now: it is archived, and not restored (yet). S3 is asked once more."""
        pin = Pin.of(item.name)
        if not pin.archived or self._restored:
            return None
        try:
            restore = self._reader.find(pin.key, self._never).restore
        except FarSideNotFoundError:
            return None  # whoever reads it says that it is gone
        except FarSideForbiddenError as error:
            return SourceError(error.message, hint=error.hint)
        shown = self._reader.shown(pin.key)
        if restore is Restore.ONGOING:
            return SourceError(
                f"{shown} is {pin.archived}, and being restored now", hint="put it when that has come to its end"
            )
        return archived_error(shown, pin.archived) if restore is None else None

    def _fail(self, key: str, error: SourceError) -> None:
        own = self._key(key)
        if own and xmlcodec.fits(own):
            self.failures.append(Failure(own, error))
        else:
            self.failures.append(Failure(None, error, ascii(self._reader.shown(key))))

    # -- a list of names ---------------------------------------------------------------------------------------

    def _of_list(self, names: Iterable[bytes]) -> Iterator[S3Listed]:
        """Yield what the names mean, in their order; each once. Several are asked for at a time."""
        seen: set[str] = set()
        folders: set[str] = set()
        asked: list[tuple[str, Future[S3Listed] | None]] = []
        with ThreadPoolExecutor(_ASKED_AT_ONCE, "ds3tool-s3-names") as threads:
            for given in names:
                try:
                    name = given.decode("utf-8")
                except UnicodeDecodeError:
                    error = SourceError(f"{given!a} is no key of S3: those are UTF-8")
                    self.failures.append(Failure(None, error, ascii(given)))
                    continue
                if name in seen or _is_below(name, folders):
                    continue
                seen.add(name)
                key = self._base + name
                if name.endswith("/"):
                    folders.add(name)
                    asked.append((key, None))
                else:
                    asked.append((key, threads.submit(self._reader.find, key, self._never)))
                if len(asked) > _ASKED_AT_ONCE:
                    yield from self._answer(*asked.pop(0), seen)
            for one in asked:
                yield from self._answer(*one, seen)

    def _answer(self, key: str, coming: Future[S3Listed] | None, seen: set[str]) -> Iterator[S3Listed]:
        if coming is None:
            found = False
            for one in listed(self._reader.client, self._bucket, key):
                found = True
                if one.key == key or one.key[len(self._base) :] not in seen:
                    yield one
            if not found:
                self._fail(key, SourceError(f"{self._reader.shown(key)} is listed, and nothing is below it"))
            return
        try:
            yield coming.result()
        except FarSideNotFoundError:
            self._fail(key, SourceError(f"{self._reader.shown(key)} is listed, but not there"))
        except FarSideForbiddenError as error:
            self._fail(key, SourceError(error.message, hint=error.hint))


def _is_below(name: str, folders: set[str]) -> bool:
    """Whether one of `folders`, which end in a slash, is what `name` begins with."""
    end = name.find("/") + 1
    while end and folders:
        if name[:end] in folders:
            return True
        end = name.find("/", end) + 1
    return False


def _connector(aws: AwsSettings) -> Callable[[], Any]:
    def connect() -> Any:  # noqa: ANN401  # boto3 makes its types at run time
        return aws.client(
            "s3",
            connections=_CONNECTIONS,
            # Whoever reads repeats what fails, and ends soon when the run does.
            retries={"mode": "standard", "total_max_attempts": 1},
            response_checksum_validation="when_required",
        )

    return connect
