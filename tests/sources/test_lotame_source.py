"""Lotame's feeds as a source: what a destination lacks, opened by its name alone, and never half of a gzip stream."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import LockedError, SourceError, UsageError
from ds3tool.jobs.distant_ends import DistantObject
from ds3tool.jobs.ends import SourceObject
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.model import FeedUpdates, S3Location, Updates
from ds3tool.lotame.settings import find_settings
from ds3tool.lotame.watermark import Watermarks
from ds3tool.simulator.lotame.service import SimulatedFeed
from ds3tool.sources.lotame import LotamePlace, LotameSource
from ds3tool.sources.lotame_names import FeedPin, answer_name, is_answer
from tests.cli.lotame_box import FEED, Box, box

MIB = 1 << 20
Make = Callable[..., LotameSource]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Box]:
    """One feed with the files that a test adds."""
    with box(tmp_path) as one:
        yield one


@pytest.fixture
def make() -> Iterator[Make]:
    """Give a function that makes a source of a simulation; each is closed at the end."""
    made: list[LotameSource] = []

    def source(lotame: Box, *, feed: int | None = None, noting: bool = True) -> LotameSource:
        environ = {**lotame.lotame.environ, "HOME": str(lotame.folder)}
        place = LotamePlace(
            lambda stopped: LotameClient(find_settings(environ=environ), stopped=stopped),
            lambda: Watermarks.open(lotame.folder / "state", "ds3://archive/lotame/"),
            AwsSettings(None, lotame.lotame.s3_endpoint, "us-east-1"),
        )
        made.append(LotameSource(place, feed=feed, prefix="lotame/", noting=noting))
        return made[-1]

    yield source
    for each in made:
        each.close()


def blocks(source: LotameSource, item: SourceObject, *, blob: int | None = None) -> bytes:
    """Return an object's bytes as they are put, in blobs of that size."""
    opened = source.open(item)
    assert isinstance(opened, DistantObject)
    size = blob or max(item.size, 1)
    try:
        return b"".join(
            b"".join(opened.blocks(start, min(size, item.size - start))) for start in range(0, item.size, size)
        )
    finally:
        opened.close()


def test_a_destination_gets_what_it_lacks(tmp_path: Path, make: Make) -> None:
    """All files of all feeds come, each with its size and key; then each feed's mapping file and answer."""
    feeds = (
        SimulatedFeed(9001, files_per_hour=2),
        SimulatedFeed(9002, "3pd", "mobile", mapping="http", files_per_hour=1),
        SimulatedFeed(9003, empty=True),
    )
    with box(tmp_path, *feeds) as usual:
        source = make(usual)
        found = list(source.objects())
        kinds = [one.key.split("/")[2] + "/" + one.key.split("/")[3].partition("=")[0] for one in found]
        assert kinds == [
            "feed=9001/region",
            "feed=9001/region",
            "feed=9001/mapping",
            "feed=9001/updates",
            "feed=9002/region",
            "feed=9002/mapping",
            "feed=9002/updates",
        ]
        assert all(one.key.startswith("lotame/client=4321/") for one in found)
        assert [one.key.rpartition("/")[2] for one in found[:2]] == usual.names(9001)
        for item, name in zip(found, usual.names(9001), strict=False):
            assert item.size == len(usual.data(name, 9001))
            assert blocks(source, item) == usual.data(name, 9001)
        assert gzip.decompress(blocks(source, found[5])).startswith(b'{"behavior_id"')
        assert source.failures == []


def test_a_name_is_enough_to_open_an_object(bare: Box, make: Make) -> None:
    """A later process reads the very same bytes, with credentials that it asks for; the answer is in its name."""
    bare.add("one.gz", gzip.compress(b"one"))
    first = make(bare)
    file, answer = first.objects()
    first.close()
    later = make(bare)
    assert blocks(later, file) == bare.data("one.gz")
    assert later.place(file.name).endswith("/na/cookie/one.gz")
    opened = later.open(answer)
    record = opened.read(0, answer.size)
    assert b'"one.gz"' in record
    assert b"s3creds" not in record
    assert len(record) == answer.size


def test_names_that_are_none_are_refused(bare: Box, make: Make) -> None:
    """A journal's name that is damaged is a SourceError by name, and nothing else."""
    source = make(bare)
    for name in (b"", b"[1]\0", answer_name(b"x")[:-3], answer_name(b"xyz") + b"\xff"):
        with pytest.raises(SourceError):
            source.open(SourceObject("k", 1, 0, name))
    assert is_answer(answer_name(b""))


def test_what_is_gone_is_a_failure_by_name(bare: Box, make: Make) -> None:
    """A file that is listed and not in S3 is a failure that names feed and file; the others are there."""
    for name in ("one.gz", "two.gz"):
        bare.add(name, gzip.compress(b"x"))
    bare.lotame.remove(FEED, "one.gz")
    source = make(bare)
    assert [one.key.rpartition("/")[2] for one in source.objects()][:1] == ["two.gz"]
    (failure,) = source.failures
    assert "feed 9001: one.gz is listed by Lotame and is not there" in failure.error.message
    assert failure.name.endswith("/na/cookie/one.gz")


def test_what_is_left_of_a_feed_that_is_withdrawn_is_a_failure_in_each_run(bare: Box, make: Make) -> None:
    """A file that could not be had is told of by name also once Lotame does not list its feed any more."""
    with Watermarks.open(bare.folder / "state", "ds3://archive/lotame/") as marks:
        now = datetime.now(UTC)
        marks.asked(Updates((FeedUpdates(77, S3Location("b"), ("left.gz",)),), None, now, b"{}"))
    for _ in range(2):
        source = make(bare)
        assert list(source.objects()) == []
        assert [(one.name, one.error.exit_code) for one in source.failures] == [("left.gz", 3)]
        assert "Lotame does not list the feed any more" in source.failures[0].error.message
        source.close()


@pytest.mark.parametrize("blob", [None, MIB])
def test_gzip_that_is_cut_short_is_never_read_to_its_end(bare: Box, make: Make, blob: int | None) -> None:
    """In one blob or in several, an error comes before the last bytes; nothing else of the source suffers."""
    whole = gzip.compress(random.Random(3).randbytes(5 * MIB // 2), compresslevel=0)
    bare.add("whole.gz", whole)
    bare.add("cut.gz", whole[:-5])
    bare.add("plain.json", whole[:-5])
    source = make(bare)
    found = {one.key.rpartition("/")[2]: one for one in source.objects()}
    assert blocks(source, found["whole.gz"], blob=blob) == whole
    assert blocks(source, found["plain.json"], blob=blob) == whole[:-5]
    with pytest.raises(SourceError, match=r"cut\.gz.*is not whole: its gzip stream is cut short"):
        blocks(source, found["cut.gz"], blob=blob)
    opened = source.open(found["cut.gz"])
    assert isinstance(opened, DistantObject)
    come: list[bytes] = []
    with pytest.raises(SourceError):
        come.extend(opened.blocks(0, found["cut.gz"].size))
    assert sum(map(len, come)) < len(whole) - 5
    opened.close()


def test_an_object_that_has_changed_is_not_read(bare: Box, make: Make) -> None:
    """Bytes of another object under a file's name are an error by name, not taken for its own."""
    bare.add("one.gz", gzip.compress(b"one"))
    source = make(bare)
    file, _ = source.objects()
    bare.lotame.replace(FEED, "one.gz", gzip.compress(b"two"))
    with pytest.raises(SourceError, match="has changed since it was listed"):
        blocks(source, file)


def test_credentials_that_are_over_are_renewed_while_files_are_read(bare: Box, make: Make) -> None:
    """When S3 says that credentials are over, amid the reading of files, others are asked for and it goes on."""
    for number in range(3):
        bare.add(f"{number}.gz", gzip.compress(b"%d" % number))
    source = make(bare)
    files = [one for one in source.objects() if not is_answer(one.name)]
    for number, item in enumerate(files):
        bare.lotame.credentials.expire_all()
        assert gzip.decompress(blocks(source, item)) == b"%d" % number


def test_only_one_run_has_a_destination(bare: Box, make: Make) -> None:
    """While a source is open that has asked what is new, another one is refused; closed, it lets the other."""
    first, second = make(bare), make(bare)
    assert list(first.objects()) == []
    with pytest.raises(LockedError):
        list(second.objects())
    first.close()
    assert list(second.objects()) == []


def test_a_dry_run_notes_nothing(bare: Box, make: Make) -> None:
    """What is only to be looked at leaves the watermarks as they were."""
    bare.add("one.gz", gzip.compress(b"one"))
    source = make(bare, noting=False)
    assert len(list(source.objects())) == 2
    source.close()
    with Watermarks.open(bare.folder / "state", "ds3://archive/lotame/") as marks:
        assert marks.feeds() == []


def test_names_of_files_come_back(bare: Box, make: Make) -> None:
    """A name holds feed, bucket, key, ETag and what is remembered, whatever letters are in them."""
    odd = "é\n\"{}'% \u2028.gz"
    bare.add(odd, gzip.compress(b"odd"))
    file, _ = make(bare).objects()
    pin = FeedPin.of(file.name)
    assert (pin.had.feed_id, pin.had.file, pin.had.etag) == (FEED, odd, bare.lotame.stored(FEED, odd).etag)
    assert pin.to_name() == file.name
    assert "%" in file.key


def test_a_prefix_that_no_request_can_carry_is_refused(bare: Box) -> None:
    """A prefix with a control character is an error before anything is asked."""
    place = LotamePlace(lambda _: pytest.fail("asked"), lambda: pytest.fail("asked"), AwsSettings())
    with pytest.raises(UsageError):
        LotameSource(place, feed=None, prefix="a\x01b/")
    assert bare.lotame.asked() == []
