"""What a Lotame source calls its objects, so that a later process finds them again by the name alone."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass

from ds3tool.errors import SourceError
from ds3tool.lotame.news import FeedFile
from ds3tool.lotame.watermark import HadFile
from ds3tool.sources.s3_reader import Pin

_ANSWER = b"answer"
_END = b"\0"


@dataclass(frozen=True, slots=True)
class FeedPin:
    """One of a feed's files: the feed, the file's bucket, what is remembered of it, and the very object that it is."""

    feed_id: int
    bucket: str
    file: str
    pin: Pin

    @classmethod
    def to(cls, file: FeedFile) -> FeedPin:
        """Return the pin of a file as S3 has it now."""
        return cls(file.feed_id, file.place.bucket, file.had.file, Pin(file.place.key, file.etag))

    @property
    def had(self) -> HadFile:
        """What is remembered of it once it is archived."""
        return HadFile(self.feed_id, self.file, self.pin.etag)

    def to_name(self) -> bytes:
        """Return this as a source's own name for the file."""
        return json.dumps([self.feed_id, self.bucket, self.file]).encode("ascii") + _END + self.pin.to_name()

    @classmethod
    def of(cls, name: bytes) -> FeedPin:
        """Return what `to_name` made a name of; SourceError for what is none."""
        head, _, pin = name.partition(_END)
        try:
            feed_id, bucket, file = json.loads(head)
            return cls(int(feed_id), str(bucket), str(file), Pin.of(pin))
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
