"""What a list of URLs names as a source: looked at by a GET of one byte, pinned by its ETag, read by ranges."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from ds3tool.clock import Clock, RealClock
from ds3tool.errors import Ds3Error, FarSideDeniedError, SourceError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Failure, SourceObject
from ds3tool.protocol import xmlcodec
from ds3tool.protocol.model import ObjectHead
from ds3tool.protocol.object_attributes import ETAG, LAST_MODIFIED
from ds3tool.renaming import Renaming
from ds3tool.sources.s3_opened import OpenS3, UnderWays
from ds3tool.sources.s3_reader import Pin
from ds3tool.sources.s3_remarks import Remarks
from ds3tool.sources.url_list import BadLine, ListedUrl, UrlName, UrlPin
from ds3tool.sources.url_reader import UrlReader, WebFacts

# So many URLs are looked at at once, and so many answers wait for their turn.
_LOOKING = 8
_AHEAD = 32


class UrlSource:
    """Every object that a list of URLs names, in the list's order.

    Its key is `prefix` and the key that its line gives it, else `prefix` and its URL's path, renamed by `names`; of a
    single URL (`key`) it is that. Put is what `wanted` accepts, by that name, its size and its Last-Modified. `entries`
    reads the list, whenever it is needed: a later run of the same work may find URLs there that were signed anew.

    By name fail: lines that are no URL, what is not there, what cannot be read, what does not tell its size, and what
    is not any more what was listed when it is read. Memory: the list.
    """

    def __init__(
        self,
        entries: Callable[[], Iterable[ListedUrl | BadLine]],
        *,
        prefix: str,
        key: str | None = None,
        names: Renaming | None = None,
        wanted: Filter | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._entries = entries
        self._prefix = prefix
        self._key = key
        self._names = names
        self._wanted = wanted or Filter()
        self._lock = threading.Lock()
        self._urls: Mapping[UrlName, str] | None = None
        self._reader = UrlReader(self._url_of, clock=clock or RealClock())
        weakref.finalize(self, UrlReader.close, self._reader)
        self._known = UnderWays()
        self._remarks = Remarks("the server")
        self.failures: list[Failure] = []
        self.skipped: list[str] = []

    @property
    def sequential(self) -> bool:
        """Objects can be read again, and where servers give ranges, anywhere."""
        return False

    @property
    def distant(self) -> bool:
        """Each reading is a request to another host."""
        return True

    @property
    def notes(self) -> list[str]:
        """Which objects could not be held against anything that their server states."""
        return self._remarks.notes

    def place(self, name: bytes) -> str:
        """Return the URL, without what may be secret in it, of the object that this source knows by `name`."""
        return self._reader.shown(Pin.of(name).key)

    def open(self, item: SourceObject) -> OpenUrl:
        """Open an object; nothing is asked for before it is read."""
        return OpenUrl(self._reader, item, known=self._known, remarks=self._remarks)

    def _url_of(self, place: UrlPin) -> str:
        """Return the URL of an object, with its signature; the list is read when the first is asked for."""
        with self._lock:
            if self._urls is None:
                self._urls = {one.name: one.url for one in self._entries() if isinstance(one, ListedUrl)}
            url = self._urls.get(place.name)
        if url is None:
            raise SourceError(
                f"{place.name.bare} is not in the list any more, where it was in line {place.line}",
                hint="write it there again; it may be signed anew",
            )
        return url

    # -- what there is -----------------------------------------------------------------------------------------

    def objects(self) -> Iterator[SourceObject]:
        """Yield every object, in the list's order; several URLs are looked at at once.

        Raises FarSideUnreachableError when a server does not answer.
        """
        self.failures.clear()
        self.skipped.clear()
        ended = threading.Event()
        with ThreadPoolExecutor(_LOOKING, "ds3tool-urls") as threads:
            try:
                ahead: deque[tuple[ListedUrl, Future[WebFacts]]] = deque()
                for one in self._entries():
                    if isinstance(one, BadLine):
                        self.failures.append(Failure(None, one.error, f"line {one.line}"))
                        continue
                    ahead.append((one, threads.submit(self._reader.look, one.url, ended)))
                    if len(ahead) > _AHEAD:
                        yield from self._found(*ahead.popleft())
                while ahead:
                    yield from self._found(*ahead.popleft())
            finally:
                ended.set()

    def _found(self, one: ListedUrl, coming: Future[WebFacts]) -> Iterator[SourceObject]:
        try:
            item = self._item(one, coming.result())
        except (SourceError, FarSideDeniedError) as error:
            if isinstance(error, FarSideDeniedError):
                error.hint = "sign the URLs anew, and run the command again: what is there by then is skipped"
            self._fail(one, error)
        else:
            if item is not None:
                yield item

    def _item(self, one: ListedUrl, found: WebFacts) -> SourceObject | None:
        """Return what is to be put of a URL, None where it is left out; SourceError when it cannot be."""
        shown = one.name.bare
        if found.size is None:
            raise SourceError(
                f"{shown}: its server does not tell how many bytes it has",
                hint="download it, then put it; or pipe it: put - with --size, or without",
            )
        name = self._name(one)
        if not self._wanted.accepts(name, size=found.size, modified_ns=found.modified_ns or None):
            return None
        key = self._key_of(one)
        hint = "give it a key, after a tab in the list"
        if not key or (key.endswith("/") and found.size):
            raise SourceError(f"{shown} has no name that could be a key", hint=hint)
        if not xmlcodec.fits(key):
            raise SourceError(f"{shown} holds characters that no request to the appliance can carry", hint=hint)
        place = UrlPin(one.name, one.line, found.modified, found.ranges)
        return SourceObject(key, found.size, found.modified_ns, Pin(place.to_text(), found.etag or "").to_name())

    def _name(self, one: ListedUrl) -> str:
        return one.path if one.key is None else one.key

    def _key_of(self, one: ListedUrl) -> str:
        if self._key is not None:
            return self._key
        if one.key is not None or self._names is None or not one.path:
            return self._prefix + self._name(one)
        return self._prefix + self._names(one.path)

    def _fail(self, one: ListedUrl, error: Ds3Error) -> None:
        key = self._key_of(one)
        fits = bool(key) and xmlcodec.fits(key)
        self.failures.append(Failure(key if fits else None, error, None if fits else one.name.bare))


class OpenUrl(OpenS3):
    """What is at a URL, while its blobs are put."""

    def metadata(self) -> Mapping[str, str]:
        """Return what its server keeps with the object, and where it came from as far as that is told."""
        found = dict(super().metadata())
        if not self._item.modified_ns:
            del found[LAST_MODIFIED]
        if not self._is_of_s3():
            found.pop(ETAG, None)
        return found

    def is_same(self, head: ObjectHead) -> bool | None:
        """Whether an object of the appliance has its bytes; nobody knows, but of S3: elsewhere ETags are anything."""
        return super().is_same(head) if self._is_of_s3() else None

    def _is_of_s3(self) -> bool:
        stated = self._facts_of(self._known.of(self._item.name)).stated
        return bool(stated.whole or stated.of_parts)
