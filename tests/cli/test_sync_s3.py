"""`ds3tool sync` with S3: what is missing goes, what differs is replaced, and nothing is deleted in S3."""

from __future__ import annotations

import pytest

from tests.cli.archive import Archive
from tests.far.servers import FarSide


@pytest.fixture
def archive(archive: Archive, moto: FarSide) -> Archive:
    """The appliance, with what the commands need to know of S3."""
    return Archive(archive.appliance, archive.client, {**archive.environ, **moto.environ})


def held(archive: Archive, bucket: str) -> dict[str, bytes]:
    """Every object of the appliance's bucket."""
    return {
        key: archive.client.get_object(bucket, key, lambda reply: b"".join(reply.body)) for key in archive.keys(bucket)
    }


def test_a_prefix_on_the_appliance_becomes_like_one_in_s3(archive: Archive, moto: FarSide) -> None:
    """What is too much goes only with --delete, and only what the options choose; a dry run changes nothing."""
    source, target = moto.bucket({"in/a": b"1", "in/deep/b": b"2"}), archive.bucket("x/old", "x/old.tmp", "beside")
    sync = ("sync", f"s3://{source}/in", f"ds3://{target}/x", "--yes")
    tried = archive.run(*sync, "--delete", "--dry-run", "--exclude", "*.tmp").expect()
    assert "would put 2 objects" in tried.stdout
    assert "1 to delete" in tried.stdout
    archive.run(*sync).expect()
    before = {"beside": b"beside", "x/a": b"1", "x/deep/b": b"2", "x/old": b"x/old", "x/old.tmp": b"x/old.tmp"}
    assert held(archive, target) == before
    moto.client().put_object(Bucket=source, Key="in/a", Body=b"other")
    moto.client().delete_object(Bucket=source, Key="in/deep/b")
    done = archive.run(*sync, "--delete", "--exclude", "*.tmp", "-o", "json").expect()
    assert done.json["deleted"] == 2
    assert held(archive, target) == {"beside": b"beside", "x/a": b"other", "x/old.tmp": b"x/old.tmp"}


def test_a_prefix_in_s3_becomes_like_one_on_the_appliance(archive: Archive, moto: FarSide) -> None:
    """The same stays, what differs is replaced, what is too much stays."""
    source, target = (
        archive.bucket("p/a", "p/deep/b"),
        moto.bucket({"q/a": b"p/a", "q/deep/b": b"other", "q/more": b"m"}),
    )
    done = archive.run("sync", f"ds3://{source}/p/", f"s3://{target}/q", "-o", "json").expect()
    assert (done.json["objects"], done.json["skipped"]) == (1, 1)
    assert moto.contents(target) == {"q/a": b"p/a", "q/deep/b": b"p/deep/b", "q/more": b"m"}
    assert "would get 0 objects" in archive.run("sync", f"ds3://{source}/p/", f"s3://{target}/q", "-n").expect().stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("ds3://{t}/", "s3://{s}/", "--delete"), 2, "--delete does not go to S3"),
        (("ds3://{t}/", "s3://{s}/", "--wait", "tape"), 2, "--wait is about what goes to tape"),
        (("s3://{s}/", "s3://{s}/b"), 2, "one side of a sync is on the appliance"),
        (("s3://{s}/", "/tmp"), 2, "one side of a sync is on the appliance"),
        (("s3://{s}/*.txt", "ds3://{t}/"), 2, "is a pattern"),
        (("s3://{s}/", "ds3://{t}/", "--preserve"), 2, "--preserve means nothing"),
        (("s3://{s}/", "ds3://{t}/", "--delete", "--newer", "1d"), 2, "--delete cannot tell"),
        (("s3://{s}/nothing/", "ds3://{t}/", "--delete", "--yes"), 4, "names no object"),
    ],
)
def test_a_mistake_gets_a_sentence_and_changes_nothing(
    archive: Archive, moto: FarSide, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    """A prefix that is empty, perhaps by mistake, empties nothing."""
    names = {"s": moto.bucket({"a": b"1"}), "t": archive.bucket("b")}
    failed = archive.run("sync", *(one.format(**names) for one in arguments)).expect(exit_code)
    assert words in failed.stderr
    assert (moto.contents(names["s"]), archive.keys(names["t"])) == ({"a": b"1"}, ["b"])
