"""The other end of jobs in tests: real S3 servers on free ports, with credentials, and a quick way to a bucket."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NUMBERS = itertools.count(1)
REGION = "us-east-1"


@dataclass(frozen=True)
class FarSide:
    """A running service with credentials; `environ` is what boto3 finds it by, `master` what gives SeaweedFS room."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    master: str | None = None

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment in which boto3, and so the tool, talks to it without a word more."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str = "s3") -> Any:  # noqa: ANN401  # boto3 makes its types at run time
        """Return a boto3 client of it, a new one."""
        return _client(self, service)

    @property
    def shared(self) -> Any:  # noqa: ANN401
        """A client of S3 that is always the same, and whose handlers nobody changes: to make one takes 0.1 s of CPU."""
        return _shared(self)

    def bucket(self, objects: Mapping[str, bytes] | None = None) -> str:
        """Make a bucket of a new name with these objects; return the name."""
        name = f"far-{os.getpid()}-{next(_NUMBERS)}"
        client = self.shared
        client.create_bucket(Bucket=name)
        if self.master is not None:
            # SeaweedFS gives a bucket its first volume when something is written, and waits 0.2 s for that.
            with urllib.request.urlopen(f"{self.master}/vol/grow?collection={name}&count=1") as grown:
                grown.read()
        for key, data in (objects or {}).items():
            client.put_object(Bucket=name, Key=key, Body=data)
        return name

    def contents(self, bucket: str) -> dict[str, bytes]:
        """Return what is in a bucket."""
        client = self.shared
        return {
            one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for one in page.get("Contents", ())
        }

    def uploads(self, bucket: str) -> list[str]:
        """Return the keys of multipart uploads that nobody has completed or aborted."""
        return [one["Key"] for one in self.shared.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


@functools.cache
def _shared(far: FarSide) -> Any:  # noqa: ANN401
    return _client(far, "s3")


def _client(far: FarSide, service: str) -> Any:  # noqa: ANN401
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=far.endpoint,
        aws_access_key_id=far.access_key,
        aws_secret_access_key=far.secret_key,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
    )


def _free_ports(count: int) -> list[int]:
    """Return free ports whose own number plus 10,000 is free too: SeaweedFS speaks gRPC there."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            if port > 55_000:
                continue
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port + 10_000)))
            except OSError:
                continue
            found.append(port)
    return found


@contextmanager
def seaweed() -> Iterator[FarSide]:
    """Run SeaweedFS: strict about checksums and signatures; it folds odd keys and knows no Glacier."""
    folder = Path(tempfile.mkdtemp(prefix="ds3tool-seaweed-"))
    access_key, secret_key = "far-key", "far-secret"
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "admin",
                        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
                    }
                ]
            }
        )
    )
    (folder / "data").mkdir()
    s3, master, volume, filer = _free_ports(4)
    arguments = [
        str(Path(sys.executable).with_name("weed")),
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.port={s3}",
        f"-s3.config={config}",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        f"-master.port={master}",
        f"-volume.port={volume}",
        # Each bucket takes volumes of its own, and how many there may be is else a matter of the free disk space.
        "-volume.max=10000",
        "-master.volumeSizeLimitMB=1024",
        f"-filer.port={filer}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=folder)
    far = FarSide("seaweed", f"http://127.0.0.1:{s3}", access_key, secret_key, f"http://127.0.0.1:{master}")
    try:
        _until_it_answers(far, process, folder / "log")
        yield far
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _until_it_answers(far: FarSide, process: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    client = far.client()
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"1")
            return
        except (BotoCoreError, ClientError) as error:
            told = log.read_text(errors="replace")[-2000:]
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS does not answer: {told}") from error
            time.sleep(0.05)


@contextmanager
def moto() -> Iterator[FarSide]:
    """Run moto in this process: any key, Glacier, SNS, Firehose; it takes wrong checksums for right."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield FarSide("moto", f"http://{host}:{port}", "testing", "testing")
    finally:
        server.stop()
