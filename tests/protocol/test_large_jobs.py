"""Jobs of many objects: columns instead of objects, bodies in blocks, and memory that the columns explain."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest

from ds3tool.errors import UsageError
from ds3tool.protocol import requests, responses
from ds3tool.protocol.blob_columns import BlobColumns
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.model import Chunk, ObjectToGet, ObjectToPut

MIB = 1024 * 1024
PER_CHUNK = 5_000
_TRUTH = ("false", "true")


def _key(number: int) -> str:
    return f"photos/2024/album-{number % 100:03d}/image-{number:08d}.jpg"


def _document(blobs: int) -> Iterator[bytes]:
    yield b'<MasterObjectList JobId="j" RequestType="PUT"><Nodes/>'
    for first in range(0, blobs, PER_CHUNK):
        rows = "".join(
            f'<Object Bucket="b" Id="{number:08d}-0000-4000-8000-000000000000" InCache="{_TRUTH[number % 2]}"'
            f' Latest="true" Length="{number}" Name="{_key(number)}" Offset="0"'
            f' VersionId="{number:08d}-0000-4000-8000-000000000001"/>'
            for number in range(first, min(blobs, first + PER_CHUNK))
        )
        yield f'<Objects ChunkId="c{first}" ChunkNumber="{first // PER_CHUNK + 1}">{rows}</Objects>'.encode()
    yield b"</MasterObjectList>"


def _columns(chunk: Chunk) -> BlobColumns:
    assert isinstance(chunk.blobs, BlobColumns)
    return chunk.blobs


@pytest.mark.parametrize("odd", [None, "", "v1", "\0" * 36, "0b1ec700-0000-4000-8000-0000000000\u00e9"])
def test_version_ids_taken_together_are_those_taken_one_by_one(odd: str | None) -> None:
    """Whether they are close together or far apart, in order or not, and with one among them that is no UUID."""
    ids = BlobColumns().version_ids
    for number in range(200):
        ids.append(odd if number == 50 else f"{number:08d}-0000-4000-8000-000000000000")
    for numbers in ([], [7], [50], [51, 49, 53], [199, 0], list(range(200)), [60, *range(70, 50, -1)], [5, 5]):
        assert ids.of(numbers) == [ids[number] for number in numbers]
    assert ids.of([1, 0])[0] == "00000001-0000-4000-8000-000000000000"
    for beyond in ([200], [199, 200], [0, 400]):
        with pytest.raises(IndexError):
            ids.of(beyond)


def test_a_job_of_many_blobs_takes_less_than_200_bytes_a_blob() -> None:
    """Reading 50,000 blobs peaks below 200 bytes for each, key included: 500,000 stay below 100 MB."""
    blobs = 50_000
    tracemalloc.start()
    try:
        details = responses.job(Response(200, Headers(), _document(blobs)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A chunk's block of the document itself, made by this test, is alive beside the columns.
    document_block = 2 * 250 * PER_CHUNK * 2
    assert peak < 200 * blobs + document_block + MIB
    assert sum(len(chunk.blobs) for chunk in details.chunks) == blobs
    last = details.chunks[-1].blobs[-1]
    assert (last.key, last.length, last.in_cache) == (_key(blobs - 1), blobs - 1, True)
    assert last.version_id == f"{blobs - 1:08d}-0000-4000-8000-000000000001"
    assert _columns(details.chunks[0]).version_ids[7] == "00000007-0000-4000-8000-000000000001"


def test_blobs_of_one_object_share_its_name() -> None:
    """Ten blobs of one object hold one text among them."""
    rows = "".join(f'<Object Name="big" Offset="{at}" Length="1"/>' for at in range(10))
    document = f'<MasterObjectList JobId="j" RequestType="GET"><Objects ChunkId="c">{rows}</Objects></MasterObjectList>'
    (chunk,) = responses.job(Response(200, Headers(), (document.encode(),))).chunks
    assert len({id(key) for key in _columns(chunk).keys}) == 1
    assert list(_columns(chunk).offsets) == list(range(10))


@pytest.mark.parametrize("version_id", ["1", "", "x" * 36, "\0" * 36, "ü" * 36, None])
def test_version_ids_of_any_form_are_kept(version_id: str | None) -> None:
    """A column of version ids gives back what was put in, be it a UUID's length or not."""
    columns = BlobColumns()
    columns.append("a", 0, 1, in_cache=False, version_id="0b1ec700-0000-4000-8000-000000000001")
    columns.append("a", 1, 1, in_cache=True, version_id=version_id)
    columns.append("b", 0, 1, in_cache=True, version_id=None)
    assert [blob.version_id for blob in columns] == ["0b1ec700-0000-4000-8000-000000000001", version_id, None]
    assert columns.version_ids[-2] == version_id
    assert columns.version_ids[:2] == ["0b1ec700-0000-4000-8000-000000000001", version_id]
    with pytest.raises(IndexError):
        columns.version_ids[3]


def test_a_large_body_says_its_length_and_can_be_walked_again() -> None:
    """A body of many objects is made in blocks, the same at each walk, of exactly the length it told before."""
    objects = [ObjectToPut(f"a & b/{number}", number) for number in range(5_000)]
    body = requests.create_put_job("b", objects).body
    assert not isinstance(body, bytes)
    blocks = list(body)
    assert len(blocks) > 4
    assert body.length == sum(map(len, blocks))
    assert list(body) == blocks
    root = ET.fromstring(b"".join(blocks))
    assert [(one.get("Name"), one.get("Size")) for one in root] == [(one.key, str(one.size)) for one in objects]


def test_a_large_body_is_not_held_in_memory() -> None:
    """Making and walking the body of 50,000 objects peaks below a megabyte beyond the objects themselves."""
    objects = [ObjectToPut(_key(number), number) for number in range(50_000)]
    tracemalloc.start()
    try:
        body = requests.create_put_job("b", objects).body
        assert not isinstance(body, bytes)
        assert sum(map(len, body)) == body.length
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_a_name_that_cannot_be_sent_is_found_before_anything_is() -> None:
    """One bad key among thousands fails the building of the request, and the error names the key."""
    objects = [ObjectToPut(f"fine/{number}", 1) for number in range(3_000)]
    objects[2_500] = ObjectToPut("bad\x01name", 1)
    with pytest.raises(UsageError, match=r"bad\\x01name.*U\+0001"):
        requests.create_put_job("b", objects)


def test_a_job_has_a_limit() -> None:
    """More objects than a job may hold, or none, are refused."""
    with pytest.raises(UsageError, match="500001"):
        requests.create_put_job("b", [ObjectToPut("a", 1)] * 500_001)
    with pytest.raises(UsageError):
        requests.create_get_job("b", [])


@pytest.mark.parametrize(
    "one",
    [
        ObjectToGet("a", offset=0),
        ObjectToGet("a", offset=0, length=0),
        ObjectToGet("a", offset=-1, length=1),
        ObjectToGet(""),
    ],
)
def test_a_range_that_cannot_be_is_refused(one: ObjectToGet) -> None:
    """A range without a length, of no bytes or from before the object is a UsageError."""
    with pytest.raises(UsageError):
        requests.create_get_job("b", [one])
