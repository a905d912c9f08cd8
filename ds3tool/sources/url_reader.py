"""Requests to servers of the web for the objects of a list of URLs, which may be signed: no answer shows a query."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ds3tool.clock import Clock
from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideUnreachableError,
    InterruptedRunError,
    SourceError,
    TlsError,
)
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.object_attributes import ObjectAttributes
from ds3tool.sources.s3_reader import Facts, Pin, reading
from ds3tool.sources.s3_vouched import stated_of
from ds3tool.sources.url_list import UrlPin, bare

if TYPE_CHECKING:
    import urllib3

READ_BYTES = 1024 * 1024
# So many idle connections are kept for each host.
_CONNECTIONS = 64
# Seconds between the tries of one request; who moves blobs has more patience, and begins anew.
_WAITS = (0.25, 0.5, 1.0)
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_REFUSAL = 64 * 1024
_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+)", re.IGNORECASE)
# How S3, and what speaks like it, says that a signature, or who has signed, is not valid any more.
_EXPIRED = re.compile(
    rb"<Code>(?:ExpiredToken|RequestExpired|TokenRefreshRequired|InvalidToken)</Code>|[Ee]xpired|has been revoked"
)
_CODE = re.compile(rb"<Code>([A-Za-z.]{1,80})</Code>")
# What every reply of S3 has, and what user metadata begin with there.
_S3_REQUEST = "x-amz-request-id"
_USER_METADATA = "x-amz-meta-"
_CHANGED = "put it again when it is at rest"
_SIGN_ANEW = "sign the URLs anew, write them into the list, and go on: ds3tool resume"


@dataclass(frozen=True, slots=True)
class WebFacts:
    """What a server tells of what is at a URL; `size` is None where it does not.

    `etag` is a strong one, without its quotes; None where there is none. `headers` have names in lower case.
    """

    size: int | None
    etag: str | None
    modified: str | None
    ranges: bool
    headers: Mapping[str, str]

    @property
    def modified_ns(self) -> int:
        """When it was modified, in nanoseconds since 1970; 0 where that is not told."""
        if self.modified is None:
            return 0
        try:
            return int(parsedate_to_datetime(self.modified).timestamp()) * 1_000_000_000
        except (ValueError, TypeError, OverflowError):
            return 0


class UrlReader:
    """Reads what is at URLs, from any number of threads. A request that nobody answers is made four times.

    `url_of` gives the URL of an object, with its signature; SourceError where there is none any more. Proxies are
    those of the environment, certificates are checked, and no redirect to another host is followed. A server that
    gives no ranges is read from an object's first byte on for each of its blobs.
    """

    def __init__(self, url_of: Callable[[UrlPin], str], *, clock: Clock) -> None:
        self._url_of = url_of
        self._clock = clock
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}

    # -- what there is -----------------------------------------------------------------------------------------

    def look(self, url: str, ended: threading.Event) -> WebFacts:
        """Return what is at a URL: asked by a GET of its first byte, since a HEAD may not be signed for.

        Raises SourceError for what is not there or not to be had, FarSideDeniedError when the signature, or who has
        signed, is not valid any more, FarSideUnreachableError when nobody answers.
        """
        response = self._send(url, {"Range": "bytes=0-0"}, ended)
        try:
            if response.status == 416:  # of nothing, there is no first byte
                response.close()
                response = self._send(url, {}, ended)
            self._check_status(url, response, {200, 206})
            size: int | None = None
            found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
            if response.status == 206:
                size = int(found[3]) if found is not None else None
            elif response.headers.get("Content-Length", "").isdecimal():
                size = int(response.headers["Content-Length"])
            return _facts(response, size)
        finally:
            response.close()  # of a server without ranges, all of it is on its way

    def shown(self, key: str) -> str:
        """Return an object's URL without what may be secret in it."""
        return UrlPin.of(key).name.bare

    def head(self, pin: Pin, size: int, ended: threading.Event) -> Facts:
        """Return what the server tells of an object that is still what was listed."""
        place = UrlPin.of(pin.key)
        url = self._url_of(place)
        found = self.look(url, ended)
        if found.size != size:
            raise changed(url, f"it had {size} bytes, and has {found.size}")
        _check_same(url, found, pin, place)
        return _told(found.headers, whole=not found.ranges)

    # -- bytes -------------------------------------------------------------------------------------------------

    def get(self, pin: Pin, offset: int, length: int, size: int, ended: threading.Event) -> tuple[Any, Any]:
        """Return what a reply to a GET tells, and what the next bytes of are exactly the range's.

        SourceError for a reply that is not of this range, or of something else than was listed; else as `look`.
        """
        place = UrlPin.of(pin.key)
        url = self._url_of(place)
        asked = {"If-Match": f'"{pin.etag}"'} if pin.etag else {}
        whole = not place.ranges or (offset, length) == (0, size)
        if not whole:
            asked["Range"] = f"bytes={offset}-{offset + length - 1}"
        response = self._send(url, asked, ended)
        try:
            self._check_status(url, response, {200} if whole else {206})
            found = _facts(response, None)
            _check_same(url, found, pin, place)
            if whole:
                told = response.headers.get("Content-Length")
                if told != str(size):
                    raise changed(url, f"it had {size} bytes, and has {told}")
                self._drop(url, response, offset, ended)
            else:
                _check_range(url, response.headers.get("Content-Range", ""), offset, length, size)
        except BaseException:
            response.close()
            raise
        return found, response

    def facts(self, pin: Pin, reply: WebFacts, ended: threading.Event) -> Facts:
        """Return what a reply about the whole object tells of it."""
        del pin, ended
        return _told(reply.headers, whole=True)

    def part_size(self, pin: Pin, number: int, ended: threading.Event) -> int | None:
        """Return None: which parts an object was uploaded in is not signed for."""
        del pin, number, ended
        return None

    def _drop(self, url: str, response: urllib3.BaseHTTPResponse, count: int, ended: threading.Event) -> None:
        with reading(bare(url)):
            while count:
                block = response.read(min(READ_BYTES, count))
                if not block or ended.is_set():
                    raise FarSideUnreachableError(f"{bare(url)}: its reading broke off")
                count -= len(block)

    def wait(self, fruitless: int, ended: threading.Event) -> bool:
        """Wait before a reading that broke off goes on; False when it has done so too often without a byte."""
        if fruitless > len(_WAITS):
            return False
        self._clock.wait(ended, _WAITS[fruitless - 1] if fruitless else 0.0)
        return True

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.clear()

    # -- one request -------------------------------------------------------------------------------------------

    def _send(self, url: str, headers: Mapping[str, str], ended: threading.Event) -> urllib3.BaseHTTPResponse:
        """Return the reply to a GET, its body unread; redirects within one host are followed."""
        for _ in range(_MOST_REDIRECTS):
            response = self._repeated(url, headers, ended)
            if response.status not in _REDIRECTS:
                return response
            place = urljoin(url, response.headers.get("Location", ""))
            response.close()
            if urlsplit(place)[:2] != urlsplit(url)[:2]:
                raise SourceError(
                    f"{bare(url)} leads elsewhere, to {bare(place)}, which is not followed",
                    hint="put that address into the list, if it is the one that is meant",
                )
            url = place
        raise SourceError(f"{bare(url)} leads from one place to the next without an end")

    def _repeated(self, url: str, headers: Mapping[str, str], ended: threading.Event) -> urllib3.BaseHTTPResponse:
        """Return a reply; a request that nobody answers, or whose server cannot now, is made again."""
        for wait in (*_WAITS, None):
            if ended.is_set():
                break
            try:
                return self._once(url, headers)
            except FarSideUnreachableError:
                if wait is None:
                    raise
                self._clock.wait(ended, wait)
        raise InterruptedRunError("stopped while it was read")

    def _once(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        import urllib3

        asked = {"Accept-Encoding": "identity", "User-Agent": "ds3tool", **headers}
        try:
            response = self._pool_of(url).request(
                "GET",
                url,
                headers=asked,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise _no_answer(url, error) from None  # its text may hold the query
        if response.status in {408, 429} or response.status >= 500:
            response.close()
            raise FarSideUnreachableError(f"{bare(url)} cannot be had now: its server answers {response.status}")
        return response

    def _pool_of(self, url: str) -> urllib3.PoolManager:
        """Return the connections to a URL's host, which has a proxy or none."""
        from ds3tool.lotame.connections import connections_to

        parts = urlsplit(url)
        place = (parts.scheme, parts.netloc)
        with self._lock:
            if place not in self._pools:
                self._pools[place] = connections_to(f"{parts.scheme}://{parts.netloc}/", kept=_CONNECTIONS)
            return self._pools[place]

    def _check_status(self, url: str, response: urllib3.BaseHTTPResponse, wanted: set[int]) -> None:
        """Raise what a refusal means for the one object."""
        status, shown = response.status, bare(url)
        if status in wanted:
            return
        if status in {404, 410}:
            raise SourceError(f"{shown} is not there")
        if status in {412, 416}:
            raise changed(url, "something else is there now")
        if status in {200, 206}:
            raise SourceError(f"{shown}: its server does not keep to the ranges that it is asked for")
        with reading(shown):
            body = response.read(_LONGEST_REFUSAL)
        code = _CODE.search(body)
        word = code[1].decode("ascii") if code is not None else str(status)
        if status in {400, 401, 403} and _EXPIRED.search(body):
            raise FarSideDeniedError(
                f"{shown}: its signature, or who has signed, is not valid any more ({word})",
                status=status,
                code=word,
                hint=_SIGN_ANEW,
            )
        if status in {401, 403}:
            raise SourceError(
                f"{shown} may not be read ({word})", hint="is it signed for GET, and was nothing of its query lost?"
            )
        raise SourceError(f"{shown} cannot be read: its server answers {word}")


def _facts(response: urllib3.BaseHTTPResponse, size: int | None) -> WebFacts:
    headers = {name.lower(): value for name, value in response.headers.items()}
    etag = headers.get("etag", "").strip()
    strong = etag.strip('"') if re.fullmatch(r'"[^"]+"', etag) else None
    return WebFacts(size, strong, headers.get("last-modified"), response.status == 206, headers)


def changed(url: str, how: str) -> SourceError:
    """Return the error that says that something else is at a URL than was listed."""
    return SourceError(f"{bare(url)} has changed since it was listed: {how}", hint=_CHANGED)


def _check_same(url: str, found: WebFacts, pin: Pin, place: UrlPin) -> None:
    """Raise SourceError when what a reply is about is not what was listed."""
    if pin.etag and found.etag is not None:
        if found.etag != pin.etag:
            raise changed(url, f"its ETag was {pin.etag}, and is {found.etag}")
    elif place.modified is not None:
        if found.modified != place.modified:
            raise changed(url, f"it was modified on {found.modified or 'nobody says when'}")
    elif pin.etag:
        raise changed(url, f"its ETag was {pin.etag}, and is not told any more")


def _check_range(url: str, given: str, offset: int, length: int, size: int) -> None:
    """Raise SourceError unless `given`, a Content-Range, is of exactly this range of so many bytes."""
    found = _RANGE.fullmatch(given.strip())
    if found is None or found.groups() != (str(offset), str(offset + length - 1), str(size)):
        wanted = f"bytes {offset}-{offset + length - 1}/{size}"
        raise changed(url, f"{wanted} was asked for, and {given or 'something else'} is sent")


def _told(headers: Mapping[str, str], *, whole: bool) -> Facts:
    """Return what a reply's headers say of an object; digests are those of the whole only where all of it is sent."""
    attributes = ObjectAttributes(
        content_type=headers.get("content-type"),
        content_encoding=headers.get("content-encoding"),
        content_language=headers.get("content-language"),
        content_disposition=headers.get("content-disposition"),
        cache_control=headers.get("cache-control"),
        expires=headers.get("expires"),
        storage_class=headers.get("x-amz-storage-class"),
        user={
            name.removeprefix(_USER_METADATA): value
            for name, value in headers.items()
            if name.startswith(_USER_METADATA)
        },
    )
    stated: dict[str, Any] = {}
    if _S3_REQUEST in headers:  # elsewhere an ETag of that look may be anything
        stated = {
            "ETag": headers.get("etag", ""),
            "ServerSideEncryption": headers.get("x-amz-server-side-encryption", ""),
            "SSECustomerAlgorithm": headers.get("x-amz-server-side-encryption-customer-algorithm"),
        }
    if whole:
        stated["ChecksumType"] = headers.get("x-amz-checksum-type")
        for kind in ("CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1"):
            stated[f"Checksum{kind}"] = headers.get(f"x-amz-checksum-{kind.lower()}")
    return Facts(attributes, stated_of(stated))


def _no_answer(url: str, error: Exception) -> Ds3Error:
    """Return what it means that no answer came. The library's own words may hold the query, and are left out."""
    import urllib3.exceptions as kinds

    shown = bare(url)
    if isinstance(error, kinds.SSLError):
        return TlsError(
            f"{shown}: the certificate, or the encryption, is refused", hint="SSL_CERT_FILE names authorities to trust"
        )
    if isinstance(error, kinds.ProxyError):
        return FarSideUnreachableError(f"{shown}: the proxy does not let it through, or does not answer")
    if isinstance(error, kinds.NameResolutionError):
        return FarSideUnreachableError(f"{shown}: its host's name is not known here")
    if isinstance(error, kinds.NewConnectionError):
        return FarSideUnreachableError(f"{shown}: there is no connection to its host")
    if isinstance(error, kinds.TimeoutError):
        return FarSideUnreachableError(f"{shown}: no answer came in time")
    return FarSideUnreachableError(f"{shown}: the connection broke off before an answer came")
