"""Objects in S3's archive: named with the way out, or restored first, waited for and put."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ds3tool.aws.restore import Archived, Restoring, Waiting
from ds3tool.aws.tiers import Tier
from ds3tool.clock import ManualClock
from ds3tool.errors import FarSideError, FarSideForbiddenError
from tests.cli.archive import Archive
from tests.far.servers import FarSide


class Glacier:
    """Restores objects after so many looks at each; `refusals` are what it says instead, by key."""

    def __init__(self, looks: Mapping[str, int], refusals: Mapping[str, str] | None = None) -> None:
        self.left = dict(looks)
        self.refusals = dict(refusals or {})
        self.asked: Counter[tuple[str, int, str]] = Counter()
        self.looked = 0

    def restore_object(self, *, Bucket: str, Key: str, RestoreRequest: Mapping[str, Any]) -> None:  # noqa: N803
        if Key in self.refusals:
            raise _refusal(self.refusals[Key])
        self.asked[Key, RestoreRequest["Days"], RestoreRequest["GlacierJobParameters"]["Tier"]] += 1

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, str]:  # noqa: N803
        self.looked += 1
        if Key not in self.left:
            raise _refusal("NoSuchKey")
        self.left[Key] -= 1
        return {"StorageClass": "GLACIER", "Restore": f'ongoing-request="{str(self.left[Key] >= 0).lower()}"'}


def _refusal(code: str) -> ClientError:
    status = {"NoSuchKey": 404, "RestoreAlreadyInProgress": 409, "GlacierExpeditedRetrievalNotAvailable": 503}
    about = {"HTTPStatusCode": status.get(code, 403)}
    return ClientError({"Error": {"Code": code, "Message": code}, "ResponseMetadata": about}, "Any")


def archived(*keys: str) -> list[Archived]:
    return [Archived("bucket", key, 10) for key in keys]


def restored(glacier: Glacier, *keys: str, tier: Tier = Tier.BULK) -> tuple[Restoring, ManualClock, list[Waiting]]:
    """Restore these objects and wait for them, in no time."""
    clock, told = ManualClock(), list[Waiting]()
    restoring = Restoring(glacier, tier=tier, days=3, clock=clock)
    restoring.ask(archived(*keys))
    restoring.wait(told.append)
    return restoring, clock, told


# -- asking and waiting ------------------------------------------------------------------------------------------------


def test_objects_are_asked_for_once_and_waited_for_ever_more_patiently() -> None:
    """Hours are waited for with a look each quarter of an hour at last; how far it is, is told before each pause."""
    glacier = Glacier({"a": 10, "b": 2})
    restoring, clock, told = restored(glacier, "a", "b")
    assert glacier.asked == {("a", 3, "Bulk"): 1, ("b", 3, "Bulk"): 1}
    assert (restoring.objects, restoring.bytes) == (2, 20)
    assert clock.waits == [15, 30, 60, 120, 240, 480, 900, 900, 900, 900]
    assert [(one.ready, one.total) for one in told] == [(0, 2)] * 2 + [(1, 2)] * 8


def test_of_many_that_are_not_there_yet_most_are_not_looked_at() -> None:
    """A look at a hundred thousand objects each quarter of an hour would be a bill of its own."""
    keys = [f"{number:05}" for number in range(1000)]
    glacier = Glacier(dict.fromkeys(keys, 1))
    _, clock, _ = restored(glacier, *keys)
    assert glacier.looked < 1000 + 64 * (len(clock.waits) + 1)


def test_what_is_being_restored_already_is_waited_for_and_what_needs_it_not_is_not() -> None:
    """So the same command can be run again; what is gone is left to whoever reads it."""
    refusals = {"coming": "RestoreAlreadyInProgress", "there": "InvalidObjectState", "gone": "NoSuchKey"}
    glacier = Glacier({"coming": 1, "deleted": 0}, refusals)
    restoring, clock, _ = restored(glacier, "coming", "there", "gone")
    assert (restoring.objects, clock.waits) == (1, [15])
    glacier = Glacier({})
    restoring, clock, _ = restored(glacier, "deleted-meanwhile")
    assert (restoring.objects, clock.waits) == (1, [])


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("AccessDenied", FarSideForbiddenError, "AccessDenied"),
        ("GlacierExpeditedRetrievalNotAvailable", FarSideError, "cannot be restored that quickly now"),
    ],
)
def test_a_refusal_ends_it_before_anything_is_waited_for(code: str, kind: type[FarSideError], words: str) -> None:
    """What nobody may restore, or not that quickly, would be refused for every other object too."""
    with pytest.raises(kind, match=words) as told:
        restored(Glacier({}, {"a": code}), "a", tier=Tier.EXPEDITED)
    assert "s3://bucket/a" in told.value.message


# -- as an operator types it -------------------------------------------------------------------------------------------


@pytest.fixture
def archive(archive: Archive, moto: FarSide) -> Archive:
    """The appliance, with what the commands need to know of S3."""
    return Archive(archive.appliance, archive.client, {**archive.environ, **moto.environ})


@pytest.fixture
def source(moto: FarSide) -> str:
    """A bucket with two objects in its archive, and one that is not."""
    bucket = moto.bucket({"in/warm": b"warm"})
    for name, kind in {"in/cold.mxf": "GLACIER", "in/deep": "DEEP_ARCHIVE"}.items():
        moto.client().put_object(Bucket=bucket, Key=name, Body=name.encode(), StorageClass=kind)
    return bucket


def test_what_is_archived_fails_by_name_with_the_way_out(archive: Archive, source: str) -> None:
    """Nothing is restored, which costs money, unless somebody asks for it; a dry run never does."""
    target = archive.bucket()
    put = ("put", f"s3://{source}/in/", f"ds3://{target}")
    for options in ((), ("--dry-run",)):
        failed = archive.run(*put, *options).expect(3)
        assert f"s3://{source}/in/cold.mxf is GLACIER and not restored" in failed.stderr
        assert f"s3://{source}/in/deep is DEEP_ARCHIVE and not restored" in failed.stderr
        assert "--restore-tier" in failed.stderr
    both = archive.run("put", f"s3://{source}/in/deep", f"s3://{source}/in/cold.mxf", f"ds3://{target}/").expect(3)
    assert both.stderr.count("and not restored") == 2
    assert archive.keys(target) == ["warm"]


def test_a_saved_plan_of_archived_objects_fails_them_by_name_until_they_are_restored(
    archive: Archive, moto: FarSide, source: str, tmp_path: Path
) -> None:
    """A plan restores nothing itself; what was restored meanwhile is put."""
    target, kept, client = archive.bucket(), str(tmp_path / "kept.plan"), moto.client()
    put = ("put", f"s3://{source}/in/", f"ds3://{target}", "--restore-tier", "bulk")
    archive.run("plan", *put, "--save", kept).expect()
    client.restore_object(Bucket=source, Key="in/deep", RestoreRequest={"Days": 1})
    ran = archive.run("plan", "run", kept).expect(3)
    assert f"s3://{source}/in/cold.mxf is GLACIER and not restored" in ran.stderr
    assert archive.keys(target) == ["deep", "warm"]


def test_what_is_chosen_and_archived_is_restored_and_then_put(archive: Archive, moto: FarSide, source: str) -> None:
    """Only what the options choose is asked for; content and class are as they were."""
    target = archive.bucket()
    put = ("put", f"s3://{source}/in/", f"ds3://{target}", "--exclude", "deep", "--restore-tier", "standard")
    told = archive.run(*put, "--restore-days", "2").expect()
    assert "1 object, 11 B: asked back from the archive in S3" in told.stderr
    assert archive.keys(target) == ["cold.mxf", "warm"]
    assert archive.client.head_object(target, "cold.mxf").metadata["ds3tool-storage-class"] == "GLACIER"
    client = moto.client()
    assert "Restore" not in client.head_object(Bucket=source, Key="in/deep")
    assert "Restore" in client.head_object(Bucket=source, Key="in/cold.mxf")


def test_a_dry_run_shows_what_would_be_put_once_it_is_restored(archive: Archive, moto: FarSide, source: str) -> None:
    """With a tier an archived object is no failure, and nothing is asked for."""
    put = ("put", f"s3://{source}/in/", f"ds3://{archive.bucket()}", "--restore-tier", "bulk")
    tried = archive.run(*put, "--dry-run").expect()
    assert "2 objects, 18 B: would be asked back from the archive in S3 first" in tried.stderr
    assert "not restored" not in tried.stderr
    assert "would put 3 objects" in tried.stdout
    assert "Restore" not in moto.client().head_object(Bucket=source, Key="in/deep")


@pytest.mark.parametrize("rule", ["skip-same", "skip"])
def test_what_is_there_already_is_skipped_and_not_restored_again(
    archive: Archive, moto: FarSide, source: str, rule: str
) -> None:
    """Restored copies go after some days; who puts the same again pays for none of what the appliance has."""
    client, target = moto.client(), archive.bucket()
    put = ("put", f"s3://{source}/in/", f"ds3://{target}", "-o", "json", "--if-exists", rule)
    archive.run(*put, "--restore-tier", "bulk").expect()
    for name, kind in {"in/cold.mxf": "GLACIER", "in/deep": "DEEP_ARCHIVE", "in/new": "GLACIER"}.items():
        client.put_object(Bucket=source, Key=name, Body=name.encode(), StorageClass=kind)
    again = archive.run(*put).expect(3)
    assert again.json["skipped"] == 3
    assert f"s3://{source}/in/new is GLACIER and not restored" in again.stderr
    tried = archive.run(*put, "--restore-tier", "bulk", "--dry-run").expect()
    assert "1 object, 6 B: would be asked back" in tried.stderr
    assert (tried.json["skipped"], tried.json["objects"]) == (3, 1)
    told = archive.run(*put, "--restore-tier", "bulk").expect()
    assert "1 object, 6 B: asked back" in told.stderr
    assert (told.json["skipped"], archive.keys(target)) == (3, ["cold.mxf", "deep", "new", "warm"])
    restored = {
        key for key in ("cold.mxf", "deep", "new") if "Restore" in client.head_object(Bucket=source, Key=f"in/{key}")
    }
    assert restored == {"new"}


def test_what_is_there_and_another_is_not_restored_to_fail(archive: Archive, moto: FarSide, source: str) -> None:
    """Overwriting restores it first, and what nobody restores takes nothing from the appliance."""
    client, target = moto.client(), archive.bucket()
    put = ("put", f"s3://{source}/in/", f"ds3://{target}", "--restore-tier", "bulk", "--include", "deep")
    archive.run(*put).expect()
    client.put_object(Bucket=source, Key="in/deep", Body=b"IN/DEEP", StorageClass="GLACIER")
    failed = archive.run(*put).expect(3)
    assert "is in the bucket already, and is not the same" in failed.stderr
    assert "Restore" not in client.head_object(Bucket=source, Key="in/deep")
    over = ("--if-exists", "overwrite", "--yes")
    archive.run("put", f"s3://{source}/in/deep", f"ds3://{target}/deep", *over).expect(3)
    assert archive.client.head_object(target, "deep").metadata["ds3tool-etag"] == hashlib.md5(b"in/deep").hexdigest()
    archive.run(*put, *over).expect()
    assert archive.client.head_object(target, "deep").metadata["ds3tool-etag"] == hashlib.md5(b"IN/DEEP").hexdigest()


def test_ctrl_c_while_waiting_says_that_s3_goes_on(
    archive: Archive, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was begun on the appliance; the same command again waits for the rest."""

    def wait(_restoring: Restoring, tell: object) -> None:
        del tell
        signal.raise_signal(signal.SIGTERM)

    target = archive.bucket()
    put = ("put", f"s3://{source}/in/", f"ds3://{target}", "--restore-tier", "bulk")
    with monkeypatch.context() as patched:
        patched.setattr(Restoring, "wait", wait)
        stopped = archive.run(*put).expect(130)
    assert "S3 goes on with it; run the same command again" in stopped.stderr
    assert archive.keys(target) == []
    assert archive.run("job", "ls", "--local", "-o", "json").expect().json == []
    archive.run(*put).expect()
    assert archive.keys(target) == ["cold.mxf", "deep", "warm"]
