"""The same calls through the vendor's Python SDK and through our client, handed over from it, tell the same facts.

Each case runs against the SDK itself where the distribution `ds3-sdk` is installed (resources/requirements-ds3-sdk.txt
says how), and against its likeness, the requests that it is known to send, everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from ds3tool.client import Ds3Client
from ds3tool.simulator import Appliance
from tests.foreign.conftest import BIG_BOOK, BOOKS
from tests.foreign.python_sdk import PythonSdk
from tests.foreign.sides import DISTRIBUTION, Likeness, Listing, Ours, Side, Vendor, installed
from tests.foreign.vendor_client import Client, Credentials

# The SDK opens a connection for each request and leaves its end to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CONTENTS = {**{f"books/{name}": data for name, data in BOOKS.items()}, "lesmis.txt": BIG_BOOK, "ü b+c%2F;": b"odd"}
# Of letters and digits: beyond those we escape values as the SDKs of Java and .NET do, and the one of Python does not.
TAGS = {"name1": "value1", "name2": "value2"}
_numbers = itertools.count(1)


@pytest.fixture(params=["sdk", "likeness"])
def sides(request: pytest.FixtureRequest, appliance: Appliance) -> Iterator[tuple[Side, Side]]:
    """The other side and ours; ours is made of the other's client object."""
    access, secret = appliance.access_key, appliance.secret_key
    if request.param == "likeness":
        theirs: Side = Likeness(PythonSdk(appliance.endpoint, access, secret))
        given: object = Client(appliance.endpoint, Credentials(access, secret))
    elif installed():
        ds3 = Vendor.module()
        given = ds3.Client(appliance.endpoint, ds3.Credentials(access, secret))
        theirs = Vendor(given, ds3)
    else:
        pytest.skip(f"the distribution {DISTRIBUTION} is not installed: see resources/requirements-ds3-sdk.txt")
    with Ds3Client.from_sdk(given) as client:
        yield theirs, Ours(client)


@pytest.fixture
def bucket() -> str:
    return f"differential-{next(_numbers)}"


def test_each_sees_the_bucket_that_the_other_made(sides: tuple[Side, Side], bucket: str) -> None:
    """And both see the same caller."""
    for number, side in enumerate(sides):
        side.make_bucket(f"{bucket}-{number}")
    theirs, ours = (side.buckets() for side in sides)
    assert theirs == ours
    assert {f"{bucket}-0", f"{bucket}-1"} <= ours[1]


@pytest.mark.parametrize("writer", [0, 1], ids=["they put", "we put"])
def test_both_read_alike_what_either_put(sides: tuple[Side, Side], bucket: str, writer: int) -> None:
    """Listings page by page, heads with metadata and checksums, bytes through a job, and the jobs' own account."""
    sides[writer].make_bucket(bucket)
    put = sides[writer].put(bucket, CONTENTS, "both put", TAGS)
    for page, prefix, delimiter in ((1000, "", ""), (2, "", ""), (3, "books/", ""), (1, "", "/")):
        theirs, ours = (side.listing(bucket, page, prefix, delimiter) for side in sides)
        assert theirs == ours
    assert theirs == Listing([(key, size, tag) for key, size, tag in ours.objects if "/" not in key], ["books/"], 3)
    for key in CONTENTS:
        theirs_head, our_head = (side.head(bucket, key) for side in sides)
        assert theirs_head == our_head
        assert our_head is not None
        assert our_head.metadata == TAGS
    jobs = []
    for side in sides:
        job, got = side.get(bucket, list(CONTENTS), "both get")
        assert got == CONTENTS
        jobs.append(job)
    for job in jobs:
        theirs_job, our_job = (side.job(job) for side in sides)
        assert theirs_job == our_job
        assert (our_job.type, our_job.status, our_job.name, our_job.bucket) == ("GET", "COMPLETED", "both get", bucket)
    assert {side.job(put).name for side in sides} == {"both put"}


def test_both_find_the_copies_on_the_same_tapes(sides: tuple[Side, Side], bucket: str, appliance: Appliance) -> None:
    """Blob by blob; an unknown key is on none."""
    sides[0].make_bucket(bucket)
    sides[0].put(bucket, CONTENTS, "to tape", {})
    jobs = appliance.machine.jobs
    with jobs.changed:
        assert jobs.changed.wait_for(lambda: not any(job.type == "PUT" for job in jobs.active.values()), 60)
    theirs, ours = (side.placement(bucket, [*CONTENTS, "unknown"]) for side in sides)
    assert theirs == ours
    assert {key for key, *_ in ours} == set(CONTENTS)


def test_either_deletes_what_the_other_sees(sides: tuple[Side, Side], bucket: str) -> None:
    """A folder, an object; what is left is the same to both, and no head is there of what is gone."""
    sides[0].make_bucket(bucket)
    for deleter, other in (sides, sides[::-1]):
        deleter.put(bucket, CONTENTS, "to delete", {})
        deleter.delete_folder(bucket, "books")
        deleter.delete(bucket, "ü b+c%2F;")
        theirs, ours = (side.listing(bucket, 1000) for side in sides)
        assert theirs == ours
        assert [key for key, *_ in ours.objects] == ["lesmis.txt"]
        assert other.head(bucket, "ü b+c%2F;") is None
        other.delete(bucket, "lesmis.txt")


def test_both_are_refused_alike(sides: tuple[Side, Side], bucket: str) -> None:
    """Status and code of what cannot be are the same to both."""
    sides[0].make_bucket(bucket)
    sides[0].put(bucket, {"there": b"1"}, "first", {})
    for call in (
        lambda side: side.make_bucket(bucket),
        lambda side: side.make_bucket("bad:bucket"),
        lambda side: side.listing("not-here", 10),
        lambda side: side.put(bucket, {"there": b"2"}, "again", {}),
        lambda side: side.put("not-here", {"a": b"1"}, "nowhere", {}),
        lambda side: side.get(bucket, ["not-there"], "nothing"),
        lambda side: side.job("b44d7ddc-608a-4d46-9e9e-9433b0b62911"),
        lambda side: side.delete_folder(bucket, "no-folder"),
        lambda side: side.delete(bucket, "not-there"),
    ):
        theirs, ours = (side.failure(call) for side in sides)
        assert theirs == ours
        assert ours[0] in (400, 404, 409)
