"""What S3 says of an object becomes metadata of the appliance's object, and the same again."""

from __future__ import annotations

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.protocol import metadata
from ds3tool.protocol.object_attributes import ETAG, LAST_MODIFIED, ObjectAttributes

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NAMES = st.one_of(
    st.text(string.ascii_lowercase + string.digits + "-_.", min_size=1, max_size=20),
    st.sampled_from(["ds3-mode", "ds3tool-tags", "ds3tool-etag", "ds3tool-user-x", "ds3tool-content-type"]),
)
_ANY = st.builds(
    ObjectAttributes,
    content_type=st.none() | _TEXT,
    content_encoding=st.none() | _TEXT,
    content_language=st.none() | _TEXT,
    content_disposition=st.none() | _TEXT,
    cache_control=st.none() | _TEXT,
    expires=st.none() | _TEXT,
    storage_class=st.none() | st.sampled_from(["STANDARD_IA", "GLACIER"]),
    tags=st.lists(st.tuples(_TEXT.filter(bool), _TEXT), max_size=10).map(tuple),
    user=st.dictionaries(_NAMES, _TEXT, max_size=6),
)


@settings(deadline=None)
@given(_ANY)
def test_what_was_said_comes_back_through_the_headers_of_the_appliance(said: ObjectAttributes) -> None:
    """Whatever S3 says of an object, the same is read from the headers in which the appliance gives it back."""
    headers = dict(metadata.to_headers(said.to_metadata()))
    assert ObjectAttributes.from_metadata(metadata.from_headers(headers)) == said


def test_names_are_those_that_the_manual_tells() -> None:
    """Headers of S3 have names of ours, and what users stored has its own."""
    said = ObjectAttributes(
        content_type="text/csv",
        content_encoding="gzip",
        content_language="de",
        content_disposition="inline",
        cache_control="no-store",
        expires="Thu, 01 Dec 2033 16:00:00 GMT",
        storage_class="GLACIER_IR",
        tags=(("team", "a&b=c%"), ("empty", "")),
        user={"Camera": "7", "ds3-mode": "100644"},
    )
    assert said.to_metadata() == {
        "ds3tool-content-type": "text/csv",
        "ds3tool-content-encoding": "gzip",
        "ds3tool-content-language": "de",
        "ds3tool-content-disposition": "inline",
        "ds3tool-cache-control": "no-store",
        "ds3tool-expires": "Thu, 01 Dec 2033 16:00:00 GMT",
        "ds3tool-storage-class": "GLACIER_IR",
        "ds3tool-tags": "team=a%26b%3Dc%25&empty=",
        "camera": "7",
        "ds3-mode": "100644",
    }


def test_where_an_object_came_from_is_no_attribute_that_goes_back() -> None:
    """The ETag and the time of the object that was read are not given to the one that is written."""
    said = ObjectAttributes.from_metadata({ETAG: "abc", LAST_MODIFIED: "2024-01-01T00:00:00+00:00", "Mine": "1"})
    assert said == ObjectAttributes(user={"mine": "1"})


def test_what_does_not_fit_is_named() -> None:
    """Of what is too large the rest is kept, and what is left out is told by name."""
    said = ObjectAttributes(
        content_type="text/plain", tags=(("t", "x" * 50), ("u", "y")), user={"big": "é" * 200, "small": "1"}
    )
    kept, left_out = said.fitting(140)
    assert kept == ObjectAttributes(content_type="text/plain", tags=(("u", "y"),), user={"small": "1"})
    assert left_out == ("big", "tag t")


@settings(deadline=None)
@given(_ANY)
def test_what_fits_loses_nothing(said: ObjectAttributes) -> None:
    """Attributes of ordinary length are kept whole."""
    assert said.fitting(100_000) == (said, ())


def test_what_no_header_can_carry_is_named() -> None:
    """Text that UTF-8 cannot express is left out by name, and nothing else is."""
    kept, left_out = ObjectAttributes(user={"odd": "\ud800", "fine": "x"}).fitting()
    assert (dict(kept.user), left_out) == ({"fine": "x"}, ("odd",))
