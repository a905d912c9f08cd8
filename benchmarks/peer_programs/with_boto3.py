"""Put or get a folder of files with boto3's transfer manager, the classic one or that of the CRT.

Run by the Python that the peers are installed for: `python with_boto3.py put|get ENDPOINT FOLDER PREFIX [options]`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

BUCKET = "bench"
REGION = "us-east-1"


def classic(client: Any, asked: argparse.Namespace) -> Any:  # noqa: ANN401 - these libraries have no types
    """Return the manager that is written in Python."""
    from s3transfer.manager import TransferConfig, TransferManager

    settings = {"max_request_concurrency": asked.at_once} if asked.at_once else {}
    if asked.part_size:
        settings |= {"multipart_chunksize": asked.part_size, "multipart_threshold": asked.part_size}
    return TransferManager(client, TransferConfig(**settings))


def with_crt(asked: argparse.Namespace) -> Any:  # noqa: ANN401
    """Return the manager of the AWS common runtime, which is written in C."""
    from s3transfer.crt import (
        BotocoreCRTCredentialsWrapper,
        BotocoreCRTRequestSerializer,
        CRTTransferManager,
        create_s3_crt_client,
    )

    session = botocore.session.get_session()
    provider = BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider()
    options = {"part_size": asked.part_size} if asked.part_size else {}
    client = create_s3_crt_client(REGION, provider, use_ssl=False, **options)
    settings = {"region_name": REGION, "endpoint_url": asked.endpoint, "config": _config(lean=asked.lean)}
    return CRTTransferManager(client, BotocoreCRTRequestSerializer(session, settings))


def _config(*, lean: bool) -> Config:
    own = {"payload_signing_enabled": False} if lean else {}
    return Config(s3={"addressing_style": "path", **own}, max_pool_connections=64)


def main() -> None:
    """Move everything, and raise what fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["put", "get"])
    parser.add_argument("endpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("prefix")
    parser.add_argument("--crt", action="store_true")
    parser.add_argument("--at-once", type=int)
    parser.add_argument("--part-size", type=int)
    parser.add_argument("--lean", action="store_true", help="sign no bodies")
    asked = parser.parse_args()
    client = boto3.client("s3", endpoint_url=asked.endpoint, region_name=REGION, config=_config(lean=asked.lean))
    with with_crt(asked) if asked.crt else classic(client, asked) as manager:
        if asked.what == "put":
            futures = [
                manager.upload(str(path), BUCKET, asked.prefix + path.relative_to(asked.folder).as_posix())
                for path in sorted(asked.folder.rglob("*"))
                if path.is_file()
            ]
        else:
            futures = []
            made = set()
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=asked.prefix)
            for item in (item for page in pages for item in page.get("Contents", [])):
                target = asked.folder / item["Key"].removeprefix(asked.prefix)
                if target.parent not in made:
                    os.makedirs(target.parent, exist_ok=True)
                    made.add(target.parent)
                futures.append(manager.download(BUCKET, item["Key"], str(target)))
        for future in futures:
            future.result()


if __name__ == "__main__":
    main()
