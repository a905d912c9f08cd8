"""Metadata of objects there and back through headers."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ds3tool.errors import UsageError
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.messages import Headers
from ds3tool.protocol.metadata import CommonLines, from_headers, lines_of, to_headers

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = TEXT.filter(bool).map(lambda name: re.sub("[A-Z]", lambda found: found[0].lower(), name))


@given(st.dictionaries(NAMES, TEXT))
def test_metadata_survive_the_journey(metadata: dict[str, str]) -> None:
    """Any names in lower case and any values come back as they were, also when the appliance re-cases the names."""
    headers = to_headers(metadata)
    assert from_headers(Headers(headers)) == metadata
    assert from_headers(Headers((name.upper(), value) for name, value in headers)) == metadata


@given(NAMES, TEXT)
def test_what_stands_in_a_header_is_printable_ascii(name: str, value: str) -> None:
    """Neither a line break nor a blank nor a comma reaches a header, so none can be forged, folded or split."""
    ((header, encoded),) = to_headers({name: value})
    assert re.fullmatch(r"x-amz-meta-[a-zA-Z0-9%._~-]+", header)
    assert re.fullmatch(r"[A-Za-z0-9%._~/:-]*", encoded)


def test_upper_case_in_names_is_lowered() -> None:
    """The appliance gives names back in lower case, so they are sent so."""
    assert to_headers({"ds3-ownerName": "Ada"}) == (("x-amz-meta-ds3-ownername", "Ada"),)


def test_text_that_is_no_escape_stays_as_it_came() -> None:
    """A percent sign that begins no escape, or one of bytes that are no UTF-8, is left alone."""
    headers = Headers([("x-amz-meta-a", "100%"), ("x-amz-meta-b", "%FF%FE"), ("x-amz-meta-c", "50%zz%20x")])
    assert from_headers(headers) == {"a": "100%", "b": "%FF%FE", "c": "50%zz x"}


def test_only_metadata_headers_are_metadata() -> None:
    """Other headers are left out; those of LTFS keep their beginning."""
    headers = Headers([("ETag", '"x"'), ("X-Spectra-LTFS-Uid", "7"), ("x-amz-request-id", "1"), ("x-amz-meta-k", "v")])
    assert from_headers(headers) == {"x-spectra-ltfs-uid": "7", "k": "v"}


@pytest.mark.parametrize("metadata", [{"": "x"}, {"a": "1", "A": "2"}, {"a": "\ud800"}, {"\udfff": "a"}])
def test_metadata_that_would_be_lost_are_refused(metadata: dict[str, str]) -> None:
    """An empty name, two names that fall together, and half a surrogate pair are UsageErrors."""
    with pytest.raises(UsageError):
        to_headers(metadata)


OWN = FileAttributes(modified_ns=-1, accessed_ns=2, created_ns=3, mode=0o644, uid=0, gid=0, owner="a b").to_metadata()


@given(st.dictionaries(NAMES, TEXT))
@example({"ds2": "", "ds3": "", "ds3tool.": "", "ds4": "", "a": "1", "a-b": "2", "~": ""})
def test_lines_of_attributes_come_among_the_common_ones_as_if_sorted_together(common: dict[str, str]) -> None:
    """What is sent and what is signed is that of all of an object's metadata in one."""
    lines = CommonLines(common)
    assert lines.lines == (lines_of(to_headers(common)) if common else None)
    if lines.leaves_room:
        assert lines.beside(lines_of(to_headers(OWN))) == lines_of(to_headers({**common, **OWN}))


@pytest.mark.parametrize(
    ("name", "leaves_room"),
    [
        ("DS3-mode", False),
        ("ds3-", False),
        ("ds3tool-x", False),
        ("ds3a", False),
        ("ds3", True),
        ("ds3tool.", True),
        ("x-ds3-mode", True),
    ],
)
def test_words_that_sort_among_attributes_leave_no_room_for_them(name: str, leaves_room: bool) -> None:
    """They are put together with an object's attributes name by name."""
    assert CommonLines({"a": "b", name: "value"}).leaves_room is leaves_room
