"""Objects of S3 as a source: what is listed, what its bytes are, and what becomes of it when S3 changes or fails."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    InterruptedRunError,
    SourceError,
    UsageError,
)
from ds3tool.filters import Filter, NamePattern
from ds3tool.jobs.distant_ends import DistantObject, StatedObject
from ds3tool.protocol.model import ChecksumType, ObjectHead
from ds3tool.renaming import Renaming
from ds3tool.sources.s3 import Pin, S3Source
from ds3tool.sources.s3_opened import OpenS3
from ds3tool.sources.s3_vouched import Check
from tests.far.servers import FarSide
from tests.jobs.doubles import SwiftClock
from tests.jobs.rooms import Meddler
from tests.sources.s3_double import MOMENT, Raw, S3Double, Stored, refusal

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 3  # 3 MiB


def source_of(s3: S3Double, **options: Any) -> S3Source:  # noqa: ANN401  # as those of an S3Source
    given = {"base": "", "prefix": "", "connect": lambda: s3, "clock": SwiftClock(), **options}
    return S3Source(AwsSettings(), "b", **given)


def keys(source: S3Source) -> list[str]:
    return [item.key for item in source.objects()]


def failed(source: S3Source) -> dict[str, str]:
    return {failure.name: failure.error.message for failure in source.failures}


def opened(s3: S3Double, key: str = "k") -> OpenS3:
    source = source_of(s3)
    (item,) = (item for item in source.objects() if item.key == key)
    return source.open(item)


def all_of(one: OpenS3, size: int = len(DATA)) -> bytes:
    return b"".join(one.blocks(0, size))


# -- what there is ------------------------------------------------------------------------------------------------


def test_keys_lose_the_base_and_gain_the_prefix() -> None:
    """Only what is below the base is put, under the prefix and the rest of its key, renamed; in S3's order."""
    s3 = S3Double({"logs/a": b"1", "logs/b/c": b"22", "other": b"", "logs": b"x"})
    source = source_of(s3, base="logs/", prefix="in/", names=Renaming(names={"b/": "B/"}))
    assert [(item.key, item.size) for item in source.objects()] == [("in/a", 1), ("in/B/c", 2)]
    first = next(iter(source.objects()))
    assert source.place(first.name) == "s3://b/logs/a"
    assert first.modified_ns == int(MOMENT.timestamp()) * 1_000_000_000
    assert (source.distant, source.sequential) == (True, False)


def test_one_object_has_the_key_that_is_given() -> None:
    """With `whole` the base is one key; what is not there is an error, not an empty listing."""
    s3 = S3Double({"logs/a": b"1", "logs/ab": b"2"})
    assert keys(source_of(s3, base="logs/a", prefix="film.mov", whole=True)) == ["film.mov"]
    with pytest.raises(FarSideNotFoundError):
        keys(source_of(s3, base="logs/x", prefix="film.mov", whole=True))


def test_filters_are_those_of_files() -> None:
    """Names below the base, sizes, times, a pattern of the address and whatever the caller chooses."""
    s3 = S3Double({"logs/a.gz": b"1", "logs/b.gz": b"1234", "logs/c.txt": b"1", "logs/d.gz": b"12"})
    wanted = Filter(NamePattern(["*.gz"]), NamePattern(["/a.gz"]), max_size=3)
    assert keys(source_of(s3, base="logs/", wanted=wanted)) == ["d.gz"]
    assert keys(source_of(s3, base="logs/", wanted=Filter(older_ns=1))) == []
    assert keys(source_of(s3, matches=lambda key: key == "logs/c.txt")) == ["logs/c.txt"]
    assert keys(source_of(s3, base="logs/", chosen=lambda one: one.key.endswith("b.gz"))) == ["b.gz"]
    assert keys(source_of(s3, base="logs/", within="logs/c")) == ["c.txt"]


def test_folder_markers_are_folder_objects() -> None:
    """A key that ends in a slash is a folder when it has no bytes, and fails by name when it has some."""
    s3 = S3Double({"logs/": b"", "logs/empty/": b"", "logs/odd/": b"x", "logs/x": b""})
    source = source_of(s3, base="logs/", prefix="in/")
    assert keys(source) == ["in/", "in/empty/", "in/x"]
    assert list(failed(source)) == ["in/odd/"]
    assert keys(source_of(s3, base="logs/")) == ["empty/", "x"]  # nothing can be called nothing


def test_keys_that_no_request_can_carry_fail_by_name() -> None:
    """What XML cannot carry is refused by its address, and the others go on."""
    s3 = S3Double({"bad\x01key": b"1", "good": b"2"})
    source = source_of(s3, prefix="in/")
    assert keys(source) == ["in/good"]
    assert list(failed(source)) == [ascii("s3://b/bad\x01key")]
    with pytest.raises(UsageError):
        source_of(s3, prefix="\x02")


def test_a_list_says_what_is_put_and_in_which_order() -> None:
    """Names of a list are asked for one by one, prefixes are walked, nothing comes twice, what is missing is named."""
    s3 = S3Double({f"logs/{name}": b"1" for name in ("a", "b", "day/1", "day/2", "z")})
    names = [b"z", b"day/2", b"nope", b"day/", b"a", b"z", b"day/1", b"none/", b"\xff"]
    source = source_of(s3, base="logs/", prefix="in/", listed=iter(names))
    for _ in range(2):
        assert keys(source) == ["in/z", "in/day/2", "in/day/1", "in/a"]
        assert set(failed(source)) == {"in/nope", "in/none/", ascii(b"\xff")}


def test_a_pin_is_kept_by_a_journal() -> None:
    """What names an object, ETag and version and key, is the same again after its bytes were stored."""
    for pin in (Pin("a/ü\0b", "etag"), Pin("k", "", "v1"), Pin("k", "e", "v\n2"), Pin("k", "e", archived="GLACIER")):
        assert Pin.of(pin.to_name()) == pin


# -- archived objects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_objects_are_named_with_what_to_do(moto: FarSide, storage_class: str) -> None:
    """An object in Glacier is listed, and told with the way out; once it is restored it is put like any other."""
    bucket, client = moto.bucket({"a": b"1"}), moto.client()
    client.put_object(Bucket=bucket, Key="cold", Body=b"22", StorageClass=storage_class)
    client.put_object(Bucket=bucket, Key="cool", Body=b"333", StorageClass="GLACIER_IR")
    source = S3Source(AwsSettings(), bucket, base="", prefix="", connect=moto.client)
    listed = {item.key: item for item in source.objects()}
    failures = {key: source.unreadable(item) for key, item in listed.items()}
    assert (failures["a"], failures["cool"]) == (None, None)
    failure = failures["cold"]
    assert failure is not None
    assert failure.hint == "restore it first, or use --restore-tier standard"
    assert storage_class in failure.message
    client.restore_object(Bucket=bucket, Key="cold", RestoreRequest={"Days": 1})
    assert source.unreadable(listed["cold"]) is None
    (item,) = (item for item in source.objects() if item.key == "cold")
    assert source.unreadable(item) is None
    one = source.open(item)
    assert all_of(one, 2) == b"22"
    assert one.metadata()["ds3tool-storage-class"] == storage_class


def test_an_object_that_is_being_restored_says_so() -> None:
    """Restoring that goes on is no reason to ask for it again."""
    s3 = S3Double({"cold": Stored(b"1", {"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'})})
    source = source_of(s3)
    (item,) = source.objects()
    assert "being restored" in str(source.unreadable(item))


def test_an_object_that_was_archived_meanwhile_fails_by_name() -> None:
    """S3's refusal at reading is told with the way out as well."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    s3.before = _refuse("get_object", refusal("InvalidObjectState", 403))
    with pytest.raises(SourceError, match="not restored") as failure:
        all_of(one)
    assert "--restore-tier" in (failure.value.hint or "")


def _refuse(name: str, error: Exception) -> Callable[[str, dict[str, Any]], None]:
    def refuse(called: str, _: dict[str, Any]) -> None:
        if called == name:
            raise error

    return refuse


# -- bytes --------------------------------------------------------------------------------------------------------


def test_a_whole_object_takes_one_request() -> None:
    """Bytes, what is stored with them and what they are held against all come from one GET."""
    s3 = S3Double({"k": Stored(DATA, {"ContentType": "text/csv", "Metadata": {"Camera": "7"}}, {})})
    one = opened(s3)
    s3.asked.clear()
    assert all_of(one) == DATA
    metadata = dict(one.metadata())
    assert metadata.pop("ds3tool-last-modified") == "2024-02-03T04:05:06+00:00"
    assert len(metadata.pop("ds3tool-etag")) == 32
    assert metadata == {"ds3tool-content-type": "text/csv", "camera": "7"}
    one.forget(moved=True)
    assert s3.names() == ["get_object"]
    assert "Range" not in s3.asked[0][1]
    assert isinstance(one, DistantObject)
    assert isinstance(one, StatedObject)


def test_tags_are_asked_for_where_there_are_some() -> None:
    """They are stored; where they may not be read, a note says of what."""
    s3 = S3Double({"k": Stored(b"1", {}, {"team": "a&b"})})
    source = source_of(s3)
    one = source.open(next(iter(source.objects())))
    assert all_of(one, 1) == b"1"
    assert one.metadata()["ds3tool-tags"] == "team=a%26b"
    one.forget(moved=True)
    s3.before = _refuse("get_object_tagging", refusal("AccessDenied", 403))
    assert all_of(one, 1) == b"1"
    assert "ds3tool-tags" not in one.metadata()
    one.forget(moved=True)
    assert source.notes == ["the tags of 1 object (k) are not stored: S3 does not let them be read"]


def test_what_does_not_fit_into_headers_is_told_by_name() -> None:
    """User metadata that is too large is left out and named, of each object; of very many, how many they are."""
    kept = {"big": "é" * 2000, "small": "1"}
    s3 = S3Double({f"{number:02}": Stored(b"1", {"Metadata": kept, "MissingMeta": 1}) for number in range(22)})
    source = source_of(s3)
    for item in source.objects():
        one = source.open(item)
        list(one.blocks(0, 1))
        assert one.metadata()["small"] == "1"
        assert "big" not in one.metadata()
        one.forget(moved=True)
    *single, rest = source.notes
    first = "00: not stored with it, for want of room in a header: big, what no header can carry"
    assert (len(single), single[0]) == (20, first)
    assert "2 objects (20, 21)" in rest


def test_ranges_take_a_request_each_and_one_head() -> None:
    """Blobs of one object are read in any order; together they are held against what S3 states of the whole."""
    s3 = S3Double({"k": DATA})
    source = source_of(s3)
    item = next(iter(source.objects()))
    s3.asked.clear()
    for offset, length in ((2 * MIB, MIB), (0, 5), (5, 2 * MIB - 5)):
        one = source.open(item)
        assert b"".join(one.blocks(offset, length)) == DATA[offset : offset + length]
        one.close()
    source.open(item).forget(moved=True)
    assert s3.names() == ["head_object", "get_object", "get_object", "get_object"]
    assert source.notes == []
    assert all(raw.closed for raw in s3.raws)


def test_blobs_are_read_by_several_threads_at_once() -> None:
    """Each thread's range is its own, and all of them together are compared."""
    s3 = S3Double({"k": DATA})
    source = source_of(s3)
    item = next(iter(source.objects()))
    found: dict[int, bytes] = {}

    def read(offset: int) -> None:
        found[offset] = b"".join(source.open(item).blocks(offset, MIB // 4))

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(0, len(DATA), MIB // 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[offset] for offset in sorted(found)) == DATA
    source.open(item).forget(moved=True)
    assert source.notes == []


def test_bytes_in_a_row_come_from_one_request() -> None:
    """Whoever reads piece after piece costs two requests, whatever the number of pieces; going back costs another."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    s3.asked.clear()
    assert b"".join(one.read(at, 10_000) for at in range(0, 1_000_000, 10_000)) == DATA[:1_000_000]
    assert len(s3.asked) == 2
    assert one.read(7, 3) == DATA[7:10]
    assert one.read(10, 0) == b""
    one.close()
    assert all(raw.closed for raw in s3.raws)


def test_a_read_behind_the_end_fails() -> None:
    """More bytes than there are is no short answer."""
    s3 = S3Double({"k": b"12345"})
    with pytest.raises(SourceError):
        opened(s3).read(3, 10)


# -- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks", [True, False])
def test_a_body_that_breaks_off_goes_on_where_it_was(breaks: bool) -> None:
    """By an error or by a short answer: the rest is asked for, of the same ETag, and all bytes come once."""
    s3 = S3Double({"k": DATA})
    stops = iter([1_500_000, 0, 700_000])
    s3.spoil = lambda _, data: Raw(data, next(stops, None), breaks=breaks)
    one = opened(s3)
    assert all_of(one) == DATA
    gets = [asked for name, asked in s3.asked if name == "get_object"]
    assert [asked.get("Range") for asked in gets] == [
        None,
        "bytes=1500000-3145727",
        "bytes=1500000-3145727",
        "bytes=2200000-3145727",
    ]
    assert len({asked["IfMatch"] for asked in gets}) == 1


def test_a_body_that_never_goes_on_is_given_up() -> None:
    """Four tries without a byte end it, by an error that names the object; nothing short is passed on as whole."""
    s3 = S3Double({"k": DATA})
    s3.spoil = lambda asked, data: Raw(data, 0 if "Range" in asked else MIB)
    with pytest.raises(FarSideUnreachableError, match="s3://b/k"):
        all_of(opened(s3))
    assert s3.names().count("get_object") == 5


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s3: s3.objects.update(k=Stored(DATA[::-1])), "has changed"),
        (lambda s3: s3.objects.pop("k"), "is not there any more"),
    ],
)
@pytest.mark.parametrize("read", ["whole", "range", "go on"])
def test_an_object_that_is_another_by_now_fails_by_name(
    change: Callable[[S3Double], object], what: str, read: str
) -> None:
    """Replaced or deleted since it was listed, or in the middle of its reading: no byte of another one comes."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    came: list[bytes] = []
    if read == "go on":

        def spoil(_: dict[str, Any], data: bytes) -> Raw:
            change(s3)
            return Raw(data, MIB)

        s3.spoil = spoil
    else:
        change(s3)
    with pytest.raises(SourceError, match=what):
        came.extend(one.blocks(0, MIB if read == "range" else len(DATA)))
    assert b"".join(came) == DATA[: sum(map(len, came))]


@pytest.mark.parametrize(
    "change",
    [
        lambda reply: {**reply, "ContentLength": reply["ContentLength"] - 1},
        lambda reply: {**reply, "ContentRange": "bytes 1-1048576/3145728"},
        lambda reply: {**reply, "ContentRange": "bytes 0-1048575/9"},
        lambda reply: {**reply, "ResponseMetadata": {"HTTPStatusCode": 200}},
        lambda reply: {**reply, "ETag": '"another"'},
    ],
)
def test_an_answer_to_another_question_is_refused(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Another length, another range, the whole instead of a range, another object: none of its bytes is taken."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    one.metadata()
    s3.change = change
    with pytest.raises(SourceError, match="s3://b/k"):
        next(iter(one.blocks(0, MIB)))
    assert [raw.closed for raw in s3.raws] == [True]


@pytest.mark.parametrize("cut", [[(0, len(DATA))], [(0, MIB), (MIB, 2 * MIB)], [(MIB, 2 * MIB), (0, MIB)]])
def test_bytes_that_s3_does_not_vouch_for_are_never_whole(cut: list[tuple[int, int]]) -> None:
    """A bit that flips on the way is found before the last block of the last range has been passed on."""
    s3 = S3Double({"k": DATA})
    s3.spoil = lambda _, data: Raw(bytes([data[0] ^ 1]) + data[1:])
    source = source_of(s3)
    item = next(iter(source.objects()))
    came: list[bytes] = []
    with pytest.raises(SourceError, match="other bytes than it states"):
        came.extend(block for offset, length in cut for block in source.open(item).blocks(offset, length))
    assert sum(map(len, came)) < len(DATA)


def test_what_nobody_vouches_for_is_told() -> None:
    """An object of several blobs of which S3 states an MD5 alone is put, and a note counts it."""
    s3 = S3Double({"k": Stored(DATA, {"ChecksumCRC32": None}), "one": Stored(b"1", {"ChecksumCRC32": None})})
    source = source_of(s3)
    for item in source.objects():
        half = item.size // 2
        for offset, length in [(0, half), (half, item.size - half)] if half else [(0, item.size)]:
            list(source.open(item).blocks(offset, length))
        source.open(item).forget(moved=True)
    assert [note[:26] for note in source.notes] == ["1 object (k): S3 states no"]


def test_parts_vouch_for_an_object_that_was_uploaded_in_parts(seaweed: FarSide) -> None:
    """A multipart upload of a real service, read in ranges that cut its parts, is held against its parts' digests."""
    import io

    from boto3.s3.transfer import TransferConfig

    data = os.urandom(11 * MIB)
    bucket, client = seaweed.bucket(), seaweed.client()
    config = TransferConfig(multipart_threshold=MIB, multipart_chunksize=5 * MIB)
    client.upload_fileobj(io.BytesIO(data), bucket, "k", Config=config)
    source = S3Source(AwsSettings(), bucket, base="", prefix="", connect=seaweed.client)
    item = next(iter(source.objects()))
    assert Pin.of(item.name).etag.endswith("-3")
    for offset, length in ((7 * MIB, 4 * MIB), (0, 7 * MIB)):
        assert b"".join(source.open(item).blocks(offset, length)) == data[offset : offset + length]
    source.open(item).forget(moved=True)
    assert source.notes == []


@pytest.mark.parametrize("even", [True, False])
def test_parts_of_several_sizes_are_no_damage(seaweed: FarSide, *, even: bool) -> None:
    """An object is put with a note where its parts lie elsewhere than their number and the first let one think."""
    data, cuts = os.urandom(17 * MIB), (0, 6 * MIB, (12 if even else 11) * MIB, 17 * MIB)
    bucket, client = seaweed.bucket(), seaweed.client()
    upload = {"Bucket": bucket, "Key": "k"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**upload, PartNumber=number, Body=data[start:end])["ETag"],
        }
        for number, (start, end) in enumerate(itertools.pairwise(cuts), start=1)
    ]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    source = S3Source(AwsSettings(), bucket, base="", prefix="", connect=seaweed.client)
    one = source.open(next(iter(source.objects())))
    assert all_of(one, len(data)) == data
    one.forget(moved=True)
    assert [note.partition(":")[0] for note in source.notes] == ([] if even else ["1 object (k)"])
    assert one._is_cut(Check("MD5", b"", 6 * MIB, of_parts=True), len(parts)) is even


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("ExpiredToken", 400), FarSideDeniedError),
        (refusal("InvalidAccessKeyId", 403), FarSideDeniedError),
        (refusal("AccessDenied", 403), SourceError),
        (refusal("NoSuchBucket", 404), SourceError),
        (refusal("SlowDown", 503), FarSideUnreachableError),
        (refusal("InternalError", 500), FarSideUnreachableError),
        (refusal("Whatever", 400), SourceError),
    ],
)
@pytest.mark.parametrize("by", ["get_object", "head_object"])
def test_a_refusal_is_that_of_the_object_or_of_the_run(error: Exception, kind: type[Ds3Error], by: str) -> None:
    """Who is not known, and who is not answered, ends the run; anything else is the failure of the one object."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)

    def refuse(name: str, _: dict[str, Any]) -> None:
        if name == by:
            raise error if by == "get_object" else refusal("400", 400)
        if by == "head_object" and name == "get_object":
            raise error

    s3.before = refuse
    with pytest.raises(kind, match="s3://b/k") as failure:
        one.metadata() if by == "head_object" else all_of(one)
    assert type(failure.value) is kind


def test_a_request_that_nobody_answers_is_made_again() -> None:
    """Two refusals for being busy, then an answer: the reading goes on as if nothing had been."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    refusals = iter([refusal("SlowDown", 503), refusal("InternalError", 500)])

    def refuse(_: str, __: dict[str, Any]) -> None:
        error = next(refusals, None)
        if error is not None:
            raise error

    s3.before = refuse
    assert all_of(one) == DATA


@pytest.mark.parametrize(("offset", "length"), [(0, 3 * MIB), (MIB, MIB)])
def test_bytes_of_nobody_knows_what_are_not_taken(offset: int, length: int) -> None:
    """An answer that does not say which object it is of, in all else as it should be, is asked for again."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    unnamed = 2

    def change(reply: dict[str, Any]) -> dict[str, Any]:
        nonlocal unnamed
        unnamed -= 1
        if unnamed < 0:
            return reply
        body = {"Body": Raw(reply["Body"].read(length)[::-1])} if "Body" in reply else {}
        return {name: value for name, value in reply.items() if name not in {"ETag", "ChecksumCRC32"}} | body

    s3.change = change
    assert b"".join(one.blocks(offset, length)) == DATA[offset : offset + length]
    unnamed = 1000
    with pytest.raises(FarSideUnreachableError, match="none of the service's"):
        next(iter(one.blocks(offset, length)))


def test_tags_that_are_counted_and_not_given_are_told() -> None:
    """Where S3 says that there are tags, and names none, a note says that they are not stored."""
    s3 = S3Double({"k": Stored(b"1", {"TagCount": 2})})
    source = source_of(s3)
    one = source.open(next(iter(source.objects())))
    assert all_of(one, 1) == b"1"
    one.forget(moved=True)
    assert source.notes == ["the tags of 1 object (k) are not stored: S3 does not let them be read"]


def test_a_reading_that_waits_ends_when_it_is_to() -> None:
    """From another thread a reading is ended that S3 sends nothing for, and no other is begun."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    s3.spoil = lambda _, data: Raw(data, MIB, waits=True)
    ended: list[BaseException] = []

    def read() -> None:
        try:
            all_of(one)
        except Ds3Error as error:
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    while not s3.raws:
        thread.join(0.01)
        assert thread.is_alive()
    assert s3.raws[0].waiting.wait(60)
    one.abort()
    thread.join(60)
    assert isinstance(ended[0], InterruptedRunError)
    with pytest.raises(InterruptedRunError):
        one.read(0, 1)


def test_a_reading_of_a_real_connection_ends_when_it_is_to(seaweed: FarSide) -> None:
    """A service that stops sending in the middle of a body keeps nobody waiting."""
    hangs, over = threading.Event(), threading.Event()

    def hang(data: bytes) -> bytes:
        if not data.startswith(b"HTTP/1."):  # the reply's head has passed, and some of its body
            hangs.set()
            assert over.wait(60)
        return data

    bucket = seaweed.bucket({"k": DATA})
    port = int(seaweed.endpoint.rpartition(":")[2])
    meddler = Meddler(SimpleNamespace(port=port))  # type: ignore[arg-type]  # a port is all that it takes
    try:
        there = replace(seaweed, endpoint=meddler.endpoint)
        source = S3Source(AwsSettings(), bucket, base="", prefix="", connect=there.client)
        one = source.open(next(iter(source.objects())))
        meddler.to_client = hang
        ended: list[BaseException] = []

        def read() -> None:
            try:
                all_of(one)
            except Ds3Error as error:
                ended.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        assert hangs.wait(60)
        while thread.is_alive():
            one.abort()  # the first may come before what has passed was read
            thread.join(0.05)
        assert isinstance(ended[0], InterruptedRunError)
    finally:
        over.set()
        meddler.close()


# -- the same or not ----------------------------------------------------------------------------------------------


def head_of(
    size: int,
    *,
    etag: str | None = None,
    metadata: Mapping[str, str] | None = None,
    kind: ChecksumType | None = None,
    checksums: Mapping[int, str] | None = None,
) -> ObjectHead:
    return ObjectHead("k", size, etag, datetime(2026, 1, 1, tzinfo=UTC), None, kind, checksums or {}, metadata or {})


def test_what_was_put_from_the_very_object_is_known_without_a_byte() -> None:
    """The ETag that was stored, or the MD5 that the appliance lists, tells that it is the same."""
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    etag = one.metadata()["ds3tool-etag"]
    s3.asked.clear()
    assert one.is_same(head_of(len(DATA), metadata={"ds3tool-etag": etag})) is True
    assert one.is_same(head_of(len(DATA) - 1, metadata={"ds3tool-etag": etag})) is False
    assert one.has_etag(etag.upper())
    assert not one.has_etag("0" * 32)
    assert s3.asked == []


def test_digests_of_the_same_type_tell_and_nothing_else_does() -> None:
    """A CRC of the blobs is compared with S3's; an ETag of another object makes what is not known another one."""
    import base64
    import zlib

    crc = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
    s3 = S3Double({"k": DATA})
    one = opened(s3)
    right = head_of(len(DATA), kind=ChecksumType.CRC_32, checksums={0: crc})
    assert one.is_same(right) is True
    assert one.is_same(replace(right, metadata={"ds3tool-etag": "another"})) is True
    assert one.is_same(replace(right, checksums={0: "AAAAAA=="})) is False
    unknown = head_of(len(DATA), kind=ChecksumType.SHA_512, checksums={0: "x"})
    assert one.is_same(unknown) is None
    assert one.is_same(replace(unknown, metadata={"ds3tool-etag": "another"})) is False
    assert "get_object" not in s3.names()


# -- real services ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["seaweed", "moto"])
def test_a_real_service_gives_what_was_put(name: str, request: pytest.FixtureRequest) -> None:
    """Bytes and all that S3 keeps with them, through the settings as a user has them, from either server."""
    far: FarSide = request.getfixturevalue(name)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for variable, value in far.environ.items():
        monkeypatch.setenv(variable, value)
    bucket, client = far.bucket(), far.client()
    client.put_object(
        Bucket=bucket,
        Key="in/ü +%&=.txt",
        Body=DATA,
        ContentType="text/csv",
        ContentLanguage="de",
        ContentDisposition="inline",
        CacheControl="no-store",
        Metadata={"Camera": "7"},
        Tagging="team=a%3Db&x=",
    )
    source = S3Source(AwsSettings(), bucket, base="in/", prefix="out/")
    (item,) = source.objects()
    assert item.key == "out/ü +%&=.txt"
    for ranges in ([(0, len(DATA))], [(MIB, 2 * MIB), (0, MIB)]):
        one = source.open(item)
        got = {offset: b"".join(one.blocks(offset, length)) for offset, length in ranges}
        assert b"".join(got[offset] for offset in sorted(got)) == DATA
        metadata = one.metadata()
        expected = {
            "ds3tool-content-type": "text/csv",
            "ds3tool-content-disposition": "inline",
            "ds3tool-cache-control": "no-store",
            "ds3tool-tags": "team=a%3Db&x=",
            "camera": "7",
        }
        assert {key: metadata.get(key) for key in expected} == expected
        one.forget(moved=True)
    client.put_object(Bucket=bucket, Key="in/ü +%&=.txt", Body=DATA[::-1])
    with pytest.raises(SourceError, match="has changed"):
        source.open(item).read(0, 5)
    assert source.notes == []
