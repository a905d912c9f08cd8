"""An object's bytes come whole however often the connection breaks, and never two objects' bytes as one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import ChecksumError, FarSideUnreachableError, SourceError
from ds3tool.firehose.reading import object_chunks
from tests.far.servers import FarSide


class BrokenBody(io.BytesIO):
    """A body of which only so many bytes come; then the connection ends, in silence or with an error."""

    def __init__(self, data: bytes, most: int, *, silent: bool) -> None:
        super().__init__(data[:most])
        self._breaks = most < len(data) and not silent

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        while chunk := self.read(min(size, 3)):
            yield chunk
        if self._breaks:
            raise ReadTimeoutError(endpoint_url="http://far")


@dataclass
class BreakingS3:
    """A service that has one object, and breaks its bodies off after as many bytes as `breaks` says in turn."""

    data: bytes
    breaks: list[int]
    silent: bool = False
    replaced_after: int | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    def get_object(self, **asked: str) -> dict[str, Any]:
        self.asked.append(asked)
        replaced = self.replaced_after is not None and len(self.asked) > self.replaced_after
        if replaced and "IfMatch" in asked:
            raise ClientError(
                {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}, "GetObject"
            )
        start = int(asked["Range"].removeprefix("bytes=").removesuffix("-")) if "Range" in asked else 0
        rest = self.data[start:]
        most = self.breaks.pop(0) if self.breaks else len(rest)
        return {"ContentLength": len(rest), "ETag": '"e1"', "Body": BrokenBody(rest, most, silent=self.silent)}


@given(data=st.binary(min_size=1, max_size=60), breaks=st.lists(st.integers(1, 10), max_size=4), silent=st.booleans())
def test_a_body_that_breaks_off_is_gone_on_with(data: bytes, breaks: list[int], silent: bool) -> None:
    """Each byte comes once, whether the connection ends in silence or with an error; the rest is of the same object."""
    far = BreakingS3(data, list(breaks), silent)
    assert b"".join(object_chunks(far, "b", "k")) == data
    assert all(asked.get("IfMatch") == '"e1"' for asked in far.asked[1:])


def test_a_body_that_never_goes_on_is_given_up() -> None:
    """Five breaks without a byte in between end it; what came before them has come."""
    far = BreakingS3(b"abcdef", [2, 0, 0, 0, 0, 0, 0])
    coming = object_chunks(far, "b", "k")
    assert next(coming) == b"ab"
    with pytest.raises(FarSideUnreachableError, match="s3://b/k"):
        next(coming)
    assert len(far.asked) == 5


def test_the_rest_of_another_object_is_not_taken() -> None:
    """An object that was replaced meanwhile ends the reading by name."""
    far = BreakingS3(b"abcdef", [2], replaced_after=1)
    with pytest.raises(SourceError, match="s3://b/k was replaced"):
        list(object_chunks(far, "b", "k"))


def test_bytes_with_another_digest_than_stated_are_damage(moto: FarSide) -> None:
    """Where S3 states a checksum, bytes that have another one end the reading as damage."""
    from moto.s3.models import s3_backends

    bucket = moto.bucket()
    moto.client().put_object(Bucket=bucket, Key="k", Body=b"as it was put", ChecksumAlgorithm="CRC32")
    assert b"".join(object_chunks(moto.client(), bucket, "k")) == b"as it was put"
    stored = s3_backends["123456789012"]["aws"].buckets[bucket].keys["k"]
    stored.value = b"as it decayed"
    with pytest.raises(ChecksumError, match=f"s3://{bucket}/k") as caught:
        list(object_chunks(moto.client(), bucket, "k"))
    assert caught.value.expected != caught.value.actual
