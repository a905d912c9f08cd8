"""Requests to S3 for the objects of one bucket: each for the very object that was listed, and failing by its name."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from ds3tool.aws.failures import far_side
from ds3tool.aws.s3_listing import S3Listed, restore_of
from ds3tool.clock import Clock
from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    InterruptedRunError,
    SourceError,
    UsageError,
)
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.object_attributes import ObjectAttributes
from ds3tool.sources.s3_vouched import Stated, stated_of

T = TypeVar("T")

READ_BYTES = 1024 * 1024
# Seconds between the tries of one request; who moves blobs has more patience, and begins anew.
_WAITS = (0.25, 0.5, 1.0)
_ARCHIVED = "InvalidObjectState"
_CHANGED = "put it again when it is at rest"
# What S3 says of a type that nobody has given.
_NO_TYPE = "binary/octet-stream"
_PARTS_OF_NAME = b"\0"
# Stands in a source's own name between an ETag, which has no such character, and the class of an archived object.
_ARCHIVED_IN = "\x1f"


@dataclass(frozen=True, slots=True)
class Pin:
    """An object of S3, and no other of its key: by its ETag (empty where the service has none) or its version.

    `archived`: the class of an object that could not be read when it was listed; else empty.
    """

    key: str
    etag: str
    version_id: str | None = None
    archived: str = ""

    def to_name(self) -> bytes:
        """Return this as a source's own name for the object."""
        etag = f"{self.etag}{_ARCHIVED_IN}{self.archived}" if self.archived else self.etag
        return _PARTS_OF_NAME.join(
            text.encode("utf-8", "surrogatepass") for text in (etag, self.version_id or "", self.key)
        )

    @classmethod
    def of(cls, name: bytes) -> Pin:
        """Return what `to_name` made a name of."""
        etag, version, key = (part.decode("utf-8", "surrogatepass") for part in name.split(_PARTS_OF_NAME, 2))
        etag, _, archived = etag.partition(_ARCHIVED_IN)
        return cls(key, etag, version or None, archived)


@dataclass(frozen=True, slots=True)
class Facts:
    """What S3 tells of an object beside its bytes. `tags_missing`: it has some, or may, and they cannot be read."""

    attributes: ObjectAttributes
    stated: Stated
    tags_missing: bool = False
    hidden: int = 0


class S3Reader:
    """Reads objects of a bucket, from any number of threads. `connect` makes the client (boto3's), when it is needed.

    A request that nobody answers is made four times; `clock` waits in between.
    """

    def __init__(self, bucket: str, connect: Callable[[], Any], *, clock: Clock) -> None:
        self.bucket = bucket
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None

    @property
    def client(self) -> Any:  # noqa: ANN401  # boto3 makes its types at run time
        """The client, which threads share."""
        with self._lock:
            if self._client is None:
                client = self._connect()
                for operation in ("GetObject", "HeadObject"):
                    client.meta.events.register(
                        f"before-call.s3.{operation}", _ask_for_checksums, unique_id=f"ds3tool-{operation}"
                    )
                self._client = client
            return self._client

    def shown(self, key: str) -> str:
        """Return the address of a key."""
        return f"s3://{self.bucket}/{key}"

    # -- requests ----------------------------------------------------------------------------------------------

    def head(self, pin: Pin, size: int, ended: threading.Event) -> Facts:
        """Return what S3 tells of an object that is still what was listed."""
        reply = self._ask(pin, "head_object", ended)
        self._check(pin, reply, size)
        return self.facts(pin, reply, ended)

    def find(self, key: str, ended: threading.Event) -> S3Listed:
        """Return what has a key now, as a listing shows it; FarSideNotFoundError when nothing has."""
        reply = self._repeated(
            lambda: self._named(self.client.head_object(Bucket=self.bucket, Key=key), "LastModified", key), ended, key
        )
        return S3Listed(
            key,
            int(reply["ContentLength"]),
            str(reply.get("ETag", "")).strip('"'),
            reply["LastModified"],
            reply.get("StorageClass") or "STANDARD",
            restore_of(reply.get("Restore")),
        )

    def part_size(self, pin: Pin, number: int, ended: threading.Event) -> int | None:
        """Return the size of a part (from 1 on) that an object was uploaded in, None where nobody tells."""
        try:
            reply = self._ask(pin, "head_object", ended, PartNumber=number)
        except SourceError:
            return None
        return int(reply["ContentLength"]) if reply.get("PartsCount") else None

    def get(self, pin: Pin, offset: int, length: int, size: int, ended: threading.Event) -> tuple[Any, Any]:
        """Return the reply to a GET of a range, and what its bytes are read from: urllib3's own response.

        Of the whole object none is asked for. SourceError for a reply that is not of exactly this range.
        """
        ranged = (offset, length) != (0, size)
        asked = {"Range": f"bytes={offset}-{offset + length - 1}"} if ranged else {}
        reply = self._ask(pin, "get_object", ended, **asked)
        raw = reply["Body"].__enter__()  # without botocore's own checking, which not all services' replies bear
        try:
            self._check(pin, reply, length)
            if ranged:
                wanted, got = f"bytes {offset}-{offset + length - 1}", str(reply.get("ContentRange", ""))
                status = reply["ResponseMetadata"]["HTTPStatusCode"]
                if status != 206 or got not in {f"{wanted}/{size}", f"{wanted}/*"}:
                    raise SourceError(
                        f"{self.shown(pin.key)}: S3 was asked for {wanted} of {size:,}, and sends {got or 'all of it'}"
                    )
        except BaseException:
            raw.close()
            raise
        return reply, raw

    def _ask(self, pin: Pin, call: str, ended: threading.Event, **asked: object) -> Any:  # noqa: ANN401
        """Return the reply to a request for the pinned object."""
        if pin.etag:
            asked["IfMatch"] = f'"{pin.etag}"'
        if pin.version_id is not None:
            asked["VersionId"] = pin.version_id
        ask = getattr(self.client, call)
        known_by = "ETag" if pin.etag else "ContentLength"
        try:
            return self._repeated(
                lambda: self._named(ask(Bucket=self.bucket, Key=pin.key, **asked), known_by, pin.key), ended, pin.key
            )
        except FarSideError as error:
            # A HEAD is refused without a word.
            silent = call == "head_object" and error.status in {400, 403}
            raise self._of_object(pin, self._why(pin, error, ended) if silent else error) from error
        except UsageError as error:
            raise SourceError(error.message) from error

    def _named(self, reply: Any, known_by: str, key: str) -> Any:  # noqa: ANN401
        """Return a reply that has what each of the service's has; what has it not may be of any object, or of none."""
        if known_by not in reply:
            if "Body" in reply:
                reply["Body"].close()
            raise FarSideUnreachableError(f"{self.shown(key)}: the answer is none of the service's: no {known_by}")
        return reply

    def _why(self, pin: Pin, error: FarSideError, ended: threading.Event) -> FarSideError:
        """Return what a GET of one byte is refused with, or `error` where that is not."""
        asked = {} if pin.version_id is None else {"VersionId": pin.version_id}
        ask = self.client.get_object
        try:
            reply = self._repeated(
                lambda: ask(Bucket=self.bucket, Key=pin.key, Range="bytes=0-0", **asked), ended, pin.key
            )
        except FarSideError as told:
            return told
        reply["Body"].close()
        return error

    def _repeated(self, call: Callable[[], T], ended: threading.Event, key: str) -> T:
        """Return what `call` returns, which is made again where nobody answers; InterruptedRunError once `ended`."""
        for wait in (*_WAITS, None):
            if ended.is_set():
                break
            try:
                with far_side(self.shown(key)):
                    return call()
            except FarSideUnreachableError:
                if wait is None:
                    raise
                self._clock.wait(ended, wait)
        raise InterruptedRunError("stopped while it was read")

    def wait(self, fruitless: int, ended: threading.Event) -> bool:
        """Wait before a reading that broke off goes on; False when it has done so too often without a byte."""
        if fruitless > len(_WAITS):
            return False
        self._clock.wait(ended, _WAITS[fruitless - 1] if fruitless else 0.0)
        return True

    # -- replies -----------------------------------------------------------------------------------------------

    def _check(self, pin: Pin, reply: Any, length: int) -> None:  # noqa: ANN401
        """Raise SourceError for a reply that is of another object, or of another length."""
        etag = str(reply.get("ETag", "")).strip('"')
        if pin.etag and etag != pin.etag:
            raise self._changed(pin, f"its ETag was {pin.etag}, and is {etag}")
        if int(reply.get("ContentLength", -1)) != length:
            raise self._changed(pin, f"{length} bytes were asked for, and {reply.get('ContentLength')} are sent")

    def _changed(self, pin: Pin, how: str) -> SourceError:
        return SourceError(f"{self.shown(pin.key)} has changed since it was listed: {how}", hint=_CHANGED)

    def _of_object(self, pin: Pin, error: FarSideError) -> Ds3Error:
        """Return a refusal as what it means for the one object; who is not known at all stays that."""
        shown = self.shown(pin.key)
        if isinstance(error, FarSideDeniedError):
            return error
        if error.status in {412, 416}:
            return self._changed(pin, "another object has its key")
        if error.code == "NoSuchBucket":
            return SourceError(f"{shown} cannot be read: its bucket is not there any more")
        if isinstance(error, FarSideNotFoundError):
            return SourceError(f"{shown} is not there any more: it was deleted since it was listed")
        if error.code == _ARCHIVED:
            return archived_error(shown, "archived")
        return SourceError(f"{shown} cannot be read: {error.message.removeprefix(f'{shown}: ')}", hint=error.hint)

    def facts(self, pin: Pin, reply: Any, ended: threading.Event) -> Facts:  # noqa: ANN401
        """Return what a reply about the whole object tells of it, and its tags, where it has some."""
        kind = reply.get("ContentType")
        attributes = ObjectAttributes(
            content_type=None if kind == _NO_TYPE else kind,
            content_encoding=_encoding(reply.get("ContentEncoding")),
            content_language=reply.get("ContentLanguage"),
            content_disposition=reply.get("ContentDisposition"),
            cache_control=reply.get("CacheControl"),
            expires=reply.get("ExpiresString"),
            storage_class=reply.get("StorageClass"),
            user={name.lower(): _text(value) for name, value in reply.get("Metadata", {}).items()},
        )
        missing = False
        count = reply.get("TagCount")
        if count or (count is None and "Body" not in reply):
            try:
                tags = self._tags(pin, ended)
            except FarSideDeniedError:
                raise
            except FarSideError:
                missing = bool(count)
            else:
                attributes, missing = replace(attributes, tags=tags), bool(count) and not tags
        return Facts(attributes, stated_of(reply, bucket=self.bucket), missing, int(reply.get("MissingMeta") or 0))

    def _tags(self, pin: Pin, ended: threading.Event) -> tuple[tuple[str, str], ...]:
        asked = {} if pin.version_id is None else {"VersionId": pin.version_id}
        reply = self._repeated(
            lambda: self.client.get_object_tagging(Bucket=self.bucket, Key=pin.key, **asked), ended, pin.key
        )
        return tuple((str(one["Key"]), str(one["Value"])) for one in reply.get("TagSet", ()))


@contextlib.contextmanager
def reading(shown: str) -> Iterator[None]:
    """Let whatever the reading of a GET's body raises come out as FarSideUnreachableError."""
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, OSError, ValueError) as error:  # ValueError: a response that another thread has closed
        raise FarSideUnreachableError(f"{shown}: its reading broke off: {error}") from error


def archived_error(shown: str, storage_class: str) -> SourceError:
    """Return the error that says that an object must be restored first."""
    return SourceError(
        f"{shown} is {storage_class} and not restored, so its bytes cannot be had now",
        hint="restore it first, or use --restore-tier standard",
    )


def _ask_for_checksums(params: Any, **_: object) -> None:  # noqa: ANN401  # botocore's own dict
    """Ask S3 to state its checksums; a range of an object has none of its own."""
    if "Range" not in params["headers"]:
        params["headers"]["x-amz-checksum-mode"] = "ENABLED"


def _encoding(text: str | None) -> str | None:
    """Return how content is encoded, less how an uploading client framed it, which some services keep as well."""
    kept = [word for word in (text or "").split(",") if word.strip() and word.strip() != "aws-chunked"]
    return ",".join(kept) or None


def _text(value: str) -> str:
    """Return a metadata value as it was meant: http.client reads what is not ASCII as Latin-1, and most is UTF-8."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
