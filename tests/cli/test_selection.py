"""What an address selects."""

from __future__ import annotations

import pytest

from ds3tool.cli.selection import parse_selection
from ds3tool.cli.where import placement_of
from ds3tool.errors import UsageError
from ds3tool.protocol.model import Blob, PlacedBlob, Placement, Pool, Tape, TapeState


@pytest.mark.parametrize(
    ("address", "recursive", "selected", "left"),
    [
        ("ds3://b/logs", False, ["logs"], ["logs/x", "logs-2024/x"]),
        ("ds3://b/logs", True, ["logs/x", "logs/y/z"], ["logs", "logs-2024/x"]),
        ("ds3://b/logs/", True, ["logs/", "logs/x"], ["logs", "logs-2024/x"]),
        ("ds3://b/logs*", True, ["logs", "logs/x", "logs-2024/x"], ["log", "old/logs"]),
        ("ds3://b/logs?", True, ["logs1", "logs1/x"], ["logs", "logs10"]),
        ("ds3://b/*.mxf", False, ["a.mxf", "a/b.mxf"], ["a.mxf.tmp"]),
        ("ds3://b/a[12].txt", False, ["a1.txt", "a2.txt"], ["a[12].txt", "a3.txt"]),
        ("ds3://b/a[!1].txt", False, ["a2.txt"], ["a1.txt"]),
        ("ds3://b", True, ["x", "y/z"], []),
        ("ds3://b/a%2Fb+c d", False, ["a%2Fb+c d"], ["a/b c d"]),
    ],
)
def test_an_address_selects_what_it_says_and_nothing_beside(
    address: str, selected: list[str], left: list[str], *, recursive: bool
) -> None:
    """A key is one key, -r ends in a slash, wildcards are s5cmd's; nothing is decoded."""
    selection = parse_selection(address, recursive=recursive, raw=False)
    for key in selected:
        assert selection.selects(key), key
        assert key.startswith(selection.prefix)
    for key in left:
        assert not selection.selects(key), key


@pytest.mark.parametrize("key", ["a[12].txt", "what?", "st*r", "folder/"])
def test_raw_means_the_key_as_it_stands(key: str) -> None:
    """--raw is how to name an object that looks like a pattern or a prefix."""
    selection = parse_selection(f"ds3://b/{key}", recursive=False, raw=True)
    assert selection.selects(key)
    assert not selection.selects(key + "x")
    assert selection.whole


def test_raw_and_recursive_is_a_prefix_letter_by_letter() -> None:
    """With both, the prefix is exactly what was typed."""
    selection = parse_selection("ds3://b/st*r", recursive=True, raw=True)
    assert selection.selects("st*r/x")
    assert selection.selects("st*rs")
    assert not selection.selects("star/x")


def test_a_local_path_is_not_on_the_appliance() -> None:
    """An address without its scheme is refused, with the right spelling."""
    with pytest.raises(UsageError) as failure:
        parse_selection("bucket/key", recursive=False, raw=False)
    assert failure.value.hint == "write ds3://bucket/key"


def placed(offset: int, *media: Tape | Pool, in_cache: bool = False, targets: int = 0) -> PlacedBlob:
    return PlacedBlob(
        Blob("k", offset, 10, in_cache),
        Placement(
            tuple(medium for medium in media if isinstance(medium, Tape)),
            tuple(medium for medium in media if isinstance(medium, Pool)),
            targets,
        ),
    )


T1, T2 = Tape("1", "T1", TapeState.NORMAL), Tape("2", "T2", TapeState.EJECTED)
P = Pool("3", "P", "NORMAL")


@pytest.mark.parametrize(
    ("blobs", "copies", "in_cache"),
    [
        ([], 0, False),
        ([placed(0, in_cache=True)], 0, True),
        ([placed(0, T1, T2), placed(10, T1, P, targets=1)], 2, False),
        ([placed(0, T1, T2, in_cache=True), placed(10, T2)], 1, False),
        ([placed(0, T1), placed(10)], 0, False),
    ],
)
def test_the_blob_on_the_fewest_media_counts_the_copies(
    blobs: list[PlacedBlob], copies: int, *, in_cache: bool
) -> None:
    """A copy is complete only when every blob is on it; in the cache, only when every blob is."""
    placement = placement_of("k", blobs)
    assert placement.copies.total == copies
    assert placement.in_cache is in_cache


def test_tapes_are_named_once_in_the_order_of_their_bar_codes() -> None:
    """However many blobs a tape holds, it is one tape to load."""
    placement = placement_of("k", [placed(0, T2, T1), placed(10, T1)])
    assert [tape.bar_code for tape in placement.tapes] == ["T1", "T2"]
