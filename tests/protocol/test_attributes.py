"""A file's attributes as metadata, there and back, and what strangers may write there."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.protocol.attributes import (
    MAX_XATTRS_CHARACTERS,
    RESERVED,
    FileAttributes,
    fitting_xattrs,
)
from ds3tool.protocol.messages import Headers
from ds3tool.protocol.metadata import from_headers, to_headers

TIMES = st.none() | st.integers(-(2**62), 2**62)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
XATTR_NAMES = (
    st.binary(min_size=1, max_size=30)
    .filter(lambda name: b"\0" not in name)
    .map(lambda name: name.decode("utf-8", "surrogateescape"))
)
ATTRIBUTES = st.builds(
    FileAttributes,
    modified_ns=TIMES,
    accessed_ns=TIMES,
    created_ns=st.none() | st.integers(-(2**40), 2**40).map(lambda milliseconds: milliseconds * 1_000_000),
    mode=st.none() | st.integers(0, 0o177777),
    uid=st.none() | st.integers(0, 2**32 - 2),
    gid=st.none() | st.integers(0, 2**32 - 2),
    owner=st.none() | TEXT,
    group=st.none() | TEXT,
    xattrs=st.dictionaries(XATTR_NAMES, st.binary(max_size=50), max_size=4),
    link=st.booleans(),
    sparse=st.booleans(),
    os=st.none() | TEXT,
)

EVERYTHING = FileAttributes(1, 1, 1, 1, 1, 1, "x", "x", {"a": b"b"}, link=True, sparse=True, os="x")


@given(ATTRIBUTES)
def test_attributes_survive_the_journey(attributes: FileAttributes) -> None:
    """Whatever a file's attributes are, they come back as they were through headers that lose the case of names."""
    headers = to_headers(attributes.to_metadata())
    assert FileAttributes.from_metadata(from_headers(Headers(headers))) == attributes
    assert FileAttributes.from_metadata({name.upper(): v for name, v in attributes.to_metadata().items()}) == attributes


def test_vendors_keys_are_written() -> None:
    """Other tools find times in milliseconds, the mode in octal with the type's bits, permissions in both notations."""
    metadata = FileAttributes(
        modified_ns=1_700_000_000_123_456_789, mode=stat.S_IFREG | 0o4755, uid=0, gid=12, owner="ada", os="Linux"
    ).to_metadata()
    assert metadata == {
        "ds3-os": "Linux",
        "ds3-last-modified-time": "1700000000123",
        "ds3tool-mtime-ns": "1700000000123456789",
        "ds3-uid": "0",
        "ds3-gid": "12",
        "ds3-mode": "104755",
        "ds3-permissions": "755(rwxr-xr-x)",
        "ds3-ownerName": "ada",
    }


def test_nothing_known_is_no_metadata() -> None:
    """A file of which nothing is known gets no metadata, and no metadata say nothing."""
    assert FileAttributes().to_metadata() == {}
    assert FileAttributes.from_metadata({}) == FileAttributes()


def test_nanoseconds_count_only_beside_their_milliseconds() -> None:
    """A time that another tool has changed is that tool's, whatever finer number it left standing."""
    ours = FileAttributes(modified_ns=1_234_567_890_123).to_metadata()
    assert FileAttributes.from_metadata(ours).modified_ns == 1_234_567_890_123
    ours["ds3-last-modified-time"] = "5"
    assert FileAttributes.from_metadata(ours).modified_ns == 5_000_000
    del ours["ds3-last-modified-time"]
    assert FileAttributes.from_metadata(ours).modified_ns is None


def test_files_of_other_tools_are_understood() -> None:
    """What the vendor's client writes on Linux and on Windows is read; an access list is nobody's business here."""
    linux = {"ds3-os": "Linux", "ds3-permissions": "640(rw-r-----)", "ds3-ownername": "root", "ds3-creation-time": "7"}
    assert FileAttributes.from_metadata(linux) == FileAttributes(
        os="Linux", mode=0o640, owner="root", created_ns=7_000_000
    )
    assert FileAttributes.from_metadata({"ds3-permissions": "600"}).mode == 0o600
    windows = {"ds3-os": "Windows 10", "ds3-owner": "S-1-5-32-544", "ds3-dacl": "x", "ds3-flags": "A"}
    assert FileAttributes.from_metadata(windows) == FileAttributes(os="Windows 10")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ds3-mode", "999"),
        ("ds3-mode", "-644"),
        ("ds3-mode", "7" * 5000),
        ("ds3-mode", "1000000"),
        ("ds3-permissions", "1000"),
        ("ds3-permissions", "(rw-r--r--)"),
        ("ds3-uid", "-1"),
        ("ds3-uid", "4294967295"),
        ("ds3-gid", "9" * 5000),
        ("ds3-gid", "٣"),
        ("ds3-uid", "1_0"),
        ("ds3-last-modified-time", "9223372036855"),
        ("ds3-last-modified-time", "99999999999999999999"),
        ("ds3-last-access-time", "1.5"),
        ("ds3-creation-time", ""),
        ("ds3-ownername", ""),
        ("ds3tool-link", "yes"),
        ("ds3tool-sparse", "0"),
        ("ds3tool-xattrs", "///:::/%%/A:/:A/AA==:*"),
        ("ds3tool-xattrs", "AA:AAAA"),
    ],
)
def test_malformed_values_say_nothing(name: str, value: str) -> None:
    """A value that is out of range or no number at all is left out, and the others beside it count."""
    good = FileAttributes(gid=5) if name != "ds3-gid" else FileAttributes(uid=5)
    assert FileAttributes.from_metadata({name: value, **good.to_metadata()}) == good


def test_bits_that_change_the_user_are_told_as_they_are() -> None:
    """Set-user-id and the type's bits are handed on: who restores decides about them."""
    assert FileAttributes.from_metadata({"DS3-Mode": "104755"}).mode == 0o104755


@given(
    st.dictionaries(
        st.sampled_from(sorted(EVERYTHING.to_metadata())) | st.text(),
        st.text() | st.from_regex(r"-?[0-9]{1,30}", fullmatch=True) | st.from_regex(r"[A-Za-z0-9+/:=_-]*"),
    )
)
def test_hostile_metadata_never_raise(metadata: dict[str, str]) -> None:
    """Whatever metadata hold, reading them yields attributes within the system's bounds and never an exception."""
    found = FileAttributes.from_metadata(metadata)
    for moment in (found.modified_ns, found.accessed_ns, found.created_ns):
        assert moment is None or -(2**63) <= moment < 2**63
    assert found.mode is None or 0 <= found.mode < 2**16
    for number in (found.uid, found.gid):
        assert number is None or 0 <= number < 2**32 - 1
    assert all(name and "\0" not in name for name in found.xattrs)


def test_broken_pair_costs_no_other_attribute() -> None:
    """One pair of extended attributes that is no base64 is left out, and those around it are there."""
    text = FileAttributes(xattrs={"user.a": b"1", "user.B": b"\xff\0"}).to_metadata()["ds3tool-xattrs"]
    first, second = text.split("/")
    found = FileAttributes.from_metadata({"ds3tool-xattrs": f"{first}/&&:AA/{second}"})
    assert found.xattrs == {"user.a": b"1", "user.B": b"\xff\0"}


def test_owner_that_utf8_cannot_express_is_left_out() -> None:
    """A user's name that no header can carry costs the name alone."""
    assert FileAttributes(uid=5, owner="\udcff", group="g").to_metadata() == {"ds3-uid": "5", "ds3-groupName": "g"}


def test_xattrs_are_bounded_and_keep_the_small_ones() -> None:
    """What a request has no room for is left out, the largest first, and what is kept stays within the bound."""
    xattrs = {"user.huge": bytes(5000), "user.a": bytes(2000), "user.b": bytes(1300), "user.c": b"x"}
    kept = fitting_xattrs(xattrs)
    assert list(kept) == ["user.b", "user.c"]
    assert len(FileAttributes(xattrs=kept).to_metadata()["ds3tool-xattrs"]) <= MAX_XATTRS_CHARACTERS
    assert fitting_xattrs({"user.c": b"x"}) == {"user.c": b"x"}


def test_every_key_is_a_reserved_one() -> None:
    """Metadata of a user's own that avoid the reserved beginnings never look like a file's attributes."""
    assert all(name.startswith(RESERVED) for name in EVERYTHING.to_metadata())
