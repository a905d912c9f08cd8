"""What a Lotame source calls its objects, so that a later process finds them again by the name alone."""

from __future__ import annotations

import base64
import json
import zlib

from ds3tool.errors import SourceError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.model import S3Location
from ds3tool.lotame.news import FeedFile
from ds3tool.lotame.watermark import HadFile
from ds3tool.sources.s3_reader import Pin
from ds3tool.sources.url_list import UrlName, UrlPin

_ANSWER = b"answer"
_END = b"\0"


@dataclass(frozen=True, slots=True)
class FeedPin:
    """One of a feed's files: the feed, the file's bucket, what is remembered of it, and the very object that it is.

    Without a bucket it is a mapping file on the web, and the pin's key is what a `UrlPin` makes a text of.
    """

    had: HadFile
    bucket: str | None
    pin: Pin

    @classmethod
    def to(cls, file: FeedFile) -> FeedPin:
        """Return the pin of a file as it is now."""
        if isinstance(file.place, S3Location):
            return cls(file.had, file.place.bucket, Pin(file.place.key, file.etag))
        assert file.web is not None
        web = UrlPin(UrlName(str(file.place)), 0, file.web.last_modified, file.web.ranges)
        return cls(file.had, None, Pin(web.to_text(), file.web.etag))

    @property
    def address(self) -> str:
        """Where it is, without what may be secret."""
        if self.bucket is None:
            return UrlPin.of(self.pin.key).name.bare
        return f"s3://{self.bucket}/{self.pin.key}"

    def to_name(self) -> bytes:
        """Return this as a source's own name for the file."""
        head = [self.had.feed_id, self.had.file, self.had.etag, self.bucket]
        return json.dumps(head).encode("ascii") + _END + self.pin.to_name()

    @classmethod
    def of(cls, name: bytes) -> FeedPin:
        """Return what `to_name` made a name of; SourceError for what is none."""
        head, _, pin = name.partition(_END)
        try:
            feed_id, file, etag, bucket = json.loads(head)
            had = HadFile(int(feed_id), str(file), str(etag))
            return cls(had, None if bucket is None else str(bucket), Pin.of(pin))
        except (ValueError, TypeError) as error:
            raise SourceError(f"{name[:100]!r} is no file of Lotame") from error


def answer_name(record: bytes) -> bytes:
    """Return the name of an answer of Lotame's: the answer itself, which can be had only once, is in it."""
    return _ANSWER + _END + base64.b85encode(zlib.compress(record, 9))


def is_answer(name: bytes) -> bool:
    """Whether a name is that of an answer."""
    return name.startswith(_ANSWER + _END)


def answer_of(name: bytes) -> bytes:
    """Return the answer that its name holds; SourceError for a name that is not whole."""
    try:
        return zlib.decompress(base64.b85decode(name[len(_ANSWER + _END) :]))
    except (ValueError, zlib.error) as error:
        raise SourceError("an answer of Lotame's that was kept is damaged") from error
