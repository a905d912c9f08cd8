"""The leaves: errors and their exit codes, sizes and durations as people write them, addresses as people type them."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool import errors
from ds3tool.addresses import Ds3Address, LocalAddress, parse_address, parse_bucket, parse_ds3
from ds3tool.errors import EXIT_CODES, Ds3Error, UsageError, worst_exit_code
from ds3tool.sizes import format_duration, format_size, parse_duration, parse_rate, parse_size

# -- errors -----------------------------------------------------------------------------------------------------------


def every_error() -> list[type[Ds3Error]]:
    return [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Ds3Error)]


@pytest.mark.parametrize("kind", every_error())
def test_each_error_has_an_exit_code_of_the_table_and_a_word(kind: type[Ds3Error]) -> None:
    """Every error ends the program with a code that the table explains, and carries a word for scripts."""
    assert kind.exit_code in EXIT_CODES
    assert kind.exit_code != 0
    assert kind.code
    assert kind.__doc__


@pytest.mark.parametrize("kind", every_error())
def test_each_error_stands_in_the_tree_of_the_docstring(kind: type[Ds3Error]) -> None:
    """The tree at the top of the module names every error, or a kind of it."""
    tree = errors.__doc__ or ""
    assert any(parent.__name__ in tree for parent in kind.__mro__[:2]), kind


def test_refusal_tells_its_request_id() -> None:
    """The appliance's number for a refused request is kept; other errors have none."""
    refused = errors.ApplianceError("no", status=500, code="InternalError", request_id="42")
    assert refused.request_id == "42"
    assert UsageError("no").request_id is None


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        (set(), 0),
        ({0}, 0),
        ({0, 3}, 3),
        ({3, 5}, 5),
        ({3, 130}, 130),
        ({5, 130}, 5),
        ({7, 12, 3}, 12),
        ({3, 8}, 8),
        ({1}, 1),
        ({1, 3}, 3),
        ({2, 4}, 2),
    ],
)
def test_gravest_exit_code_wins(codes: set[int], worst: int) -> None:
    """Damage outranks an interruption, that a lost job, and everything outranks 'some failed'."""
    assert worst_exit_code(codes) == worst


@given(st.sets(st.sampled_from(sorted(EXIT_CODES))))
def test_no_failure_turns_into_success(codes: set[int]) -> None:
    """Whatever codes come together, the result is one of them, and 0 only when nothing failed."""
    worst = worst_exit_code(codes)
    assert (worst == 0) == (codes <= {0})
    assert worst == 0 or worst in codes


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("1K", 1000),
        ("1KiB", 1024),
        ("64MiB", 64 << 20),
        ("64mib", 64 << 20),
        ("500M", 500_000_000),
        ("500MB", 500_000_000),
        ("1.5G", 1_500_000_000),
        ("1.5GiB", 3 << 29),
        (" 2 TiB ", 2 << 40),
        ("1P", 10**15),
        ("10B", 10),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_size_as_people_write_it(text: str, size: int) -> None:
    """Decimal and binary units, of any case, mean exactly what they say."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "1X", "1iB", "1 0", "1e3", "0x10", "1,5G", "\u0661", "1MiBs", "nan", "1."]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """Anything else is an error that shows what was written and how to write it."""
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 400 + ".5K", "9223372036854775808", "8192PiB", "9" * 40 + "T"])
def test_what_is_more_than_any_size_is_refused(text: str) -> None:
    """What the appliance could not count is a usage error, which shows its beginning alone."""
    with pytest.raises(UsageError, match="more than any size") as caught:
        parse_size(text)
    assert len(caught.value.message) < 100


@given(st.integers(0, 1 << 62))
def test_plain_numbers_are_exact(size: int) -> None:
    """A number of bytes is itself, however large."""
    assert parse_size(str(size)) == size


def test_rates() -> None:
    """A rate is a size a second, above zero."""
    assert parse_rate("100M") == parse_rate("100MB/s") == 100_000_000
    assert parse_rate("1MiB/s") == 1 << 20
    for text in ("0", "0M/s", "fast", "/s"):
        with pytest.raises(UsageError):
            parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("15m", 900.0), ("1h30m", 5400.0), ("2d", 172800.0), ("250ms", 0.25), ("1.5h", 5400)],
)
def test_duration_as_people_write_it(text: str, seconds: float) -> None:
    """Units may follow each other; a number alone is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "1h30", "30 1h", "-5s", "1h-5m", "forever"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is an error that shows what was written."""
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 5000 + "d", "9" * 308 + "d", "1157408d"])
def test_what_is_longer_than_any_duration_is_refused(text: str) -> None:
    """No clock of ours goes so far: a usage error, which shows its beginning alone."""
    with pytest.raises(UsageError, match="longer than any duration") as caught:
        parse_duration(text)
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (1 << 50, "1.0 PiB"),
        (5 << 60, "5120.0 PiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        ((1 << 30) - 1, "1.0 GiB"),
    ],
)
def test_size_for_people(size: int, text: str) -> None:
    """Bytes are shown in the unit that leaves less than 1024 of it."""
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 m 00 s"),
        (185, "3 m 05 s"),
        (3599.7, "1 h 00 m"),
        (7800, "2 h 10 m"),
        (86399.9, "1 d 0 h"),
        (273600, "3 d 4 h"),
    ],
)
def test_duration_for_people(seconds: float, text: str) -> None:
    """Durations are shown in two units, rounded before they are split."""
    assert format_duration(seconds) == text


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ds3://bucket", Ds3Address("bucket")),
        ("ds3://bucket/", Ds3Address("bucket")),
        ("ds3://bucket/key", Ds3Address("bucket", "key")),
        ("DS3://bucket/a/b/", Ds3Address("bucket", "a/b/")),
        ("ds3://b.u-c_k9/a b+c;%2F?#", Ds3Address("b.u-c_k9", "a b+c;%2F?#")),
        ("ds3://bucket//a//b", Ds3Address("bucket", "/a//b")),
        ("ds3://bucket/ds3://other", Ds3Address("bucket", "ds3://other")),
        ("/tmp/file", LocalAddress("/tmp/file")),
        ("file", LocalAddress("file")),
        ("-", LocalAddress("-")),
        ("a:b", LocalAddress("a:b")),
        ("./ds3://x", LocalAddress("./ds3://x")),
    ],
)
def test_address_as_people_type_it(text: str, address: Ds3Address | LocalAddress) -> None:
    """A key is everything behind the bucket's slash, as it stands; what has no scheme is a path."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gs://b/k",
        "http://host/",
        "lotame://x",
        "ds3://",
        "ds3:///key",
        "ds3://b cket",
        "ds3://" + "b" * 64,
        "ds3:/b",
        "Ds3:b/k",
        "s3:/b/k",
        "S3:b",
        "lotame:all",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """An unknown scheme, a missing or impossible bucket and an empty text are errors with a way out."""
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert caught.value.hint


@given(st.text(min_size=0, max_size=50))
def test_address_survives_being_written(key: str) -> None:
    """An address written out and read again is the same address, whatever the key holds."""
    address = Ds3Address("bucket", key)
    assert parse_address(str(address)) == address


def test_prefixes() -> None:
    """A bucket and what ends in a slash name everything below; `as_prefix` makes a key such a name, once."""
    assert Ds3Address("b").is_prefix
    assert Ds3Address("b", "a/").is_prefix
    assert not Ds3Address("b", "a").is_prefix
    assert Ds3Address("b", "a").as_prefix() == Ds3Address("b", "a/") == Ds3Address("b", "a/").as_prefix()
    assert Ds3Address("b").as_prefix() == Ds3Address("b")


@pytest.mark.parametrize(
    ("text", "meant"), [("ds3:/b/k", "ds3://b/k"), ("s3:b/k", "s3://b/k"), ("S3:/", "s3://BUCKET/KEY")]
)
def test_an_address_without_its_slashes_makes_no_folder(text: str, meant: str) -> None:
    """A scheme that lacks slashes is no path, or a get would make a folder of that name; the way out is written out."""
    with pytest.raises(UsageError, match="lacks slashes") as caught:
        parse_address(text)
    assert caught.value.hint == f"write {meant}, or for a path ./{text}"
    assert parse_address(f"./{text}") == LocalAddress(f"./{text}")


@pytest.mark.parametrize(
    ("text", "way_out"), [("s3://b/k", "put s3://b/k ds3://"), ("lotame://all", "put lotame://all ")]
)
def test_what_is_elsewhere_is_not_called_a_bucket_of_the_appliance(text: str, way_out: str) -> None:
    """Where the appliance is meant and another service is named, nobody is told to write ds3://s3://."""
    with pytest.raises(UsageError, match="not on the appliance") as caught:
        parse_ds3(text)
    assert way_out in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_ds3, "/local"), (parse_ds3, "bucket"), (parse_bucket, "ds3://bucket/key"), (parse_bucket, "bucket/key")],
)
def test_address_of_another_kind_is_refused(parse: Callable[[str], object], text: str) -> None:
    """Where the appliance or a bucket is meant, a path or a key is an error that says what to write."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "ds3://" in (caught.value.hint or "")


def test_bucket_with_and_without_scheme() -> None:
    """A bucket may be written with the scheme, with a slash, or plain."""
    assert parse_bucket("archive") == parse_bucket("ds3://archive") == parse_bucket("ds3://archive/") == "archive"
