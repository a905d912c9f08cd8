"""Which names, ages and sizes the choosing options accept."""

from __future__ import annotations

import pytest

from ds3tool.errors import UsageError
from ds3tool.filters import Filter, NamePattern, parse_moment

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.tmp", ["a.tmp", "b/c/a.tmp"], ["a.tmp2", "tmp"]),
        (".DS_Store", [".DS_Store", "a/.DS_Store"], ["x.DS_Store", "a/.DS_Store2"]),
        ("logs/*.gz", ["logs/a.gz", "logs/2024/a.gz"], ["old/logs/a.gz", "a.gz"]),
        ("/a.txt", ["a.txt"], ["b/a.txt"]),
        ("cache/", ["cache/a", "x/cache/y/z", "cache/"], ["cache", "mycache/a"]),
        ("/cache/", ["cache/a"], ["x/cache/a"]),
        ("a/cache/", ["a/cache/b"], ["x/a/cache/b", "a/cache"]),
        ("reel-?", ["reel-1", "x/reel-2", "reel-3/"], ["reel-10"]),
        ("[ab]*", ["a", "x/b1"], ["c", "x/c"]),
        ("line\nbreak", ["line\nbreak"], ["line"]),
        ("*", ["a", "a/b", "a/"], []),
    ],
)
def test_a_pattern_means_names(pattern: str, matching: list[str], other: list[str]) -> None:
    """A pattern without a slash may match the last part; the others match from the start."""
    patterns = NamePattern([pattern])
    assert [name for name in [*matching, *other] if patterns.matches(name)] == matching


def test_several_patterns_accept_what_one_of_them_means() -> None:
    """Include takes what any pattern means, and exclude wins."""
    chosen = Filter(NamePattern(["*.mxf", "*.mov"]), NamePattern(["proxy/"]))
    names = ["a.mxf", "a.mov", "a.txt", "proxy/a.mov", "x/proxy/a.mxf"]
    assert [name for name in names if chosen.accepts(name, size=1, modified_ns=1)] == ["a.mxf", "a.mov"]


@pytest.mark.parametrize(
    ("pattern", "folders"),
    [
        ("cache/", ["cache", "x/cache/", "cache/deeper"]),
        ("logs/*", ["logs"]),
        ("*", ["x"]),
        ("*.tmp", []),
        ("logs", []),
    ],
)
def test_a_folder_is_left_unread_only_when_all_below_is_excluded(pattern: str, folders: list[str]) -> None:
    """A pattern that names single files leaves no folder out."""
    chosen = Filter(exclude=NamePattern([pattern]))
    candidates = ["cache", "x/cache/", "cache/deeper", "logs", "x", "a.tmp"]
    excluded = [folder for folder in candidates if chosen.excludes_folder(folder)]
    assert set(folders) <= set(excluded)
    assert pattern == "*" or excluded == folders or pattern == "logs/*"
    for folder in excluded:
        assert not chosen.accepts(folder.rstrip("/") + "/inside", size=0, modified_ns=0)


def test_sizes_are_bounds_and_ages_half_open() -> None:
    """Both sizes are wanted, the newer moment too, the older one not."""
    sizes = Filter(min_size=2, max_size=4)
    assert [size for size in range(7) if sizes.accepts("a", size=size, modified_ns=None)] == [2, 3, 4]
    ages = Filter(newer_ns=2, older_ns=4)
    assert [when for when in range(7) if ages.accepts("a", size=0, modified_ns=when)] == [2, 3]
    assert not ages.accepts("a", size=0, modified_ns=None)
    assert Filter().is_empty
    assert not ages.is_empty


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2d", 8 * DAY_NS),
        ("1970-01-03", 2 * DAY_NS),
        ("1970-01-01T00:00:01.5", 1_500_000_000),
        ("1970-01-01T02:00+02:00", 0),
        ("1d12h", 8 * DAY_NS + DAY_NS // 2),
    ],
)
def test_a_moment_is_an_age_or_a_date(text: str, moment: int) -> None:
    """Ages count back from now, dates are UTC unless they say otherwise."""
    assert parse_moment(text, now_ns=10 * DAY_NS) == moment


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "2024-", "", "7x"])
def test_what_is_no_moment_is_refused_by_name(text: str) -> None:
    """A moment that means nothing is a usage error that shows it."""
    with pytest.raises(UsageError, match=repr(text)):
        parse_moment(text, now_ns=0)


@pytest.mark.parametrize("pattern", ["", "/"])
def test_an_empty_pattern_is_refused(pattern: str) -> None:
    """It would mean nothing, or everything."""
    with pytest.raises(UsageError):
        NamePattern([pattern])
