"""Listing a bucket of S3: every key comes, in order, and pages are asked for as they are needed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from ds3tool.aws.s3_listing import Restore, S3Listed, listed, pages, restore_of
from ds3tool.errors import FarSideError, FarSideNotFoundError, FarSideUnreachableError
from tests.far.servers import FarSide

MOMENT = datetime(2024, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)


class Script:
    """Answers requests for pages from a list, and writes down what was asked; `refuses` the optional attributes."""

    def __init__(self, *replies: dict[str, Any], refuses: bool = False) -> None:
        self.replies = replies
        self.refuses = refuses
        self.asked: list[dict[str, Any]] = []
        self.begun = threading.Semaphore(0)

    def list_objects_v2(self, **asked: object) -> dict[str, Any]:
        self.asked.append(asked)
        self.begun.release()
        if self.refuses and "OptionalObjectAttributes" in asked:
            from botocore.exceptions import ClientError

            said = {"Error": {"Code": "NotImplemented", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(said, "ListObjectsV2")
        return self.replies[int(str(asked.get("ContinuationToken", "0")))]


def page(*keys: str, more: str | None = None, **others: object) -> dict[str, Any]:
    objects = [{"Key": key, "Size": 3, "ETag": '"abc"', "LastModified": MOMENT, **others} for key in keys]
    return {"Contents": objects, "IsTruncated": more is not None, "NextContinuationToken": more}


def test_every_page_comes_and_the_next_one_is_asked_for_ahead() -> None:
    """While the first page is looked at, the second has been asked for, and no third."""
    script = Script(page("a", more="1"), page("b", more="2"), page("c"))
    coming = listed(script, "b", "p/")
    assert next(coming).key == "a"
    assert script.begun.acquire(timeout=30)
    assert script.begun.acquire(timeout=30)
    assert not script.begun.acquire(blocking=False)
    assert [one.key for one in coming] == ["b", "c"]
    assert [one.get("ContinuationToken") for one in script.asked] == [None, "1", "2"]


def test_what_a_listing_says_of_an_object() -> None:
    """ETags come without quotes, times with their zone and to the nanosecond, and where restoring stands."""
    ongoing, ready = {"IsRestoreInProgress": True}, {"IsRestoreInProgress": False, "RestoreExpiryDate": MOMENT}
    script = Script(page("a", more="1"), page("b", more="2", RestoreStatus=ongoing), page("c", RestoreStatus=ready))
    first, second, third = listed(script, "b", "")
    assert first == S3Listed("a", 3, "abc", MOMENT)
    assert first.modified_ns == 1_706_933_106_789_000_000
    assert (second.restore, third.restore) == (Restore.ONGOING, Restore.READY)
    assert restore_of('ongoing-request="true"') is Restore.ONGOING
    assert restore_of('ongoing-request="false", expiry-date="x"') is Restore.READY
    assert restore_of(None) is None


def test_a_service_that_knows_no_states_of_restoring_is_asked_without() -> None:
    """What is refused for the optional attribute is listed all the same."""
    script = Script(page("a", more="1"), page("b"), refuses=True)
    assert [one.key for one in listed(script, "b", "")] == ["a", "b"]
    assert ["OptionalObjectAttributes" in one for one in script.asked] == [True, False, False]


@pytest.mark.parametrize("token", [None, "0"])
def test_a_listing_that_turns_in_a_circle_is_an_error(token: str | None) -> None:
    """A page that says that there is more, and not how it goes on, does not end the listing in silence."""
    broken = {**page("a"), "IsTruncated": True, "NextContinuationToken": token}
    with pytest.raises(FarSideError, match="breaks off"):
        list(listed(Script(broken), "b", ""))


@pytest.mark.parametrize("earlier", [[], [page("a", more="1")], [page("a", more="1"), page("b", more="2")]])
def test_a_page_that_says_nothing_is_no_end(earlier: list[dict[str, Any]]) -> None:
    """An answer without a word of a listing, as a proxy gives one, is not taken for a bucket that has no more."""
    nothing = {"ResponseMetadata": {"HTTPStatusCode": 200}}
    with pytest.raises(FarSideUnreachableError, match="no listing"):
        list(listed(Script(*earlier, nothing), "b", ""))


def _three_a_page(params: dict[str, Any], **_: object) -> dict[str, Any]:
    return {**params, "MaxKeys": 3}


def test_a_real_bucket(seaweed: FarSide, moto: FarSide) -> None:
    """More keys than a page has come from either server, in order; with a delimiter, prefixes apart."""
    keys = [*(f"logs/{number:04}" for number in range(7)), "logs/a/x", "logs/ü +%&.txt"]
    bucket, client = moto.bucket(dict.fromkeys([*keys, "other"], b"1")), moto.client()
    client.meta.events.register("provide-client-params.s3.ListObjectsV2", _three_a_page)
    assert [one.key for one in listed(client, bucket, "logs/")] == sorted(keys)
    (only,) = pages(seaweed.client(), seaweed.bucket({"a/1": b"", "a/b/2": b"22", "c": b""}), "a/", delimiter="/")
    assert [(one.key, one.size) for one in only.objects] == [("a/1", 0)]
    assert only.prefixes == ("a/b/",)
    with pytest.raises(FarSideNotFoundError):
        list(listed(seaweed.client(), "no-such-bucket", ""))
