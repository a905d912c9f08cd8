"""Names that cannot be keys: escaped, known again, and never taken from a stranger."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.protocol import xmlcodec
from ds3tool.protocol.escaped import NAME, escape, may_be_escaped, name_metadata, raw_name

FILE_NAMES = st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"\0", b"\xff").replace(b"/", b"%"))
PATHS = st.lists(FILE_NAMES, min_size=1, max_size=4).map(b"/".join)

ESCAPED = [
    (b"caf\xe9", "caf%E9"),
    (b"a/\xff\xfe/b", "a/%FF%FE/b"),
    (b"bell\x07", "bell%07"),
    (b"\x7f\x80", "\x7f%80"),
    ("\ufffe".encode(), "%EF%BF%BE"),
    (b"\xed\xa0\x80", "%ED%A0%80"),
    ("é\x01".encode(), "é%01"),
    (b"100%\xff", "100%%FF"),
]


def named(raw: bytes) -> dict[str, str]:
    return {NAME: base64.b64encode(raw).decode()}


@pytest.mark.parametrize(("raw", "key"), ESCAPED)
def test_bytes_that_no_key_can_hold_are_escaped_alone(raw: bytes, key: str) -> None:
    """Each byte in the way becomes its two hexadecimal digits, and everything around it stays."""
    assert escape(raw) == key
    assert may_be_escaped(key)
    assert name_metadata(raw, key) == named(raw)


@pytest.mark.parametrize("name", ["plain", "100%", "%E9", "a/b c\td\ne", "é/日本語", "\x7f", "\u202e", "😀"])
def test_names_that_can_be_keys_are_keys(name: str) -> None:
    """A name that XML can carry is its own key, percent signs and line breaks included, and needs no metadata."""
    assert escape(name.encode()) == name
    assert name_metadata(name.encode(), name) == {}


@given(PATHS)
def test_every_name_comes_back(raw: bytes) -> None:
    """Whatever bytes a name is of, its key is one that a request can carry, and gives the bytes again."""
    key = escape(raw)
    assert xmlcodec.fits(key)
    metadata = name_metadata(raw, key)
    assert bool(metadata) == (key.encode() != raw)
    assert os.fsencode(raw_name(key, key, metadata) or key) == raw


@given(PATHS, st.sampled_from(["", "new/", "a/b/", "%FF/"]))
def test_parts_of_the_name_come_back_below_another_prefix(raw: bytes, prefix: str) -> None:
    """A name whose first part was left out, or replaced, has its other parts' real bytes."""
    key = "old/" + escape(raw)
    found = raw_name(prefix + escape(raw), key, name_metadata(b"old/" + raw, key))
    assert os.fsencode(found or prefix + escape(raw)) == os.fsencode(prefix) + raw


@given(PATHS, PATHS)
def test_name_of_another_key_is_a_lie(raw: bytes, other: bytes) -> None:
    """Metadata whose bytes do not escape to the very key are ignored, whatever they hold."""
    key = escape(raw)
    if escape(other) != key:
        assert raw_name(key, key, named(other)) is None


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_hostile_metadata_never_raise_and_never_smuggle(name: str, key: str, value: str) -> None:
    """Whatever a stranger writes, no part of the name gains a slash, a NUL or a meaning."""
    for metadata in ({NAME: value}, {NAME.upper(): value}, named(value.encode("utf-8", "replace"))):
        found = raw_name(name, key, metadata)
        if found is not None:
            assert found.count("/") == name.count("/")
            assert "\0" not in found or "\0" in name


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("a%00b", b"a\0b"),
        ("%2E%2E", b".."),
        ("a%2Fb", b"a/b"),
        ("%2E%2E%FF", b"..\xff"),
        ("%ff", b"\xff"),
        ("plain", b"plain"),
        ("caf%E9", b"caf\xc3\xa9"),
    ],
)
def test_bytes_that_would_lead_elsewhere_are_ignored(key: str, raw: bytes) -> None:
    """NULs, slashes and dots are never what an escape stands for, nor is a character that needed none."""
    assert raw_name(key, key, named(raw)) is None


@pytest.mark.parametrize("value", ["", "*", "AA=A", "A", "=" * 9, "\udc80", "é", "/" * 3])
def test_what_is_no_base64_is_ignored(value: str) -> None:
    """Metadata that decode to nothing leave the key as it is."""
    assert raw_name("%FF", "%FF", {NAME: value}) is None


def test_key_without_metadata_is_a_name_of_its_own() -> None:
    """A key that only looks escaped stays as it is: nobody has said that it was."""
    assert may_be_escaped("caf%E9")
    assert raw_name("caf%E9", "caf%E9", {}) is None


def test_names_that_nobody_escapes_are_not_asked_about() -> None:
    """A percent sign alone, an escaped slash or lower case are no reason to look for metadata."""
    assert not any(may_be_escaped(key) for key in ("100%", "a%2Fb", "%e9", "%09", "%0A", "%7F", "%00", "a b"))


def test_part_that_was_named_anew_stays_so() -> None:
    """A file that a person gave another name keeps that one, and so does what stands before it."""
    metadata = named(b"\xfe/\xff/x")
    assert raw_name("%FE/%FF/y", "%FE/%FF/x", metadata) is None
    assert raw_name("%FE/b/x", "%FE/%FF/x", metadata) is None
    assert raw_name("x", "%FE/%FF/x", metadata) is None
    assert raw_name("%FF/x", "%FE/%FF/x", metadata) == "\udcff/x"


def test_folder_objects_come_back_too() -> None:
    """A key that ends in a slash names a folder of these bytes."""
    assert raw_name("b%FF/", "a/b%FF/", named(b"a/b\xff/")) == "b\udcff/"


def test_object_that_had_to_take_another_name_keeps_the_folders_before_it() -> None:
    """Where the last part was numbered since the name is taken, its folders' real bytes are still known."""
    metadata = name_metadata(b"\xff/caf\xe9.mov", "%FF/caf%E9~1.mov")
    assert raw_name("%FF/caf%E9~1.mov", "%FF/caf%E9~1.mov", metadata) == "\udcff/caf%E9~1.mov"
    assert name_metadata(b"a/b", "other") == {}
