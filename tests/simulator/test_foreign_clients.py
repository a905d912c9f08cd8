"""Clients that nobody here wrote: boto3 and curl."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.simulator.conftest import Bench, Build

# boto3 ships no types.
Client: TypeAlias = Any


@pytest.fixture
def s3(build: Build) -> Iterator[Client]:
    """boto3 with signature version 2, path style."""
    bench = build(bucket=None)
    client = boto3.client(
        "s3",
        endpoint_url=bench.appliance.endpoint,
        aws_access_key_id=bench.appliance.access_key,
        aws_secret_access_key=bench.appliance.secret_key,
        region_name="us-east-1",
        config=Config(
            signature_version="s3",
            s3={"addressing_style": "path"},
            retries={"max_attempts": 0},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    yield client
    client.close()


def test_boto3_puts_lists_gets_and_deletes(s3: Client) -> None:
    """The plain round of an S3 client."""
    s3.create_bucket(Bucket="data")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["data"]
    s3.head_bucket(Bucket="data")
    assert s3.get_bucket_location(Bucket="data")["LocationConstraint"] is None
    keys = ["a b+c;d%2Fe.txt", "dir/x", "dir/ü", "z"]
    for key in keys:
        s3.put_object(Bucket="data", Key=key, Body=key.encode(), Metadata={"origin": "boto3"})
    assert [each["Key"] for each in s3.list_objects(Bucket="data")["Contents"]] == keys
    pages = s3.get_paginator("list_objects").paginate(Bucket="data", PaginationConfig={"PageSize": 1})
    assert [each["Key"] for page in pages for each in page["Contents"]] == keys
    grouped = s3.list_objects(Bucket="data", Delimiter="/")
    assert [each["Prefix"] for each in grouped["CommonPrefixes"]] == ["dir/"]
    for key in keys:
        got = s3.get_object(Bucket="data", Key=key)
        assert got["Body"].read() == key.encode()
        assert got["Metadata"] == {"origin": "boto3"}
    head = s3.head_object(Bucket="data", Key="dir/ü")
    assert head["ContentLength"] == len("dir/ü".encode())
    part = s3.get_object(Bucket="data", Key="z", Range="bytes=0-0")
    assert (part["ResponseMetadata"]["HTTPStatusCode"], part["Body"].read()) == (206, b"z")
    answer = s3.delete_objects(Bucket="data", Delete={"Objects": [{"Key": key} for key in keys[:2]]})
    assert [each["Key"] for each in answer["Deleted"]] == keys[:2]
    s3.delete_object(Bucket="data", Key="z")
    s3.delete_object(Bucket="data", Key=keys[2])
    s3.delete_bucket(Bucket="data")


def test_boto3_is_told_why_it_is_refused(s3: Client) -> None:
    """The error document reaches its exceptions."""
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="none", Key="x")
    assert caught.value.response["Error"]["Code"] == "NoSuchBucket"
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="x", Body=b"1")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="data", Key="x", Body=b"2")
    assert caught.value.response["Error"]["Code"] == "OBJECT_ALREADY_EXISTS"
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket="data", Key="none")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_boto3_sends_and_fetches_a_large_object(s3: Client) -> None:
    """A body larger than what is kept in memory, with its own MD5 checked."""
    data = bytes(range(256)) * 8192
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="large", Body=data)
    assert s3.get_object(Bucket="data", Key="large")["Body"].read() == data


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
def test_curl_with_a_signed_header_lists_puts_and_gets(bench: Bench, tmp_path: Path) -> None:
    """Any HTTP client does, given the two headers."""
    source = tmp_path / "source"
    source.write_bytes(b"c" * 3_000_000)

    def curl(verb: str, target: str, *options: str) -> bytes:
        signed = bench.wire.signed_headers(verb, target, {})
        headers = [part for name, value in signed.items() for part in ("-H", f"{name}: {value}")]
        command = ["curl", "-sS", "--fail-with-body", "--noproxy", "*", "-X", verb, *headers, *options]
        return subprocess.run([*command, bench.appliance.endpoint + target], capture_output=True, check=True).stdout

    assert b"<Name>b</Name>" in curl("GET", "/")
    curl("PUT", "/b/from%20curl", "-T", str(source), "-H", "Expect: 100-continue")
    assert curl("GET", "/b/from%20curl") == source.read_bytes()
    assert curl("GET", "/b/from%20curl", "-r", "10-19") == b"c" * 10
    assert b"<Key>from curl</Key>" in curl("GET", "/b")
    curl("DELETE", "/b/from%20curl")
    assert b"<Key>" not in curl("GET", "/b")
