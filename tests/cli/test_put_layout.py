"""`put --layout firehose`: closed hours go to the archive, open ones wait, late ones follow, errors go apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.far.servers import FarSide
from tests.firehose.filled import AT, CLICKS
from tests.jobs.rooms import Meddler

LAYOUT = ("--layout", "firehose")
# Objects of a test are stored now, and named after an hour of long ago: only without a margin is such an hour closed.
AT_ONCE = (*LAYOUT, "--interval", "0s", "--margin", "0s")
LATER = AT + timedelta(hours=1)


@pytest.fixture
def archive(archive: Archive, moto: FarSide) -> Archive:
    """The appliance, with what the commands need to know of S3."""
    return Archive(archive.appliance, archive.client, {**archive.environ, **moto.environ})


def fetched(archive: Archive, bucket: str) -> dict[str, bytes]:
    """Every object of the appliance's bucket."""
    return {
        key: archive.client.get_object(bucket, key, lambda reply: b"".join(reply.body)) for key in archive.keys(bucket)
    }


def named(*keys: str) -> dict[str, bytes]:
    """Objects that hold their own names."""
    return {key: key.encode() for key in keys}


def test_closed_hours_go_and_what_comes_late_follows(archive: Archive, moto: FarSide) -> None:
    """The first run takes what is there; the next one only what came late, and overwrites nothing."""
    early = named(*CLICKS.hour(AT, 3), CLICKS.key(AT, error="processing-failed"))
    far, bucket = moto.bucket(early), archive.bucket()
    line = ("put", f"s3://{far}/", f"ds3://{bucket}/in/", *AT_ONCE, "-o", "json")
    told = archive.run(*line).expect().json
    assert (told["objects"], told["skipped"], told["failed"], told["notes"]) == (4, 0, [], [])
    assert fetched(archive, bucket) == {f"in/{key}": data for key, data in early.items()}
    late = named(CLICKS.key(AT, 9), CLICKS.key(LATER))
    for key, data in late.items():
        moto.client().put_object(Bucket=far, Key=key, Body=data)
    told = archive.run(*line).expect().json
    assert (told["objects"], told["skipped"], told["failed"]) == (2, 4, [])
    assert fetched(archive, bucket) == {f"in/{key}": data for key, data in (early | late).items()}


def test_an_hour_that_is_open_is_told_and_nothing_of_it_is_put(archive: Archive, moto: FarSide) -> None:
    """By default what came in the last two hours keeps its hour open; the note says until when."""
    far, bucket = moto.bucket(named(*CLICKS.hour(AT, 3))), archive.bucket()
    told = archive.run("put", f"s3://{far}/data", f"ds3://{bucket}/in", *LAYOUT, "-o", "json").expect()
    assert told.json["objects"] == 0
    (note,) = told.json["notes"]
    head = f"s3://{far}/data/year=2026/month=01/day=31/hour=22"
    assert f"{head} (3 objects): something came too short a time ago; closed from 2" in note
    assert fetched(archive, bucket) == {}
    archive.run("put", f"s3://{far}/", f"ds3://{bucket}/", *LAYOUT, "--error-if-nothing").expect(9)


def test_errors_go_below_a_prefix_of_their_own_or_nowhere(archive: Archive, moto: FarSide) -> None:
    """What failed is never among the data of its hour; left out, it is counted."""
    plain = named(
        "2026/01/31/22/" + (name := CLICKS.key(AT).rpartition("/")[2]), f"processing-failed/2026/01/31/22/{name}"
    )
    far, apart, without = moto.bucket(plain), archive.bucket(), archive.bucket()
    archive.run("put", f"s3://{far}/", f"ds3://{apart}/", *AT_ONCE).expect()
    assert archive.keys(apart) == [f"2026/01/31/22/{name}", f"errors/processing-failed/2026/01/31/22/{name}"]
    line = ("put", f"s3://{far}/", f"ds3://{without}/", *AT_ONCE, "--error-prefixes", "skip", "-o", "json")
    told = archive.run(*line).expect().json
    assert told["notes"] == ["1 object of error prefixes left out (--error-prefixes skip)"]
    assert archive.keys(without) == [f"2026/01/31/22/{name}"]


def test_what_has_other_content_under_an_archived_key_fails_by_name(archive: Archive, moto: FarSide) -> None:
    """Nothing that is archived is overwritten: what differs is named, with the rules that would add or replace it."""
    key = CLICKS.key(AT)
    far, bucket = moto.bucket({key: b"one"}), archive.bucket()
    line = ("put", f"s3://{far}/", f"ds3://{bucket}/", *AT_ONCE)
    archive.run(*line).expect()
    moto.client().put_object(Bucket=far, Key=key, Body=b"other")
    told = archive.run(*line).expect(3)
    assert f"{key} is in the bucket already, and is not the same" in told.stderr
    assert "--if-exists overwrite, version or rename" in told.stderr
    assert fetched(archive, bucket) == {key: b"one"}


def test_a_plan_of_closed_hours_is_shown_kept_and_run(archive: Archive, moto: FarSide, tmp_path: Path) -> None:
    """A dry run sends nothing; a plan that was kept puts what it lists, with errors where it said."""
    objects = named(*CLICKS.hour(AT, 2), CLICKS.key(LATER, error="splunk-failed"))
    far, bucket = moto.bucket(objects | {"data/notes.txt": b"mine"}), archive.bucket()
    line = (f"s3://{far}/", f"ds3://{bucket}/in/", *AT_ONCE)
    told = archive.run("put", *line, "--dry-run", "-o", "json").expect().json
    assert (told["objects"], archive.keys(bucket)) == (3, [])
    assert told["notes"] == [f"1 object left out, whose names Firehose does not give: s3://{far}/data/notes.txt"]
    file = tmp_path / "hours.plan"
    archive.run("plan", "put", *line, "--save", str(file)).expect()
    moto.client().put_object(Bucket=far, Key=CLICKS.key(AT, 9), Body=b"late")
    assert archive.run("plan", "run", str(file), "-o", "json").expect().json["objects"] == 3
    assert fetched(archive, bucket) == {f"in/{key}": data for key, data in objects.items()}


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands between the commands and the appliance."""
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def test_a_put_of_hours_that_was_interrupted_goes_on(between: Between, moto: FarSide) -> None:
    """`resume` puts what is left, under the keys that were planned, whatever has come into their hours since."""
    stream = replace(CLICKS, name="large")  # what `Between` counts
    objects = named(*stream.hour(AT, 4), *stream.hour(LATER, 2), stream.key(AT, error="processing-failed"))
    far, archive = moto.bucket(objects), between.archive
    bucket = archive.bucket()
    between.signal_at(2)
    between.run("put", f"s3://{far}/", f"ds3://{bucket}/in/", *AT_ONCE, "-j", "1").expect(130)
    (work,) = archive.run("job", "ls", "--local", "-o", "json").expect().json
    assert work["paths"] == [f"s3://{far}/"]
    moto.client().put_object(Bucket=far, Key=stream.key(AT, 9), Body=b"late")
    archive.run("resume").expect()
    assert fetched(archive, bucket) == {f"in/{key}": data for key, data in objects.items()}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("s3://far/in/", "ds3://b/", "--margin", "1h"), 2, "--margin is for a layout, and none is given"),
        (("s3://far/in/", "ds3://b/", "--error-prefixes", "skip"), 2, "--error-prefixes is for a layout"),
        (("s3://far/in/*.gz", "ds3://b/", *LAYOUT), 2, "is a pattern"),
        (("s3://far/in/", "ds3://b/", *LAYOUT, "--raw"), 2, "--raw means nothing with --layout"),
        (("s3://far/in/", "ds3://b/", *LAYOUT, "--timezone", "Mars"), 2, "not a time zone"),
        (("s3://far/in/", "ds3://b/", *LAYOUT, "--margin", "soon"), 2, "not a duration"),
        ((".", "ds3://b/", *LAYOUT), 2, "--layout means nothing for files of this host"),
        (("s3://no-such-bucket-here/", "ds3://b/", *LAYOUT), 4, "no-such-bucket-here"),
    ],
)
def test_a_mistake_gets_a_sentence_and_its_exit_code(
    archive: Archive, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """What means nothing is told before anything is asked of either side."""
    assert said in archive.run("put", *arguments).expect(code).stderr


def test_a_list_of_names_does_not_go_with_hours(archive: Archive, moto: FarSide, tmp_path: Path) -> None:
    """Which objects are put is told by what is closed, and by no list."""
    far, bucket = moto.bucket(named(CLICKS.key(AT))), archive.bucket()
    (tmp_path / "list").write_text("data/x\n")
    line = ("put", f"s3://{far}/", f"ds3://{bucket}/", *LAYOUT, "--files-from", str(tmp_path / "list"))
    assert "--files-from names what is put" in archive.run(*line).expect(2).stderr
