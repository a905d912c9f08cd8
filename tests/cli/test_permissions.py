"""What a user may not do ends with exit code 6 and says what is missing; what is given is enough for its commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.archive import Archive
from tests.cli.runner import Run, run
from tests.simulator.wire import Wire


class Guest:
    """A user of the archive's appliance who owns nothing."""

    def __init__(self, archive: Archive, name: str) -> None:
        self.name = name
        self._archive = archive
        appliance = archive.appliance
        self._wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        user = self._wire.ask("POST", f"/_rest_/user?name={name}").xml
        self._environ = {
            "DS3_ENDPOINT": appliance.endpoint,
            "DS3_ACCESS_KEY": user.findtext("AuthId") or "",
            "DS3_SECRET_KEY": user.findtext("SecretKey") or "",
        }

    def close(self) -> None:
        """Hang up."""
        self._wire.close()

    def may(self, bucket: str, *permissions: str) -> None:
        """Give permissions on a bucket."""
        for permission in permissions:
            query = f"bucket_id={bucket}&user_id={self.name}&permission={permission}"
            assert self._wire.ask("POST", f"/_rest_/bucket_acl?{query}").status == 201

    def run(self, *arguments: str) -> Run:
        """Run a command as this user."""
        return run(*arguments, environ=self._environ)


@pytest.fixture
def guest(archive: Archive) -> Iterator[Guest]:
    """A new user."""
    guest = Guest(archive, f"guest-{archive.bucket()}")
    yield guest
    guest.close()


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (["ls", "ds3://{bucket}"], "the permission LIST on the bucket '{bucket}'"),
        (["get", "ds3://{bucket}/one", "{folder}"], "the permission LIST on the bucket '{bucket}'"),
        (["put", "{file}", "ds3://{bucket}/"], "the permission LIST on the bucket '{bucket}'"),
        (["rm", "-y", "ds3://{bucket}/one"], "the permission DELETE on the bucket '{bucket}'"),
        (["rb", "ds3://{bucket}"], "the permission OWNER on the bucket '{bucket}'"),
        (["tape", "eject", "SIM001L8"], "is no administrator"),
    ],
)
def test_who_has_no_permission_is_told_which(
    archive: Archive, guest: Guest, tmp_path: Path, command: list[str], needed: str
) -> None:
    """Exit code 6, the user's name, what is missing, and on what."""
    bucket = archive.bucket("one")
    file = tmp_path / "file"
    file.write_bytes(b"file")
    places = {"bucket": bucket, "folder": str(tmp_path / "got"), "file": str(file)}
    told = guest.run(*(part.format(**places) for part in command)).expect(6)
    assert f"The user '{guest.name}'" in told.stderr
    assert needed.format(**places) in told.stderr
    assert archive.keys(bucket) == ["one"]


def test_what_is_given_is_enough(archive: Archive, guest: Guest, tmp_path: Path) -> None:
    """LIST and READ get, LIST and WRITE put, neither does what the other does; other buckets are not listed."""
    bucket, other = archive.bucket("one"), archive.bucket("hidden")
    file = tmp_path / "file"
    file.write_bytes(b"file")
    guest.may(bucket, "LIST", "READ")
    assert [row["name"] for row in guest.run("ls", "-o", "json").expect().json] == [bucket]
    guest.run("get", f"ds3://{bucket}/one", str(tmp_path / "one")).expect()
    assert (tmp_path / "one").read_bytes() == b"one"
    told = guest.run("put", str(file), f"ds3://{bucket}/").expect(6)
    assert f"needs the permission WRITE on the bucket '{bucket}'" in told.stderr
    guest.may(other, "LIST", "WRITE")
    guest.run("put", str(file), f"ds3://{other}/").expect()
    assert archive.keys(other) == ["file", "hidden"]
    told = guest.run("get", f"ds3://{other}/file", str(tmp_path / "no")).expect(6)
    assert f"needs the permission READ on the bucket '{other}'" in told.stderr
