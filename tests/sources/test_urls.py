"""Lists of URLs as a source: what is there, how it is read, what fails by name, and that no signature leaks."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from ds3tool.clock import ManualClock
from ds3tool.errors import Ds3Error, FarSideDeniedError, FarSideUnreachableError, SourceError, TlsError
from ds3tool.filters import Filter, NamePattern
from ds3tool.jobs.distant_ends import DistantObject
from ds3tool.jobs.ends import SourceObject
from ds3tool.renaming import Renaming
from ds3tool.sources.url_list import BadLine, ListedUrl, bare, read_list
from ds3tool.sources.urls import OpenUrl, UrlSource
from tests.far.web import MOMENT, Page, Web, web
from tests.sources.reading import keys, only, stored

DATA = random.Random(3).randbytes(3_000_000)
SECRET = "top-secret"


@pytest.fixture
def server() -> Iterator[Web]:
    """A server of the web."""
    with web() as running:
        yield running


def source(
    lines: Sequence[str],
    *,
    prefix: str = "",
    key: str | None = None,
    names: Renaming | None = None,
    wanted: Filter | None = None,
) -> UrlSource:
    """Return a list as a source; its waits take no time."""

    def entries() -> Iterator[ListedUrl | BadLine]:
        return read_list((line.encode("utf-8", "surrogateescape") for line in lines), origin="list")

    return UrlSource(entries, prefix=prefix, key=key, names=names, wanted=wanted, clock=ManualClock())


def opened(found: UrlSource, item: SourceObject) -> OpenUrl:
    one = found.open(item)
    assert isinstance(one, DistantObject)
    return one


def failure(found: UrlSource) -> Ds3Error:
    """The one failure of a list that names nothing else."""
    assert keys(found) == []
    (one,) = found.failures
    return one.error


# -- the list ------------------------------------------------------------------------------------------------------


def test_a_line_is_a_url_and_after_a_tab_its_key() -> None:
    """Empty lines and remarks are left out; equal URLs are told apart by where they stand."""
    lines = [
        b"https://h/a%20b?X=1\n",
        b"\r\n",
        b"# remark\n",
        b" http://h:81/c\tkey of mine \r\n",
        b"https://h/a%20b?X=2",
    ]
    first, second, third = (one for one in read_list(lines, origin="list") if isinstance(one, ListedUrl))
    assert (first.path, first.key, first.line, first.url) == ("a b", None, 1, "https://h/a%20b?X=1")
    assert (second.path, second.key, second.line) == ("c", "key of mine ", 4)
    assert (third.name.bare, third.name.repeat, first.name.repeat) == ("https://h/a%20b", 1, 0)


def test_versions_of_one_object_are_told_apart_by_their_own_ids() -> None:
    """Of a query only the version's id is no secret: lists that are signed anew, in another order, mean the same."""
    one, other = (f"https://h/a?versionId={version}&X-Amz-Signature={SECRET}".encode() for version in ("v1", "v2"))
    names = [
        {one.name for one in read_list(lines, origin="l") if isinstance(one, ListedUrl)}
        for lines in ((one, other), (other, one))
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"ftp://h/a?s=top-secret",
        b"h/a?s=top-secret",
        b"https:///a?s=top-secret",
        b"https://h:port/a?s=top-secret",
        b"https://[h/a?s=top-secret",
        b"https://h/a b?s=top-secret",
        b"https://me:top-secret@h/a",
        b"https://h/a?s=top-secret\t",
        b"https://h/\xff?s=top-secret",
    ],
)
def test_a_line_that_is_no_url_fails_by_its_number_and_is_not_quoted(line: bytes) -> None:
    """It may hold a signature."""
    (bad,) = read_list([line], origin="list")
    assert isinstance(bad, BadLine)
    assert "line 1 of list" in bad.error.message
    assert SECRET not in f"{bad.error} {bad.error.hint}"


# -- what is there ---------------------------------------------------------------------------------------------------


def test_objects_have_the_keys_of_their_paths_and_their_own_sizes(server: Web) -> None:
    """In the list's order; a key that the list gives is kept as it is; an empty object is one too."""
    server.pages = {"b/x%20y": Page(b"12345"), "b/deep/z": Page(b"1"), "b/empty": Page(b"")}
    lines = [server.url("b/x%20y"), f"{server.url('b/deep/z')}\tb/mine", server.url("b/empty")]
    found = source(lines, prefix="in/", names=Renaming("b/"))
    assert [(item.key, item.size, item.modified_ns) for item in found.objects()] == [
        ("in/x y", 5, MOMENT * 10**9),
        ("in/b/mine", 1, MOMENT * 10**9),
        ("in/empty", 0, MOMENT * 10**9),
    ]
    assert found.failures == []
    assert {one[1] for one in server.asked} == {"bytes=0-0", None}


def test_options_choose_by_name_size_and_time(server: Web) -> None:
    """The name is the path, or the key that the list gives."""
    server.pages = {name: Page(b"x" * size) for name, size in {"a.txt": 1, "b.bin": 9, "c.txt": 9}.items()}
    lines = [server.url(name) for name in server.pages]
    assert keys(source(lines, wanted=Filter(include=NamePattern(["*.txt"]), min_size=2))) == ["c.txt"]
    assert keys(source(lines, wanted=Filter(older_ns=MOMENT * 10**9))) == []


def test_bytes_and_what_the_server_says_of_them_are_put(server: Web) -> None:
    """Headers that describe the object, and S3's user metadata, go with it."""
    told = {"Content-Type": "text/x-told", "x-amz-meta-show": "apollo", "Content-Encoding": "gzip"}
    server.pages = {"a": Page(DATA, headers=told), "empty": Page(b"", modified=None, etag=None)}
    found = stored(source([server.url("a"), server.url("empty")]))
    assert {key: data for key, (data, _) in found.items()} == {"a": DATA, "empty": b""}
    metadata = found["a"][1]
    assert metadata["ds3tool-content-type"] == "text/x-told"
    assert metadata["ds3tool-content-encoding"] == "gzip"
    assert metadata["show"] == "apollo"
    assert found["empty"][1] == {}


def test_a_range_is_one_request_for_the_very_object_that_was_listed(server: Web) -> None:
    """Each carries the ETag that was listed."""
    server.pages = {"a": Page(DATA)}
    found = source([server.url("a")])
    item = only(found)
    server.asked.clear()
    one = opened(found, item)
    assert b"".join(one.blocks(1_000_000, 1_500_000)) == DATA[1_000_000:2_500_000]
    assert ("bytes=1000000-2499999", '"first"') in [asked[1:] for asked in server.asked]


def test_a_server_without_ranges_is_read_from_the_first_byte_on(server: Web) -> None:
    """What is before a blob is read and dropped; no byte is shifted."""
    server.pages = {"a": Page(DATA, ranges=False)}
    found = source([server.url("a")])
    item = only(found)
    one = opened(found, item)
    assert b"".join(one.blocks(2_000_000, 1_000_000)) == DATA[2_000_000:]
    assert b"".join(one.blocks(0, 2_000_000)) == DATA[:2_000_000]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_breaks_off_goes_on_where_it_was(server: Web, ranges: bool) -> None:
    """Nothing is short, shifted or twice."""
    server.pages = {"a": Page(DATA, ranges=ranges)}
    found = source([server.url("a")])
    item = only(found)
    server.pages["a"] = Page(DATA, ranges=ranges, cut=1_700_000)
    assert b"".join(opened(found, item).blocks(0, len(DATA))) == DATA
    server.pages["a"] = Page(DATA, ranges=ranges, cut=400_000)
    assert b"".join(opened(found, item).blocks(300_000, 2_000_000)) == DATA[300_000:2_300_000]


def test_a_server_that_cannot_now_is_asked_again(server: Web) -> None:
    """A 503 is no answer; four of them are too many."""
    server.pages = {"a": Page(b"later", status=503)}
    with pytest.raises(FarSideUnreachableError, match=f"{server.place}/a cannot be had now"):
        keys(source([server.url("a")]))
    assert len(server.asked) == 4


def test_nobody_there_is_told_without_the_signature() -> None:
    """The run ends: everything else would meet the same."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        place = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with pytest.raises(FarSideUnreachableError, match=f"{place}/a: there is no connection") as told:
        keys(source([f"{place}/a?X-Amz-Signature={SECRET}"]))
    assert SECRET not in f"{told.value} {told.value.hint}"


def test_a_certificate_that_nobody_vouches_for_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSL_CERT_FILE names who is trusted beside; nothing turns the check off."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with web(context) as server:
        server.pages = {"a": Page(DATA)}
        with pytest.raises(TlsError, match=f"{server.place}/a: the certificate") as told:
            keys(source([server.url("a")]))
        assert SECRET not in f"{told.value} {told.value.hint}"
        assert server.asked == []
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        found = source([server.url("a")])
        assert b"".join(opened(found, only(found)).blocks(0, len(DATA))) == DATA


def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, server: Web) -> None:
    """For a host that is not this one; no_proxy leaves it out."""
    server.pages = {"far/a": Page(b"through")}
    monkeypatch.setenv("http_proxy", server.place)
    found = source([f"http://example.invalid/far/a?X-Amz-Signature={SECRET}"])
    assert [item.size for item in found.objects()] == [7]
    assert server.asked[0][0].startswith("http://example.invalid/far/a")


# -- what S3 vouches for ---------------------------------------------------------------------------------------------


def test_the_md5_that_s3_states_is_compared_with_what_passed(server: Web) -> None:
    """Other bytes than the ETag vouches for are a SourceError that names both digests; of no S3 an ETag is anything."""
    md5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    headers = {"x-amz-request-id": "1"}
    server.pages = {"a": Page(DATA, etag=f'"{md5}"', headers=headers)}
    found = source([server.url("a")])
    item = only(found)
    assert b"".join(opened(found, item).blocks(0, len(DATA))) == DATA
    assert opened(found, item).metadata()["ds3tool-etag"] == md5
    server.pages["a"] = Page(DATA[:-1] + b"?", etag=f'"{md5}"', headers=headers)
    with pytest.raises(SourceError, match="their MD5 is"):
        list(opened(source([server.url("a")]), item).blocks(0, len(DATA)))
    server.pages["a"] = Page(DATA[:-1] + b"?", etag=f'"{md5}"')
    other = source([server.url("a")])
    one = opened(other, item)
    assert len(b"".join(one.blocks(0, len(DATA)))) == len(DATA)
    assert "ds3tool-etag" not in one.metadata()
    one.forget(moved=True)
    (note,) = other.notes
    assert "no digest that could be held against what was read" in note


# -- what fails by name ------------------------------------------------------------------------------------------------


EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


@pytest.mark.parametrize(
    ("page", "kind", "words"),
    [
        (Page(EXPIRED, status=403), FarSideDeniedError, "is not valid any more (AccessDenied)"),
        (Page(b"<Error><Code>ExpiredToken</Code></Error>", status=400), FarSideDeniedError, "ExpiredToken"),
        (Page(b"<Error><Code>AccessDenied</Code></Error>", status=403), SourceError, "may not be read (AccessDenied)"),
        (Page(b"no", status=401), SourceError, "may not be read (401)"),
        (Page(b"", status=404), SourceError, "is not there"),
        (Page(b"teapot", status=418), SourceError, "cannot be read: its server answers 418"),
        (Page(b"123", ranges=False, tells_size=False), SourceError, "does not tell how many bytes it has"),
        (Page(status=302, headers={"Location": "http://127.0.0.2/x?s=top-secret"}), SourceError, "leads elsewhere"),
        (Page(status=302, headers={"Location": "/a"}), SourceError, "without an end"),
    ],
)
def test_what_cannot_be_had_fails_by_name_and_without_its_signature(
    server: Web, page: Page, kind: type[Ds3Error], words: str
) -> None:
    """A signature that has run out is told apart, with the way out."""
    server.pages = {"a": page}
    error = failure(source([server.url("a")]))
    assert type(error) is kind
    assert words in error.message
    assert f"{server.place}/a" in error.message
    assert SECRET not in f"{error} {error.hint}"
    assert kind is not FarSideDeniedError or "sign the URLs anew" in str(error.hint)


def test_a_redirect_within_one_host_is_followed(server: Web) -> None:
    """As of a server that puts a slash right."""
    server.pages = {"a": Page(status=307, headers={"Location": "/b/c"}), "b/c": Page(b"there")}
    assert [(item.key, item.size) for item in source([server.url("a")]).objects()] == [("a", 5)]


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(DATA, etag='"second"'), "has changed since it was listed"),
        (Page(b"", status=404), "is not there"),
        (Page(DATA + b"1", etag=None), "has changed since it was listed"),
        (Page(DATA, etag=None, modified=MOMENT + 1), "it was modified on"),
        (Page(EXPIRED, status=403), "is not valid any more"),
    ],
)
@pytest.mark.parametrize("offset", [0, 1000])
def test_what_is_not_any_more_what_was_listed_fails_by_name(server: Web, page: Page, words: str, offset: int) -> None:
    """An object is never made of two."""
    server.pages = {"a": Page(DATA, etag=None if page.etag is None else '"first"')}
    found = source([server.url("a")])
    item = only(found)
    server.pages["a"] = page
    with pytest.raises((SourceError, FarSideDeniedError), match=words) as told:
        list(opened(found, item).blocks(offset, len(DATA) - offset))
    assert SECRET not in f"{told.value} {told.value.hint}"


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize(
    ("listed", "page", "words"),
    [
        (Page(DATA), Page(DATA, etag=None, modified=MOMENT + 1), "it was modified on"),
        (Page(DATA), Page(DATA, etag=None, modified=None), "nobody says when"),
        (Page(DATA, etag=None), Page(DATA, etag=None, modified=None), "nobody says when"),
        (Page(DATA, modified=None), Page(DATA, etag=None, modified=None), "not told any more"),
    ],
)
def test_an_answer_that_does_not_say_of_what_it_is_fails_by_name(
    server: Web, listed: Page, page: Page, words: str, offset: int
) -> None:
    """Where a server heeds no condition, and does not tell any more what it told, nobody knows whose bytes come."""
    server.pages = {"a": listed}
    found = source([server.url("a")])
    item = only(found)
    server.pages["a"] = replace(page, heeds=False)
    with pytest.raises(SourceError, match=words):
        list(opened(found, item).blocks(offset, len(DATA) - offset))
    server.pages["a"] = replace(listed, etag=None, heeds=False)
    if listed.modified is not None:  # the time says it as well
        assert b"".join(opened(found, item).blocks(offset, len(DATA) - offset)) == DATA[offset:]


def test_names_that_cannot_be_keys_fail_by_name(server: Web) -> None:
    """No path, one that ends in a slash and has bytes, one that is no text: the list may give another key."""
    server.pages = {"": Page(b"1"), "a/": Page(b"1"), "%FF": Page(b"1")}
    found = source([server.url(""), server.url("a/"), server.url("%FF")])
    assert keys(found) == []
    assert ["no name that could be a key" in one.error.message for one in found.failures] == [True, True, False]
    assert all("after a tab" in str(one.error.hint) for one in found.failures)
    assert keys(source([f"{server.url('%FF')}\tkey", f"{server.url('')}\tother"])) == ["key", "other"]


# -- later -----------------------------------------------------------------------------------------------------------


def test_a_later_list_that_is_signed_anew_opens_what_an_earlier_one_has_listed(server: Web) -> None:
    """A source's own name of an object holds no query; of what is not in the list any more, the line is told."""
    server.pages = {"a": Page(DATA), "b": Page(b"b")}
    first = source([server.url("a"), server.url("b")])
    a, b = first.objects()
    assert SECRET.encode() not in a.name
    assert first.place(a.name) == f"{server.place}/a"
    later = source([server.url("a", "X-Amz-Signature=another")])
    server.asked.clear()
    assert b"".join(opened(later, a).blocks(0, len(DATA))) == DATA
    assert {asked[0] for asked in server.asked} == {"/a?X-Amz-Signature=another"}
    with pytest.raises(SourceError, match=rf"{server.place}/b is not in the list any more, where it was in line 2"):
        list(opened(later, b).blocks(0, 1))


@pytest.mark.parametrize("make", [repr, str])
def test_no_signature_is_in_what_is_printed(make: Callable[[object], str]) -> None:
    """Neither of a line nor of what is shown of a URL."""
    (one,) = read_list([f"https://h/a?X-Amz-Signature={SECRET}".encode()], origin="list")
    assert SECRET not in make(one)
    assert bare(f"https://me:{SECRET}@h/a?{SECRET}#{SECRET}") == "https://h/a"
