"""S3 as a sink, on real servers: an object appears whole or not at all, and nothing unfinished is left."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import (
    ChecksumError,
    Ds3Error,
    FarSideDeniedError,
    FarSideUnreachableError,
    InterruptedRunError,
    SinkError,
)
from ds3tool.jobs.ends import KeepingSink, KeyedSink, TargetObject
from ds3tool.jobs.waiting import WaitingEnd
from ds3tool.protocol.checksums import to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.s3 import S3Sink
from ds3tool.sinks.s3_parts import MIB, Gathered, Room
from ds3tool.sinks.s3_requests import S3Requests
from ds3tool.sinks.s3_uploads import UploadRecord, uploads_left
from tests.far.servers import FarSide
from tests.sinks.s3_ends import (
    Meddling,
    cut,
    data_of,
    failure_of,
    give,
    give_all,
    give_broken,
    give_damaged,
    store,
)

LARGE = 17 * MIB + 11
Open = Callable[..., S3Sink]


@pytest.fixture(params=["seaweed", pytest.param("moto", marks=pytest.mark.more)])
def strict(request: pytest.FixtureRequest) -> FarSide:
    """Each S3 server, for what is long; the other one is for `make test-more`."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]  # a fixture by its name


@pytest.fixture(params=["seaweed", "moto"])
def far(request: pytest.FixtureRequest) -> FarSide:
    """Each S3 server."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]  # a fixture by its name


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Give a function that opens a sink in a bucket of a server."""
    sinks: list[S3Sink] = []

    def open_(far: FarSide, bucket: str, prefix: str = "", **how: Any) -> S3Sink:  # noqa: ANN401
        for name, value in far.environ.items():
            monkeypatch.setenv(name, value)
        sinks.append(S3Sink(AwsSettings(endpoint=far.endpoint), bucket, prefix, **how))
        return sinks[-1]

    yield open_
    for sink in sinks:
        sink.close()


def test_it_is_a_sink_of_keys_that_a_later_run_can_go_on_with(opened: Open, moto: FarSide) -> None:
    """A get may be resumed into S3, knows it for a sink of keys, and can end its waits."""
    sink = opened(moto, "any")
    assert isinstance(sink, KeepingSink)
    assert isinstance(sink, KeyedSink)
    assert isinstance(sink, WaitingEnd)
    assert sink.free_bytes() is None
    assert not sink.sequential


# -- bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 3 * MIB + 1, pytest.param(16 * MIB, marks=pytest.mark.more), LARGE])
def test_objects_of_every_size_appear_byte_for_byte(opened: Open, far: FarSide, size: int) -> None:
    """Held in one request or sent in parts: what appears is what came, below the prefix, and no upload is left."""
    bucket, data = far.bucket(), data_of(size)
    sink = opened(far, bucket, "to/")
    store(sink, "film", data)
    assert far.contents(bucket) == {"to/film": data}
    assert far.uploads(bucket) == []


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.more) for seed in range(2, 12))])
def test_blobs_of_any_cut_in_any_order_by_many_threads(opened: Open, strict: FarSide, seed: int) -> None:
    """Blobs that end where no part ends, in a random order, by four threads, make the object as it is."""
    chance = random.Random(seed)
    bucket, data = strict.bucket(), data_of(2 * LARGE + chance.randrange(MIB), seed)
    edges = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(chance.choice([3, 30])))})
    blobs = [ByteRange(*edge) for edge in itertools.pairwise(edges)]
    chance.shuffle(blobs)
    item = TargetObject("film", len(data), "film")
    sink = opened(strict, bucket, memory_bytes=chance.choice([0, 16, 64]) * MIB)
    give_all(sink, item, data, blobs, threads=4)
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert strict.contents(bucket) == {"film": data}
    assert strict.uploads(bucket) == []


def test_a_damaged_first_try_is_in_no_part(opened: Open, strict: FarSide) -> None:
    """Parts of a blob that turned out damaged, which have gone already, are replaced by those of the second try."""
    bucket, data = strict.bucket(), data_of(LARGE + 8 * MIB)
    item = TargetObject("film", len(data), "film")
    sink = opened(strict, bucket)
    first, second = ByteRange(0, 20 * MIB), ByteRange(20 * MIB, len(data))
    give_damaged(sink, item, data, first)
    give_damaged(sink, item, data, second)
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert strict.contents(bucket) == {"film": data}


@pytest.mark.parametrize("size", [pytest.param(5 * MIB, marks=pytest.mark.more), LARGE])
def test_a_body_that_breaks_off_is_gone_on_with(opened: Open, strict: FarSide, size: int) -> None:
    """A blob that comes in three answers is what it would be in one."""
    bucket, data = strict.bucket(), data_of(size)
    item = TargetObject("film", size, "film")
    sink = opened(strict, bucket)
    give_broken(sink, item, data, ByteRange(0, size), at=[MIB + 1, size - 7])
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert strict.contents(bucket) == {"film": data}


def test_a_blob_that_comes_twice_changes_nothing(opened: Open, moto: FarSide) -> None:
    """A verified blob that is fetched once more is verified, and the object is whole with either."""
    bucket, data = moto.bucket(), data_of(LARGE)
    item = TargetObject("film", LARGE, "film")
    sink = opened(moto, bucket)
    for blob in cut(LARGE, 5 * MIB):
        give(sink, item, data, blob)
        give(sink, item, data, blob)
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert moto.contents(bucket) == {"film": data}


def test_an_object_is_told_of_as_it_was_finished(opened: Open, moto: FarSide) -> None:
    """Where another job has brought the rest, the object has another number in its plan: that one is told."""
    sink = opened(moto, moto.bucket())
    first = TargetObject("film", 2, "film", number=7)
    give(sink, first, b"12", ByteRange(0, 1))
    give(sink, replace(first, number=0), b"12", ByteRange(1, 2))
    sink.finish(replace(first, number=0))
    assert [item.number for item, _ in sink.settle(wait=True)] == [0]


@pytest.mark.parametrize("size", [pytest.param(3 * MIB, marks=pytest.mark.more), LARGE])
def test_an_object_that_lacks_a_blob_does_not_appear(opened: Open, strict: FarSide, size: int) -> None:
    """Whoever finishes an object of which a blob is missing, or only damaged, hears so, and nothing is left."""
    bucket, data = strict.bucket(), data_of(size)
    item = TargetObject("film", size, "film")
    sink = opened(strict, bucket)
    for blob in cut(size, MIB)[1:]:
        give(sink, item, data, blob)
    assert "have come" in str(failure_of(sink, item))
    sink.close()
    assert (strict.contents(bucket), strict.uploads(bucket)) == ({}, [])


@pytest.mark.parametrize("size", [pytest.param(3 * MIB, marks=pytest.mark.more), LARGE])
def test_ranges_of_an_object_make_one(opened: Open, strict: FarSide, size: int) -> None:
    """Bytes that come in pieces, some of them again, land where they belong."""
    bucket, data = strict.bucket(), data_of(size)
    item = TargetObject("film", size, "film", ranges=(ByteRange(100, 100 + size),))
    sink = opened(strict, bucket)
    pieces = cut(size, 700_000)
    for piece in [*pieces[::2], *pieces[1::2], *pieces[:3]]:
        sink.receive_small(item, piece.start, memoryview(data)[piece.start : piece.end])
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]
    assert strict.contents(bucket) == {"film": data}


def test_many_small_objects_from_one_thread(opened: Open, seaweed: FarSide) -> None:
    """Small objects are kept and sent in the background, each under its own name."""
    bucket = seaweed.bucket()
    sink = opened(seaweed, bucket, memory_bytes=MIB)
    items = [TargetObject(f"{number}", 50_000, f"n/{number}", number=number) for number in range(30)]
    for item in items:
        give(sink, item, data_of(50_000, item.number), ByteRange(0, 50_000))
        sink.finish(item)
    settled = sink.settle(wait=True)
    assert sorted(item.number for item, error in settled if error is None) == list(range(30))
    assert seaweed.contents(bucket) == {item.name: data_of(50_000, item.number) for item in items}


# -- damage on the way to S3 -----------------------------------------------------------------------------------


def gathered(data: bytes) -> Gathered:
    """Return bytes that are whole."""
    found = Room(len(data)).take(len(data), stopped=lambda: False)
    found.write(0, data)
    return found


def send(client: Meddling, bucket: str, data: bytes, *, parts: bool) -> None:
    """Send an object through a client, in one request or as a part."""
    requests = S3Requests(client, bucket)
    piece = gathered(data).piece()
    if not parts:
        requests.put("film", piece, {}, replace=False)
        return
    begun = requests.create("film", {})
    part = requests.part("film", begun.upload_id, piece, number=1, offset=0)
    requests.complete("film", begun.upload_id, [part], crc_of_whole=begun.crc_of_whole, replace=False)


@pytest.mark.parametrize("parts", [False, True])
def test_bytes_damaged_on_the_way_are_sent_again(far: FarSide, parts: bool) -> None:
    """Whether S3 refuses what is not its digest, or answers with another ETag: the second try is right."""
    bucket, data = far.bucket(), data_of(MIB)
    send(Meddling(far, damages=1), bucket, data, parts=parts)
    assert far.contents(bucket) == {"film": data}


@pytest.mark.parametrize("parts", [pytest.param(False, marks=pytest.mark.more), True])
def test_bytes_damaged_each_time_are_told(far: FarSide, parts: bool) -> None:
    """When every try arrives damaged, that is the error, whoever notices it."""
    bucket = far.bucket()
    with pytest.raises(Exception, match=r"other bytes than were sent|BadDigest|did not match") as caught:
        send(Meddling(far, damages=9), bucket, data_of(MIB), parts=parts)
    assert far.name == "seaweed" or isinstance(caught.value, ChecksumError)


# -- what is there already -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [MIB, LARGE])
def test_what_is_there_is_not_replaced_unasked(opened: Open, strict: FarSide, size: int) -> None:
    """An object that came meanwhile stays as it is, and ours fails by name; asked to replace it, ours takes its key."""
    bucket, data = strict.bucket({"film": b"another's"}), data_of(size)
    item = TargetObject("film", size, "film")
    sink = opened(strict, bucket)
    give_all(sink, item, data, cut(size, 5 * MIB))
    error = failure_of(sink, item)
    assert isinstance(error, SinkError)
    assert "is there already" in error.message
    store(sink, "film", data, replace=True)
    assert strict.contents(bucket) == {"film": data}
    sink.close()
    assert strict.uploads(bucket) == []


@pytest.mark.parametrize("size", [MIB, LARGE])
def test_the_same_bytes_under_the_key_count_as_ours(opened: Open, strict: FarSide, size: int) -> None:
    """What was stored by a run that was killed before it could tell, or by a try whose answer was lost, is no other."""
    bucket, data = strict.bucket(), data_of(size)
    store(opened(strict, bucket), "film", data, blob_bytes=5 * MIB)
    sink = opened(strict, bucket)
    store(sink, "film", data, blob_bytes=5 * MIB)
    sink.close()
    assert strict.contents(bucket) == {"film": data}
    assert strict.uploads(bucket) == []


def test_sizes_are_told_with_few_requests(opened: Open, moto: FarSide) -> None:
    """Of many keys in their order, missing ones among them, one listing tells all sizes, and tells them right."""
    keys = {f"d/{number:03}" for number in range(0, 120, 2)} | {"d/sub/x", "d-e", "d/1-0"}
    bucket = moto.bucket(dict.fromkeys(keys, b"123"))
    sink = opened(moto, bucket)
    asked = []
    sink.existing_size("d/000")
    sink._shipping.requests.client.meta.events.register("before-send.s3", lambda request, **_: asked.append(request))
    names = [f"d/{number:03}" for number in range(1, 120)]
    assert {name: sink.existing_size(name) for name in names} == {name: 3 if name in keys else None for name in names}
    assert not asked


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.more) for seed in range(2, 9))])
def test_sizes_in_any_order_are_those_of_the_bucket(opened: Open, far: FarSide, seed: int) -> None:
    """Whatever the order of the questions and the folders of the keys, none is told wrong."""
    chance = random.Random(seed)
    alphabet = ["a", "b", "a-b", "a.b", "a/b", "b/a", "a/a/b", "ab", "a!", "é"]
    keys = {f"{one}{other}" for one in alphabet for other in ("", "0", "/x", "-") if not one.startswith("/")}
    there = {key: chance.randbytes(chance.randrange(1, 9)) for key in sorted(keys) if chance.random() < 0.5}
    bucket = far.bucket(there)
    sink = opened(far, bucket)
    asked = sorted(keys)
    if seed % 2:
        chance.shuffle(asked)
    assert {key: sink.existing_size(key) for key in asked} == {
        key: len(there[key]) if key in there else None for key in asked
    }


def test_digests_are_told_without_a_byte_read(opened: Open, far: FarSide) -> None:
    """Of an object of one request the MD5 is known, and what is in the bucket is read back from anywhere."""
    bucket = far.bucket()
    sink = opened(far, bucket)
    data = data_of(3 * MIB)
    store(sink, "film", data)
    known = sink.digests("film")
    assert known is not None
    assert known.size == len(data)
    assert known.stated[ChecksumType.MD5] == to_base64(hashlib.md5(data).digest())
    assert sink.digests("other") is None
    assert not sink.is_link("film")
    for at, length in ((0, 1000), (1000, 1000), (2000, 1), (7, 5), (12, 3 * MIB - 12)):
        assert sink.read_existing("film", at, length) == data[at : at + length]
    with pytest.raises(SinkError):
        sink.read_existing("film", 3 * MIB - 1, 2)


def test_free_names(opened: Open, moto: FarSide) -> None:
    """A name that is taken gets a number, and one that was given away is not given twice."""
    sink = opened(moto, moto.bucket({"to/film.mov": b"1", "to/film~1.mov": b"1"}), "to/")
    assert [sink.free_name("film.mov") for _ in range(2)] == ["film~2.mov", "film~3.mov"]
    assert sink.free_name("other") == "other"


# -- names -----------------------------------------------------------------------------------------------------

ODD = [
    "a",
    "a/b",
    "a/",
    "a//b",
    "../up",
    "./x",
    "..",
    "a/../b",
    " x ",
    "+%20&=?#",
    "ä/ü",
    "\U0001f3a5",
    "\x01",
    "x" * 900,
]


def test_any_key_is_taken_as_it_is(opened: Open, moto: FarSide) -> None:
    """Keys that no file could have are kept to the byte, and `a` stands beside `a/b`."""
    bucket = moto.bucket()
    sink = opened(moto, bucket)
    for name in ODD:
        store(sink, name, b"" if name.endswith("/") else name.encode())
    assert moto.contents(bucket) == {name: b"" if name.endswith("/") else name.encode() for name in ODD}


def test_names_that_no_key_can_have(opened: Open, moto: FarSide) -> None:
    """Names of more than 1,024 bytes with the prefix, of no bytes, or beyond UTF-8, are refused."""
    sink = opened(moto, "any", "0123456789/")
    sink.check_name("é" * 506)
    for name in ("é" * 507, "", "\udcff"):
        with pytest.raises(SinkError):
            sink.check_name(name)


def test_two_objects_of_one_name_are_told_apart(opened: Open, moto: FarSide) -> None:
    """While an object is under way, another that would have its name is refused."""
    sink = opened(moto, moto.bucket())
    give(sink, TargetObject("one", 2, "film"), b"12", ByteRange(0, 1))
    with pytest.raises(SinkError, match="under the same name"):
        give(sink, TargetObject("two", 2, "film"), b"12", ByteRange(0, 1))


# -- what is stored with objects -------------------------------------------------------------------------------

METADATA = {
    "ds3tool-content-type": "video/quicktime",
    "ds3tool-content-encoding": "gzip",
    "ds3tool-cache-control": "no-store",
    "ds3tool-content-disposition": "attachment",
    "ds3tool-content-language": "de",
    "ds3tool-expires": "Thu, 01 Jan 2026 00:00:00 GMT",
    "ds3tool-tags": "kind=master&reel=7 a",
    "ds3-mode": "100644",
    "camera": "B",
}


@pytest.mark.parametrize("size", [10, LARGE])
def test_attributes_go_back_to_s3(opened: Open, far: FarSide, size: int) -> None:
    """Content type and its like, tags and user metadata stand beside the object, in one request or in parts."""
    bucket, data = far.bucket(), data_of(size)
    sink = opened(far, bucket)
    sink.describe(TargetObject("key of film", size, "film"), METADATA)
    store(sink, "film", data, blob_bytes=9 * MIB)
    head = far.client().head_object(Bucket=bucket, Key="film")
    assert (head["ContentType"], head["ContentEncoding"], head["CacheControl"]) == (
        "video/quicktime",
        "gzip",
        "no-store",
    )
    assert (head["ContentDisposition"], head["ContentLanguage"]) == ("attachment", "de")
    assert head["ExpiresString"].startswith("Thu, 01 Jan 2026")
    assert head["Metadata"] == {"ds3-mode": "100644", "camera": "B"}
    tags = far.client().get_object_tagging(Bucket=bucket, Key="film")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"kind": "master", "reel": "7 a"}
    assert sink.notes == []


def test_what_s3_cannot_keep_is_told(opened: Open, moto: FarSide) -> None:
    """User metadata beyond 2 KiB or plain ASCII, and an eleventh tag, are left out and told; the object appears."""
    bucket = moto.bucket()
    sink = opened(moto, bucket)
    metadata = {
        "short": "1",
        "long": "x" * 2040,
        "longer": "x" * 2041,
        "ümlaut": "1",
        "film": "Ü",
        "ds3tool-tags": "&".join(f"t{number}=1" for number in range(11)),
        "ds3tool-expires": "some day",
    }
    sink.describe(TargetObject("key of film", 1, "film"), metadata)
    store(sink, "film", b"1")
    (note,) = sink.notes
    for name in ("longer", "ümlaut", "film", "tag t10", "expires"):
        assert name in note
    head = moto.client().head_object(Bucket=bucket, Key="film")
    assert head["Metadata"] == {"short": "1", "long": "x" * 2040} or set(head["Metadata"]) == {"short"}
    assert len(moto.client().get_object_tagging(Bucket=bucket, Key="film")["TagSet"]) == 10


def test_metadata_that_comes_too_late_is_told(opened: Open, seaweed: FarSide) -> None:
    """What is told of an object when parts of it have gone cannot stand beside it any more, and a note says so."""
    sink = opened(seaweed, seaweed.bucket())
    item = begin(sink, data_of(LARGE))
    sink.describe(item, METADATA)
    (note,) = sink.notes
    assert "left out: film" in note


def test_what_cannot_be_swept_is_told(opened: Open, seaweed: FarSide, tmp_path: Path) -> None:
    """An earlier upload that may not be aborted is noted and stays remembered; nothing else fails for it."""
    record = UploadRecord(AwsSettings(endpoint=seaweed.endpoint), seaweed.bucket(), state=tmp_path, token="work")
    record.begun(replace(record.begins("film"), upload_id="id"))
    record.close()
    sink = opened(replace(seaweed, secret_key="wrong"), "any", token="work", state=tmp_path)
    assert sink.sweep([]) == 0
    assert "not aborted" in sink.notes[0]
    sink.close()
    assert len(uploads_left(tmp_path, "work")) == 1


def test_the_storage_class_asked_for_wins(opened: Open, moto: FarSide) -> None:
    """Objects get the class they had, or the one that was asked for."""
    bucket = moto.bucket()
    own, asked = opened(moto, bucket, "own/"), opened(moto, bucket, "asked/", storage_class="STANDARD_IA")
    for sink in (own, asked):
        sink.describe(TargetObject("key of film", 1, "film"), {"ds3tool-storage-class": "GLACIER_IR"})
        store(sink, "film", b"1")
        store(sink, "plain", b"1")
    listed = moto.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert {one["Key"]: one["StorageClass"] for one in listed} == {
        "own/film": "GLACIER_IR",
        "own/plain": "STANDARD",
        "asked/film": "STANDARD_IA",
        "asked/plain": "STANDARD_IA",
    }


# -- ends ------------------------------------------------------------------------------------------------------


def begin(sink: S3Sink, data: bytes) -> TargetObject:
    """Let all of an object come but its last byte, so that parts of it have gone."""
    item = TargetObject("film", len(data) + 1, "film")
    give(sink, item, data, ByteRange(0, len(data)))
    return item


def test_an_abandoned_object_leaves_nothing(opened: Open, strict: FarSide, tmp_path: Path) -> None:
    """Once its object is given up, the upload is aborted and forgotten; another of the name can be stored."""
    bucket, data = strict.bucket(), data_of(LARGE)
    sink = opened(strict, bucket, token="work", state=tmp_path)
    sink.abandon(begin(sink, data))
    store(sink, "film", data)
    sink.close()
    assert strict.contents(bucket) == {"film": data}
    assert strict.uploads(bucket) == []
    assert not list((tmp_path / "uploads").iterdir())


def test_closing_in_the_middle_leaves_nothing(opened: Open, strict: FarSide, tmp_path: Path) -> None:
    """However a run ends, what is under way is aborted when the sink is closed, and nothing appears later."""
    bucket = strict.bucket()
    sink = opened(strict, bucket, token="work", state=tmp_path)
    begin(sink, data_of(LARGE))
    assert len(uploads_left(tmp_path, "work")) <= 1
    sink.close()
    sink.close()
    assert (strict.contents(bucket), strict.uploads(bucket)) == ({}, [])
    assert uploads_left(tmp_path, "work") == []
    with pytest.raises(SinkError, match="closed"):
        begin(sink, b"1")


_DIES = """
import sys
from pathlib import Path
from ds3tool.aws.session import AwsSettings
from ds3tool.sinks.s3 import S3Sink
from tests.sinks.s3_ends import data_of
from tests.sinks.test_s3_sink import LARGE, begin
sink = S3Sink(AwsSettings(endpoint=sys.argv[1]), sys.argv[2], token="work", state=Path(sys.argv[3]))
begin(sink, data_of(LARGE))
print("begun", flush=True)
sys.stdin.read()
"""


def test_after_kill_9_the_next_run_aborts_what_was_left(opened: Open, seaweed: FarSide, tmp_path: Path) -> None:
    """An upload of a process that was killed is found and aborted by the same work's next run."""
    bucket, data = seaweed.bucket(), data_of(LARGE)
    process = subprocess.Popen(
        [sys.executable, "-c", _DIES, seaweed.endpoint, bucket, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **seaweed.environ},
        cwd=Path(__file__).parents[2],
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        while not any(one.upload_id for one in uploads_left(tmp_path, "work")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert seaweed.uploads(bucket) == ["film"]
    sink = opened(seaweed, bucket, token="work", state=tmp_path)
    store(sink, "other", b"1")
    assert sink.sweep([]) in {0, 1}
    assert seaweed.uploads(bucket) == []
    store(sink, "film", data)
    sink.close()
    assert seaweed.contents(bucket) == {"film": data, "other": b"1"}
    assert not list((tmp_path / "uploads").iterdir())


def test_an_upload_that_was_begun_twice_leaves_nothing(opened: Open, seaweed: FarSide, tmp_path: Path) -> None:
    """Where S3's answer to the beginning of an upload is lost, and it is asked again, the first one is aborted too."""
    bucket, data = seaweed.bucket(), data_of(LARGE)
    sink = opened(seaweed, bucket, token="work", state=tmp_path)
    sink._shipping.requests.client.meta.events.register_first(
        "needs-retry.s3.CreateMultipartUpload", lambda attempts, **_: 0 if attempts == 1 else None
    )
    store(sink, "film", data)
    sink.close()
    assert seaweed.contents(bucket) == {"film": data}
    assert seaweed.uploads(bucket) == []
    assert uploads_left(tmp_path, "work") == []


def test_what_an_earlier_run_began_is_looked_for_before_anything_is_begun(
    opened: Open, seaweed: FarSide, tmp_path: Path
) -> None:
    """A new upload, without a part so far, is not taken for one of which a killed run never learned the id."""
    bucket, data = seaweed.bucket(), data_of(LARGE)
    record = UploadRecord(AwsSettings(endpoint=seaweed.endpoint), bucket, state=tmp_path, token="work")
    record.begins("film")
    record.close()
    seaweed.client().create_multipart_upload(Bucket=bucket, Key="film")
    sink, done = opened(seaweed, bucket, token="work", state=tmp_path), []
    events = sink._shipping.requests.client.meta.events
    events.register("after-call.s3.AbortMultipartUpload", lambda **_: done.append("aborted"))
    events.register("before-call.s3.CreateMultipartUpload", lambda **_: done.append("begun"))
    store(sink, "film", data)
    sink.close()
    assert done == ["aborted", "begun"]
    assert seaweed.contents(bucket) == {"film": data}
    assert seaweed.uploads(bucket) == []


def test_why_an_upload_cannot_be_begun_is_told_for_each_part(opened: Open, moto: FarSide) -> None:
    """Of parts that wait for the same upload to begin, none says less of why it was not: a stop stays one."""
    sink = opened(moto, moto.bucket())
    landing = sink._landing(TargetObject("film", LARGE, "film"))
    failure, asked = FarSideUnreachableError("nobody answers"), []

    def create(*_: object) -> NoReturn:
        asked.append(1)
        raise failure

    sink._shipping.requests.create = create  # type: ignore[method-assign,assignment]  # as of an S3 out of reach
    for _ in range(2):
        with pytest.raises(FarSideUnreachableError):
            landing._upload_id()
    assert len(asked) == 1


def test_unknown_credentials_are_told_before_the_object_ends(opened: Open, seaweed: FarSide) -> None:
    """When S3 does not know who asks, whoever settles hears of it while blobs are still to come."""
    sink = opened(replace(seaweed, secret_key="wrong"), seaweed.bucket())
    with contextlib.suppress(FarSideDeniedError):  # so soon as that
        begin(sink, data_of(LARGE))
    settled: list[tuple[TargetObject, Ds3Error | None]] = []
    while not settled:
        time.sleep(0.01)
        settled = sink.settle(wait=False)
    assert isinstance(settled[0][1], FarSideDeniedError)
    with pytest.raises(FarSideDeniedError):
        begin(sink, data_of(LARGE))


def test_a_service_out_of_reach_is_told(opened: Open, seaweed: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, the object that was to appear is told of with just that, and closing takes no long time."""
    monkeypatch.setattr("ds3tool.aws.session._TRIES", 1)
    sink = opened(replace(seaweed, endpoint="http://127.0.0.1:9"), "any")
    item = TargetObject("film", 3, "film")
    give(sink, item, b"123", ByteRange(0, 3))
    assert isinstance(failure_of(sink, item), FarSideUnreachableError)


def test_s3_out_of_reach_is_not_taken_for_the_appliance(
    opened: Open, seaweed: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob whose parts find nobody ends as stopped, so that it is not asked for again and again."""
    monkeypatch.setattr("ds3tool.aws.session._TRIES", 1)
    sink = opened(replace(seaweed, endpoint="http://127.0.0.1:9"), "any")
    with contextlib.suppress(InterruptedRunError):
        begin(sink, data_of(LARGE))
    settled: list[tuple[TargetObject, Ds3Error | None]] = []
    while not settled:
        time.sleep(0.01)
        settled = sink.settle(wait=False)
    assert isinstance(settled[0][1], FarSideUnreachableError)
    with pytest.raises(InterruptedRunError):
        begin(sink, data_of(LARGE))


def test_a_bucket_that_is_not_there_fails_objects_by_name(opened: Open, far: FarSide) -> None:
    """What concerns the bucket alone is a failure of each object, which names the bucket."""
    sink = opened(far, "no-such-bucket-here")
    item = TargetObject("film", 3, "film")
    give(sink, item, b"123", ByteRange(0, 3))
    error = failure_of(sink, item)
    assert isinstance(error, SinkError)
    assert "film cannot be written: s3://no-such-bucket-here/film" in error.message
