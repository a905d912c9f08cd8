"""Programs for S3 that nobody here wrote do their everyday work: curl, s3cmd, rclone, all with signature version 2.

The AWS command line is not among them: since its endpoints come from rules it signs with version 4 whatever its
configuration says, which no BlackPearl understands.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ds3tool.simulator import Appliance
from tests.foreign.conftest import BIG_BOOK
from tests.foreign.signed import Keys

TREE = {"a+b ü.txt": b"A", "sub dir/c": b"C" * 5000, "sub dir/empty": b""}
BIG = BIG_BOOK * 2  # more than one part of 5 MiB


@dataclass(frozen=True)
class Program:
    """A program with the options that every call of it has."""

    start: tuple[str, ...]
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """Run it; return what it printed. A failure that is not expected shows all of it."""
        command = [*self.start, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env={**os.environ, **self.environment}, check=False
        )
        assert (done.returncode != 0) == fails, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def program(name: str) -> str:
    """Return where a program is: beside this Python, or on the path; else skip the test and say why."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of files, one big one beside it."""
    for name, data in TREE.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "big").write_bytes(BIG)
    return tmp_path / "tree"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def curl(appliance: Appliance) -> Callable[..., str]:
    """curl with a signature made by hand: two headers."""
    start = (program("curl"), "-sS", "--fail-with-body", "--noproxy", "*")
    keys = Keys(appliance.access_key, appliance.secret_key)

    def call(verb: str, target: str, *options: str, fails: bool = False) -> str:
        date = email.utils.formatdate(usegmt=True)
        authorization = keys.authorization(verb, "", "", date, target.partition("?")[0])
        headers = ("-H", f"Date: {date}", "-H", f"Authorization: {authorization}", "-X", verb)
        return Program(start, {})(*headers, *options, appliance.endpoint + target, fails=fails)

    return call


def test_curl_puts_lists_gets_and_deletes(curl: Callable[..., str], bucket_name: str, tree: Path) -> None:
    """Any HTTP client does, given the two headers; a plus sign in a query is a blank."""
    curl("PUT", f"/{bucket_name}")
    assert f"<Name>{bucket_name}</Name>" in curl("GET", "/")
    curl("PUT", f"/{bucket_name}/from%20curl", "-T", str(tree.parent / "big"), "-H", "Expect: 100-continue")
    got = tree.parent / "got"
    curl("GET", f"/{bucket_name}/from%20curl", "-o", str(got))
    assert got.read_bytes() == BIG
    curl("GET", f"/{bucket_name}/from%20curl", "-r", "10-19", "-o", str(got))
    assert got.read_bytes() == BIG[10:20]
    assert "<Key>from curl</Key>" in curl("GET", f"/{bucket_name}?prefix=from+")
    assert "BucketNotEmpty" in curl("DELETE", f"/{bucket_name}", fails=True)
    curl("DELETE", f"/{bucket_name}/from%20curl")
    assert "<Key>" not in curl("GET", f"/{bucket_name}")
    curl("DELETE", f"/{bucket_name}")


@pytest.fixture
def s3cmd(appliance: Appliance, tmp_path: Path) -> Program:
    host = appliance.endpoint.removeprefix("http://")
    config = tmp_path / "s3cfg"
    config.write_text(
        f"[default]\naccess_key = {appliance.access_key}\nsecret_key = {appliance.secret_key}\nhost_base = {host}\n"
        f"host_bucket = {host}\nuse_https = False\nsignature_v2 = True\nmultipart_chunk_size_mb = 5\nmax_retries = 1\n"
    )
    return Program((program("s3cmd"), "-c", str(config), "--no-progress"), {"LC_ALL": "C.UTF-8"})


def test_s3cmd_puts_lists_gets_and_deletes(s3cmd: Program, bucket_name: str, tree: Path) -> None:
    """A bucket, a tree of files there and back, one file alone, and all of it away."""
    address = f"s3://{bucket_name}"
    s3cmd("mb", address)
    assert address in s3cmd("ls")
    s3cmd("put", "-r", f"{tree}/", f"{address}/tree/")
    listed = s3cmd("ls", "-r", address)
    assert all(f"{address}/tree/{name}" in listed for name in TREE)
    (tree.parent / "back").mkdir()
    s3cmd("get", "-r", f"{address}/tree/", f"{tree.parent}/back/")
    assert files_below(tree.parent / "back") == TREE
    assert hashlib.md5(b"A").hexdigest() in s3cmd("info", f"{address}/tree/a+b ü.txt")
    s3cmd("del", "-r", "--force", f"{address}/")
    s3cmd("rb", address)
    assert "NoSuchBucket" in s3cmd("ls", address, fails=True)


def test_s3cmd_sends_in_parts(s3cmd: Program, bucket_name: str, tree: Path) -> None:
    """Two parts make one object, and nothing is under way after that."""
    address = f"s3://{bucket_name}"
    s3cmd("mb", address)
    s3cmd("put", str(tree.parent / "big"), f"{address}/big")
    assert str(len(BIG)) in s3cmd("ls", f"{address}/big")
    assert "big" not in s3cmd("multipart", address).partition("\n")[2]


@pytest.mark.more
def test_rclone_copies_checks_syncs_and_purges(appliance: Appliance, bucket_name: str, tree: Path) -> None:
    """Its listings agree with the folder after each; large files go up in parts and come down in ranges."""
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": appliance.endpoint,
        "ACCESS_KEY_ID": appliance.access_key,
        "SECRET_ACCESS_KEY": appliance.secret_key,
        "V2_AUTH": "true",
        "FORCE_PATH_STYLE": "true",
    }
    environment = {
        "RCLONE_CONFIG": os.devnull,
        **{f"RCLONE_CONFIG_BP_{name}": value for name, value in settings.items()},
    }
    rclone = Program((program("rclone"), "--retries", "1", "--low-level-retries", "1"), environment)
    far = f"bp:{bucket_name}"
    rclone("mkdir", far)
    assert bucket_name in rclone("lsd", "bp:")
    rclone("copy", str(tree), f"{far}/tree")
    assert sorted(rclone("lsf", "-R", "--files-only", f"{far}/tree").splitlines()) == sorted(TREE)
    assert "0 differences found" in rclone("check", str(tree), f"{far}/tree")
    rclone("sync", str(tree), f"{far}/tree")
    (tree / "a+b ü.txt").unlink()
    rclone("sync", str(tree), f"{far}/tree")
    rclone("copy", f"{far}/tree", str(tree.parent / "back"))
    assert files_below(tree.parent / "back") == files_below(tree) == {k: v for k, v in TREE.items() if "/" in k}
    assert rclone("cat", "--offset", "2", "--count", "3", f"{far}/tree/sub dir/c") == "CCC"
    rclone("copyto", str(tree.parent / "big"), f"{far}/big")
    rclone("copyto", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", str(tree.parent / "big"), f"{far}/in-parts")
    for name in ("big", "in-parts"):
        rclone("copyto", f"{far}/{name}", str(tree.parent / f"{name}-back"))
        assert (tree.parent / f"{name}-back").read_bytes() == BIG
    rclone("deletefile", f"{far}/big")
    rclone("purge", far)
    assert bucket_name not in rclone("lsd", "bp:")
