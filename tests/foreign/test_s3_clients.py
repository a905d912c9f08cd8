"""boto3 with signature version 2 does its everyday work against the appliance."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, TypeAlias

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from ds3tool.simulator import Appliance
from tests.foreign.conftest import BIG_BOOK

# boto3 ships no types.
Client: TypeAlias = Any

_MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(appliance: Appliance) -> Iterator[Client]:
    """boto3 with signature version 2, path style."""
    client = boto3.client(
        "s3",
        endpoint_url=appliance.endpoint,
        aws_access_key_id=appliance.access_key,
        aws_secret_access_key=appliance.secret_key,
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


@pytest.fixture
def bucket(s3: Client, bucket_name: str) -> str:
    s3.create_bucket(Bucket=bucket_name)
    return bucket_name


def test_boto3_puts_lists_gets_and_deletes(s3: Client, bucket: str) -> None:
    """The plain round of an S3 client."""
    assert bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    keys = ["a b+c;d%2Fe.txt", "dir/x", "dir/ü", "z"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), Metadata={"origin": "boto3"})
    assert [each["Key"] for each in s3.list_objects(Bucket=bucket)["Contents"]] == keys
    pages = s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert [each["Key"] for page in pages for each in page["Contents"]] == keys
    grouped = s3.list_objects(Bucket=bucket, Delimiter="/")
    assert [each["Prefix"] for each in grouped["CommonPrefixes"]] == ["dir/"]
    for key in keys:
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == key.encode()
        assert got["Metadata"] == {"origin": "boto3"}
    head = s3.head_object(Bucket=bucket, Key="dir/ü")
    assert head["ContentLength"] == len("dir/ü".encode())
    part = s3.get_object(Bucket=bucket, Key="z", Range="bytes=0-0")
    assert (part["ResponseMetadata"]["HTTPStatusCode"], part["Body"].read()) == (206, b"z")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys[:2]]})
    assert [each["Key"] for each in answer["Deleted"]] == keys[:2]
    s3.delete_object(Bucket=bucket, Key="z")
    s3.delete_object(Bucket=bucket, Key=keys[2])
    s3.delete_bucket(Bucket=bucket)


def test_boto3_is_told_why_it_is_refused(s3: Client, bucket: str) -> None:
    """The error document reaches its exceptions."""
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="none", Key="x")
    assert caught.value.response["Error"]["Code"] == "NoSuchBucket"
    s3.put_object(Bucket=bucket, Key="x", Body=b"1")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="x", Body=b"2")
    assert caught.value.response["Error"]["Code"] == "OBJECT_ALREADY_EXISTS"
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket=bucket, Key="none")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_boto3_sends_and_fetches_a_large_object(s3: Client, bucket: str) -> None:
    """A body larger than what is kept in memory, with its own MD5 checked."""
    s3.put_object(Bucket=bucket, Key="large", Body=BIG_BOOK)
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == BIG_BOOK


def test_boto3_sends_and_fetches_in_parts(s3: Client, bucket: str) -> None:
    """Its transfer manager's parts make one object of as many blobs, which it fetches by ranges, or alone."""
    data = BIG_BOOK * 4
    settings = TransferConfig(multipart_threshold=5 * _MIB, multipart_chunksize=5 * _MIB, max_concurrency=3)
    s3.upload_fileobj(io.BytesIO(data), bucket, "parts", Config=settings)
    head = s3.head_object(Bucket=bucket, Key="parts")
    assert head["ContentLength"] == len(data)
    assert head["ETag"].strip('"').endswith("-3")
    parts = [
        s3.get_object(Bucket=bucket, Key="parts", Range=f"bytes={start}-{min(start + 5 * _MIB, len(data)) - 1}")
        for start in range(0, len(data), 5 * _MIB)
    ]
    assert b"".join(part["Body"].read() for part in parts) == data


def test_boto3_lists_its_parts_and_gives_an_upload_up(s3: Client, bucket: str) -> None:
    """What is under way is listed, its parts are, and after the abort nothing is there."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    tag = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"1" * (5 * _MIB))["ETag"]
    assert [each["UploadId"] for each in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    parts = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    assert [(each["PartNumber"], each["ETag"]) for each in parts] == [(1, tag)]  # an appliance tells no size of a part
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    with pytest.raises(ClientError) as caught:
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, Body=b"2")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    s3.delete_bucket(Bucket=bucket)
