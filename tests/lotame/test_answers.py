"""What Lotame's answers may hold: each field is read for what it is, and what breaks the shape is named."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import ProtocolError
from ds3tool.lotame.answers import location, read_feeds, read_updates, record_of
from ds3tool.lotame.model import FeedUpdates, S3Location, WebLocation
from tests.lotame.conftest import NOW

MOMENT = datetime.fromtimestamp(NOW, UTC)
CREDENTIALS = {
    "accessKeyId": "EXAMPLEKEYID",
    "secretAccessKey": "example-secret",
    "sessionToken": "example-session",
    "expiration": 1767229200000,
}


Json = Any


def updates_of(feeds: list[Json], **more: Json) -> Json:
    return {"feeds": feeds, "s3creds": CREDENTIALS, **more}


def read(answer: Json) -> Json:
    return read_updates(answer, since=None, at=MOMENT, obtained=MOMENT)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://my.bucket/data/year=2021/x.y", S3Location("my.bucket", "data/year=2021/x.y")),
        ("s3://bucket", S3Location("bucket", "")),
        ("s3://bucket/", S3Location("bucket", "")),
        ("S3A://bucket/a?b#c", S3Location("bucket", "a?b#c")),
        ("https://example.invalid/meta.json.gz", WebLocation("https://example.invalid/meta.json.gz")),
        ("ftp://example.invalid/x", None),
        ("/a/path", None),
        ("s3:///x", None),
        ("https:///x", None),
        ("https://[x", None),
    ],
)
def test_places_are_read_whole(text: str, place: object) -> None:
    """Dots in a bucket's name and `=` or `.` in a prefix are part of them."""
    assert location(text) == place


@pytest.mark.parametrize("folder", ["a/b", "a/b/", "a/b//"])
@pytest.mark.parametrize("name", ["x.gz", "/x.gz"])
def test_one_slash_stands_between_folder_and_name(folder: str, name: str) -> None:
    """However the two end and begin."""
    assert S3Location("b", folder).file(name) == S3Location("b", "a/b/x.gz")
    assert S3Location("b", "").file(name) == S3Location("b", "x.gz")


@pytest.mark.parametrize("key", ["metadataFile", "metaDataFile"])
def test_the_mapping_file_is_found_in_either_spelling(key: str) -> None:
    """The two calls spell it differently, and may change their minds."""
    where = {key: "s3://b/m.json.gz"}
    assert read(updates_of([{"id": 1, "files": [], **where}])).feeds[0].mapping == S3Location("b", "m.json.gz")
    assert read_feeds({"feeds": [{"id": 1, **where}]})[0].mapping == S3Location("b", "m.json.gz")


def test_numbers_may_come_as_texts_and_fields_may_lack() -> None:
    """What can be understood is, and what nobody needs may be anything."""
    answer = updates_of([{"id": "12", "files": [], "other": object.__name__, "location": None}])
    answer["s3creds"] = {**CREDENTIALS, "expiration": "1767229200000"}
    updates = read(answer)
    assert updates.feeds == (FeedUpdates(12),)
    assert updates.credentials.expires == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert read_feeds({"feeds": [{"id": 3, "clientId": None}]})[0].client_id is None


def test_milliseconds_are_milliseconds() -> None:
    """An expiration in milliseconds is no moment in the year 57970."""
    assert read(updates_of([])).credentials.expires == datetime(2026, 1, 1, 1, tzinfo=UTC)


def test_a_file_listed_twice_is_one_file() -> None:
    """A name that stands twice in one list is had once."""
    answer = updates_of([{"id": 1, "location": "s3://b/p", "files": ["a", "b", "a"]}])
    assert read(answer).feeds[0].files == ("a", "b")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"feeds": {}}, "`feeds` is an object"),
        ({"feeds": [7]}, r"feeds\[0\] is a number, not an object"),
        ({"feeds": [{}]}, r"feeds\[0\].id is nothing, not a number"),
        ({"feeds": [{"id": True, "files": []}]}, "id is true or false"),
        ({"feeds": [{"id": -1, "files": []}]}, "id is a number, not a number|id is"),
        ({"feeds": [{"id": 1.5, "files": []}]}, "id is a fraction"),
        ({"feeds": [{"id": 1}]}, "files is nothing, not a list"),
        ({"feeds": [{"id": 1, "files": "abc"}]}, "files is a text, not a list"),
        ({"feeds": [{"id": 1, "files": [None], "location": "s3://b/p"}]}, r"files\[0\] is nothing"),
        ({"feeds": [{"id": 1, "files": [""], "location": "s3://b/p"}]}, r"files\[0\]"),
        ({"feeds": [{"id": 1, "files": ["/"], "location": "s3://b/p"}]}, r"files\[0\]"),
        ({"feeds": [{"id": 1, "files": ["a"]}]}, "feed 1.*has files and no location"),
        ({"feeds": [{"id": 1, "files": [], "location": 5}]}, "location is a number, not a text"),
        ({"feeds": [{"id": 1, "files": [], "location": "https://x.invalid/"}]}, "location is not a place in S3"),
        ({"feeds": [{"id": 1, "files": [], "metaDataFile": "x"}]}, "metaDataFile is a place neither"),
        ({"feeds": [{"id": 1, "files": []}, {"id": 1, "files": []}]}, "feed 1 is in it twice"),
        ({"s3creds": None, "feeds": [{"id": 1, "files": ["a"], "location": "s3://b"}]}, "s3creds is not there"),
        ({"s3creds": []}, "s3creds is a list"),
        ({"s3creds": {**CREDENTIALS, "secretAccessKey": 5}}, "lacks a part"),
        ({"s3creds": {**CREDENTIALS, "sessionToken": ""}}, "lacks a part"),
        ({"s3creds": {**CREDENTIALS, "expiration": None}}, "expiration is nothing"),
        ({"s3creds": {**CREDENTIALS, "expiration": "soon"}}, "expiration is a text"),
        ({"s3creds": {**CREDENTIALS, "expiration": 10**30}}, "no moment"),
        ({"s3creds": {**CREDENTIALS, "expiration": "9" * 5000}}, "expiration is a text"),
        ({"s3creds": {**CREDENTIALS, "expiration": float("nan")}}, "no moment"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], words: str) -> None:
    """What breaks the shape is an error that names the field, and shows no credential."""
    with pytest.raises(ProtocolError, match=words) as failure:
        read({**updates_of([]), **change})
    assert not any(str(secret) in failure.value.message for secret in CREDENTIALS.values())


def test_the_record_holds_no_secret() -> None:
    """What may be archived is the answer without credentials, tokens and signatures, always written the same way."""
    answer = updates_of(
        [
            {
                "id": 1,
                "files": ["é.gz"],
                "location": "s3://b/p",
                "metaDataFile": "https://me:pw@x.invalid/m.gz?X-Amz-Signature=SIGNED",
                "downloadToken": "HUSH",
                "nested": {"password": "HUSH", "kept": [{"apiKey": "HUSH", "n": 1}]},
            }
        ],
        access="HUSH",
        zeta=None,
    )
    record = record_of(answer)
    assert (
        record
        == (
            '{"feeds":[{"files":["é.gz"],"id":1,"location":"s3://b/p","metaDataFile":"https://x.invalid/m.gz",'
            '"nested":{"kept":[{"n":1}]}}],"zeta":null}\n'
        ).encode()
    )
    assert record_of(dict(reversed(answer.items()))) == record
    assert read(answer).record == record


def test_a_secret_that_is_repeated_elsewhere_is_removed_there() -> None:
    """What stood below a secret's key may not stand in a message either."""
    token = "a-session-token-of-some-length"
    credentials = {"sessionToken": token, "n": 5, "bucket": "the-bucket-of-files"}
    record = record_of({"message": f"use {token} soon", "location": "the-bucket-of-files", "s3creds": credentials})
    assert record == b'{"location":"the-bucket-of-files","message":"(removed)"}\n'


_TEXTS = st.text(max_size=5) | st.sampled_from(["s3://b/k", "http://[", "https://u:p@h/x?q"])
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["feeds", "id", "files", "location", "metaDataFile", "s3creds", "expiration", "clientId"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"feeds": st.lists(_ANY, max_size=2), "s3creds": _ANY}) | _ANY)
def test_whatever_comes_is_read_or_refused(answer: Json) -> None:
    """No JSON at all makes anything but a value or an error of ours, and its record can be written again."""
    for reading in (read, read_feeds):
        with suppress(ProtocolError):
            reading(answer)
    record = record_of(answer)
    assert record_of(json.loads(record)) == record
