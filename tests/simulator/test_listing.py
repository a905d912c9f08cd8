"""Lists of a bucket: prefixes, delimiters, markers, versions, pages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.protocol.model import Versioning
from ds3tool.simulator.objects import successor
from tests.simulator.conftest import Bench, Build

_NAMES = ["2023/a", "2023/b/c", "2024/a", "2024/b", "readme", "z"]


@pytest.fixture
def filled(bench: Bench) -> Bench:
    """A bucket with a few names."""
    bench.wire.put_all("b", dict.fromkeys(_NAMES, b"x"))
    return bench


def _page(bench: Bench, query: str = "") -> tuple[list[str | None], list[str | None], str | None]:
    answer = bench.wire.ask("GET", f"/b?{query}").xml
    prefixes = [each.text for each in answer.iterfind("CommonPrefixes/Prefix")]
    following = answer.findtext("NextMarker") if answer.findtext("IsTruncated") == "true" else None
    assert bool(answer.findtext("NextMarker")) == (following is not None)
    return [key.text for key in answer.iterfind("Contents/Key")], prefixes, following


@pytest.mark.parametrize(
    ("query", "keys", "prefixes", "following"),
    [
        ("", _NAMES, [], None),
        ("prefix=2024/", ["2024/a", "2024/b"], [], None),
        ("delimiter=/", ["readme", "z"], ["2023/", "2024/"], None),
        ("delimiter=/&prefix=2023/", ["2023/a"], ["2023/b/"], None),
        ("delimiter=/&max_keys=3", ["readme"], ["2023/", "2024/"], "readme"),
        ("delimiter=/&max-keys=1", [], ["2023/"], "2023/"),
        ("delimiter=/&max_keys=2&marker=2023/", ["readme"], ["2024/"], "readme"),
        ("marker=2024/a", ["2024/b", "readme", "z"], [], None),
        ("max_keys=2", ["2023/a", "2023/b/c"], [], "2023/b/c"),
        ("max_keys=0", [], [], None),
        ("prefix=nothing", [], [], None),
        ("delimiter=ea", ["2023/a", "2023/b/c", "2024/a", "2024/b", "z"], ["rea"], None),
    ],
)
def test_a_list_holds_what_its_parameters_select(
    filled: Bench, query: str, keys: list[str], prefixes: list[str], following: str | None
) -> None:
    """Keys and common prefixes in order, and the marker of the next page where there is one."""
    assert _page(filled, query) == (keys, prefixes, following)


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_walking_the_pages_gives_every_name_once(filled: Bench, delimiter: str, size: int) -> None:
    """By NextMarker, whatever the page's length."""
    whole = _page(filled, f"delimiter={delimiter}")
    keys: list[str | None] = []
    prefixes: list[str | None] = []
    marker: str | None = ""
    while marker is not None:
        part, common, marker = _page(filled, f"delimiter={delimiter}&max_keys={size}&marker={marker}")
        keys += part
        prefixes += common
    assert (keys, prefixes) == whole[:2]


def test_an_unknown_bucket_and_bad_numbers_are_refused(bench: Bench) -> None:
    """404 and 400."""
    assert (bench.wire.ask("GET", "/none").status, bench.wire.ask("GET", "/none").code) == (404, "NoSuchBucket")
    assert bench.wire.ask("GET", "/b?max_keys=many").status == 400


def test_versions_are_listed_newest_first_and_page_by_name(build: Build) -> None:
    """`versions` by presence, whatever its value: Version elements, each with its id; without it, only the latest."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    for data in (b"1", b"22", b"333"):
        bench.wire.put_all("b", {"a": data})
    bench.wire.put_all("b", {"c": b"x"})
    for query in ("versions", "versions=False"):
        answer = bench.wire.ask("GET", f"/b?{query}").xml
        assert [
            (each.findtext("Key"), each.findtext("Size"), each.findtext("IsLatest")) for each in answer.iter("Version")
        ] == [
            *(("a", "3", "true"), ("a", "2", "false"), ("a", "1", "false"), ("c", "1", "true")),
        ]
        assert answer.find("Contents") is None
    assert len({each.findtext("VersionId") for each in answer.iter("Version")}) == 4
    assert [each.findtext("Size") for each in bench.wire.ask("GET", "/b").xml.iter("Contents")] == ["3", "1"]


def test_a_deleted_name_keeps_its_versions_and_can_be_brought_back(build: Build) -> None:
    """KEEP_MULTIPLE_VERSIONS: a delete hides, undelete shows again, a delete by version removes."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    wire = bench.wire
    wire.put_all("b", {"a": b"one"})
    first = wire.ask("HEAD", "/b/a").headers["version-id"]
    wire.put_all("b", {"a": b"two"})
    assert wire.ask("DELETE", "/b/a").status == 204
    assert [wire.ask(verb, "/b/a").status for verb in ("GET", "HEAD", "DELETE")] == [404, 404, 404]
    assert wire.start_get("b", ["a"]).status == 404
    assert len(list(wire.ask("GET", "/b?versions").xml.iter("Version"))) == 2
    assert wire.ask("DELETE", "/b").status == 409
    assert wire.ask("PUT", "/_rest_/object?bucket_id=b&name=a").xml.findtext("Latest") == "true"
    assert wire.ask("GET", "/b/a").body == b"two"
    assert wire.ask("PUT", f"/_rest_/object?bucket_id=b&name=a&version_id={first}").status == 200
    assert wire.ask("GET", "/b/a").body == b"one"
    assert wire.ask("DELETE", f"/b/a?version_id={first}").status == 204
    assert wire.ask("GET", f"/b/a?version_id={first}").status == 404


def test_only_so_many_versions_are_kept(build: Build) -> None:
    """The oldest goes when there are more than the policy keeps."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    policy = bench.wire.ask("GET", "/_rest_/data_policy").xml.findtext("DataPolicy/Id")
    bench.wire.ask("PUT", f"/_rest_/data_policy/{policy}?max_versions_to_keep=2")
    for data in (b"1", b"22", b"333"):
        bench.wire.put_all("b", {"a": data})
    sizes = [each.findtext("Size") for each in bench.wire.ask("GET", "/b?versions").xml.iter("Version")]
    assert sizes == ["3", "2"]


def test_keep_latest_shows_the_old_version_until_the_new_one_is_complete(build: Build) -> None:
    """Then there is one object, with a new id."""
    bench = build(versioning=Versioning.KEEP_LATEST, blob_size=1000)
    wire = bench.wire
    wire.put_all("b", {"a": b"old"})
    before = wire.ask("HEAD", "/b/a").headers["version-id"]
    job = wire.start_put("b", {"a": 1500}).xml.attrib["JobId"]
    wire.put_blob("b", "a", job, 0, b"n" * 1000)
    assert wire.ask("GET", "/b/a").body == b"old"
    assert [each.findtext("Size") for each in wire.ask("GET", "/b").xml.iter("Contents")] == ["3"]
    wire.put_blob("b", "a", job, 1000, b"n" * 500)
    assert [each.findtext("Size") for each in wire.ask("GET", "/b").xml.iter("Contents")] == ["1500"]
    assert wire.ask("HEAD", "/b/a").headers["version-id"] != before
    bench.until_persisted()
    bench.reclaim()
    assert bench.cache_used == 0


@given(st.text(max_size=6), st.text(max_size=6))
@settings(max_examples=300, deadline=None)
def test_the_successor_of_a_prefix_ends_its_range(prefix: str, rest: str) -> None:
    """Every text that begins with the prefix is below it, and it is the least such text among neighbours."""
    above = successor(prefix)
    if above is None:
        assert not prefix.strip("\U0010ffff")
        return
    assert (prefix + rest).encode("utf-8", "surrogatepass") < above.encode("utf-8", "surrogatepass")
    assert not above.startswith(prefix)
    assert above > prefix


def test_versions_go_on_where_a_page_ended(build: Build) -> None:
    """NextKeyMarker and NextVersionIdMarker lead to every version once; a version marker begins inside a name."""
    bench = build(versioning=Versioning.KEEP_MULTIPLE_VERSIONS)
    for name in ("a", "a", "a", "c", "c", "d"):
        bench.wire.ask("PUT", f"/b/{name}", b"x")
    everything = [each.findtext("VersionId") for each in bench.wire.ask("GET", "/b?versions").xml.iter("Version")]
    seen: list[str | None] = []
    parameters = ""
    for _ in range(6):
        page = bench.wire.ask("GET", f"/b?versions&max-keys=1{parameters}").xml
        seen += [each.findtext("VersionId") for each in page.iter("Version")]
        if page.findtext("IsTruncated") == "false":
            break
        key, version = page.findtext("NextKeyMarker"), page.findtext("NextVersionIdMarker")
        parameters = f"&key-marker={key}&version-id-marker={version}"
    assert seen == everything
    inside = bench.wire.ask("GET", f"/b?versions&key-marker=a&version-id-marker={everything[0]}").xml
    assert [each.findtext("VersionId") for each in inside.iter("Version")] == everything[1:]


def test_a_folder_and_a_bucket_of_many_pages_are_deleted_whole(build: Build) -> None:
    """All that is below, whatever the number; what is beside the folder stays until its bucket goes."""
    bench = build()
    names = {f"dir/{number:04d}": 1 for number in range(1100)} | {f"top/{number:04d}": 1 for number in range(1100)}
    assert bench.wire.start_put("b", {**names, "dirt": 1}).status == 200
    assert bench.wire.ask("DELETE", "/_rest_/folder/dir?bucket_id=b&recursive").status == 204
    assert bench.appliance.machine.objects.count("1", ()) == 1101
    assert bench.wire.ask("DELETE", "/_rest_/folder/dir?bucket_id=b&recursive").status == 404
    assert bench.wire.ask("DELETE", "/_rest_/bucket/b?force").status == 204
    assert bench.appliance.machine.objects.count("1", ()) == 0
    assert bench.cache_used == 0
