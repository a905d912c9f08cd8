"""`ds3tool put https://...` as an operator types it: lists of presigned URLs, single ones, no signature anywhere."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.far.servers import FarSide
from tests.far.web import Page, Web, web
from tests.jobs.rooms import Meddler

MIB = 1 << 20
SECRET = "top-secret"
LARGE = random.Random(5).randbytes(3 * MIB + 5)
EXPIRED = Page(b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", status=403)


@pytest.fixture
def server() -> Iterator[Web]:
    """A server of the web."""
    with web() as running:
        yield running


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def restored(archive: Archive, bucket: str, folder: Path) -> dict[str, bytes]:
    """Every object of the appliance's bucket, as a get brings it."""
    archive.run("get", f"ds3://{bucket}", str(folder)).expect()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def written(*others: Path) -> bytes:
    """All that commands have written into this test's home, and into other files."""
    paths = [path for path in Path(os.environ["HOME"]).rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in (*paths, *others))


def test_presigned_urls_of_s3_are_put(archive: Archive, seaweed: FarSide, tmp_path: Path) -> None:
    """No credentials are needed but those in the URLs; the bucket's name is left out where that is asked for."""
    contents = {"in/a b+c": b"one", "in/large": LARGE, "in/empty": b""}
    source, target = seaweed.bucket(contents), archive.bucket()
    client = seaweed.client()
    urls = [client.generate_presigned_url("get_object", Params={"Bucket": source, "Key": key}) for key in contents]
    (tmp_path / "urls").write_text("# signed today\n" + "\n".join(urls) + "\n")
    put = (
        "put",
        "https://",
        f"ds3://{target}/x/",
        "--files-from",
        str(tmp_path / "urls"),
        "--strip-prefix",
        f"{source}/",
    )
    shown = archive.run(*put, "--dry-run").expect()
    assert "would put 3 objects" in shown.stdout
    archive.run(*put, "--meta", "by=me").expect()
    assert restored(archive, target, tmp_path / "out") == {f"x/{key}": data for key, data in contents.items()}
    assert archive.client.head_object(target, "x/in/large").metadata["by"] == "me"
    assert archive.run(*put, "-o", "json").expect().json["skipped"] == 3


def test_one_url_is_put_under_its_last_name_or_the_key_that_is_given(archive: Archive, server: Web) -> None:
    """As a file is; its query is kept nowhere, and shown nowhere."""
    server.pages = {"deep/film.mov": Page(b"film")}
    target, log = archive.bucket(), Path(os.environ["HOME"]) / "log"
    queries = (f"X-Amz-Signature={SECRET}", f"sp=r&sig={SECRET}", f"X-Goog-Signature={SECRET}&x=1")
    for place, query in zip(("", "reels/", "reels/first"), queries, strict=True):
        url = server.url("deep/film.mov", query)
        told = archive.run("put", url, f"ds3://{target}/{place}", "-vv", "--log-file", str(log)).expect()
        assert SECRET not in told.stdout + told.stderr
    assert archive.keys(target) == ["film.mov", "reels/film.mov", "reels/first"]
    assert SECRET.encode() not in written()


def test_what_cannot_be_had_fails_by_name_and_the_rest_is_put(archive: Archive, server: Web, tmp_path: Path) -> None:
    """Exit code 6 for what has expired; each failure has its line or its URL without the query, and the way out."""
    server.pages = {"a": Page(b"1"), "expired": EXPIRED}
    lines = [
        server.url("a"),
        server.url("expired"),
        server.url("gone"),
        f"nonsense?{SECRET}",
        f"{server.url('a')}\tkey/b",
    ]
    (tmp_path / "urls").write_text("\n".join(lines))
    target, failed_to = archive.bucket(), tmp_path / "failed"
    put = ("put", "http://", f"ds3://{target}", "--files-from", str(tmp_path / "urls"), "--failed-to", str(failed_to))
    failed = archive.run(*put).expect(6)
    assert f"expired: {server.place}/expired: its signature, or who has signed, is not valid any more" in failed.stderr
    assert f"{server.place}/gone is not there" in failed.stderr
    assert "line 4 of" in failed.stderr
    assert failed_to.read_text().splitlines()[-2:] != []
    assert archive.keys(target) == ["a", "key/b"]
    assert SECRET not in failed.stdout + failed.stderr + failed_to.read_text()
    assert SECRET.encode() not in written()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("https://", "ds3://{t}"), 2, "https:// names no URL"),
        (("https://", "ds3://{t}", "--files-from", "/nowhere/at/all"), 4, "cannot be read"),
        (("https://h/a?top-secret", "ds3://{t}", "--files-from", "/dev/null"), 2, "there is another one beside it"),
        (("https://h/a?top-secret", "https://h/b", "ds3://{t}"), 2, "several URLs are put from a list"),
        (("https://h/a?top-secret", "/tmp", "ds3://{t}"), 2, "sources of several kinds"),
        (("https://h:x/a?top-secret", "ds3://{t}"), 2, "is no URL that can be read"),
        (("https://h/a?top-secret", "ds3://{t}", "--preserve"), 2, "--preserve means nothing for URLs"),
        (("https://h/a?top-secret", "ds3://{t}", "--raw"), 2, "--raw means nothing for URLs"),
        (("ds3://{t}/key", "https://h/a?top-secret"), 2, "https:// is not an address"),
    ],
)
def test_a_mistake_gets_a_sentence_and_no_signature_in_it(
    archive: Archive, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    """Nothing is begun, and nothing is left to be resumed."""
    target = archive.bucket()
    failed = archive.run("put", *(one.format(t=target) for one in arguments)).expect(exit_code)
    assert words in failed.stderr
    assert SECRET not in failed.stdout + failed.stderr
    assert list(Path(os.environ["HOME"]).rglob("*.db")) == []  # no journal


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_signed_urls_that_are_taken_for_names_are_refused_and_told_nowhere(
    archive: Archive, tmp_path: Path, dry_run: tuple[str, ...]
) -> None:
    """A list of URLs below a folder is a mistake, exit code 2 with the way out; no signature is shown or kept."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"1")
    (tmp_path / "urls").write_text("a\nhttps://h/b?X-Amz-Date=1&X-Amz-Signature=top-secret\n")
    target = archive.bucket()
    put = ("put", str(tmp_path / "in"), f"ds3://{target}", "--files-from", str(tmp_path / "urls"), *dry_run)
    failed = archive.run(*put).expect(2)
    assert "put https:// ds3://BUCKET/ --files-from" in failed.stderr
    assert archive.keys(target) == []
    kept = [path.read_bytes() for path in Path(os.environ["HOME"]).rglob("*") if path.is_file()]
    assert not any(b"top-secret" in one for one in (failed.stdout.encode(), failed.stderr.encode(), *kept))


def test_a_saved_plan_has_no_signature_and_reads_the_list_again(archive: Archive, server: Web, tmp_path: Path) -> None:
    """The list may be signed anew by then; a plan of a single URL cannot be done later, and says what can."""
    server.pages = {"a": Page(b"1")}
    target, plan, urls = archive.bucket(), tmp_path / "plan", tmp_path / "urls"
    urls.write_text(server.url("a"))
    archive.run("plan", "put", "https://", f"ds3://{target}", "--files-from", str(urls), "--save", str(plan)).expect()
    assert SECRET.encode() not in written(plan)
    urls.write_text(server.url("a", "X-Amz-Signature=another"))
    server.asked.clear()
    archive.run("plan", "run", str(plan)).expect()
    assert {path for path, _, _ in server.asked} == {"/a?X-Amz-Signature=another"}
    assert archive.keys(target) == ["a"]
    archive.run("plan", "put", server.url("a"), f"ds3://{target}/b", "--save", str(tmp_path / "single")).expect()
    assert "write the URLs into a file" in archive.run("plan", "run", str(tmp_path / "single")).expect(2).stderr


def test_signatures_that_run_out_on_the_way_leave_the_job_to_be_resumed(
    between: Between, server: Web, tmp_path: Path
) -> None:
    """The list is signed anew, and `resume` puts the rest; neither signature is in the journal."""
    archive, target, urls = between.archive, between.archive.bucket(), tmp_path / "urls"
    server.pages = {"large": Page(LARGE)}
    urls.write_text(server.url("large"))
    between.at(1, lambda: server.pages.update(large=EXPIRED))
    stopped = between.run("put", "https://", f"ds3://{target}", "--files-from", str(urls), "-j", "1").expect(6)
    assert "sign the URLs anew, write them into the list" in stopped.stderr
    assert "ds3tool resume" in stopped.stderr
    (work,) = archive.run("job", "ls", "--local", "-o", "json").expect().json
    assert work["paths"] == [f"the URLs in {urls}"]
    assert SECRET.encode() not in written()
    server.pages = {"large": Page(LARGE)}
    urls.unlink()
    assert f"{urls} cannot be read" in archive.run("resume").expect(4).stderr
    urls.write_text(server.url("large", "X-Amz-Signature=another-secret"))
    archive.run("resume").expect()
    assert restored(archive, target, tmp_path / "out") == {"large": LARGE}
    assert b"secret" not in written()


def test_a_single_url_goes_on_when_it_is_given_again(between: Between, server: Web, tmp_path: Path) -> None:
    """Its signature is kept nowhere, so `resume` asks for it; another URL is refused."""
    archive, target = between.archive, between.archive.bucket()
    server.pages = {"large": Page(LARGE)}
    between.signal_at(2)
    between.run("put", server.url("large"), f"ds3://{target}", "-j", "1").expect(130)
    (work,) = archive.run("job", "ls", "--local", "-o", "json").expect().json
    assert work["paths"] == [f"{server.place}/large"]
    asked = archive.run("resume").expect(2)
    assert f"ds3tool resume {work['id']} --source URL" in asked.stderr
    archive.run("resume", work["id"], "--source", server.url("other")).expect(2)
    archive.run("resume", work["id"], "--source", server.url("large", "X-Amz-Signature=another-secret")).expect()
    assert restored(archive, target, tmp_path / "out") == {"large": LARGE}
    assert b"secret" not in written()
