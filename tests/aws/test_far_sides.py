"""The servers that stand for AWS in tests are there, and what goes wrong with them comes out in our words."""

from __future__ import annotations

import pytest

from ds3tool.aws.failures import far_side
from ds3tool.aws.session import AwsSettings
from ds3tool.errors import (
    FarSideDeniedError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    UsageError,
)
from tests.far.servers import FarSide


@pytest.fixture(params=["seaweed", "moto"])
def far(request: pytest.FixtureRequest) -> FarSide:
    server = request.getfixturevalue(request.param)
    assert isinstance(server, FarSide)
    return server


@pytest.fixture
def at_home(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> AwsSettings:
    """Settings that say nothing: boto3 finds all in the environment."""
    for name, value in far.environ.items():
        monkeypatch.setenv(name, value)
    return AwsSettings()


def test_what_was_put_comes_back(far: FarSide, at_home: AwsSettings) -> None:
    """A client that knows only the environment reaches the server."""
    bucket = far.bucket({"a/b": b"bytes"})
    assert at_home.client("s3").get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"bytes"
    assert far.contents(bucket) == {"a/b": b"bytes"}
    assert far.uploads(bucket) == []


def test_an_object_that_is_not_there(far: FarSide, at_home: AwsSettings) -> None:
    """A missing key is said to be missing, by name."""
    bucket = far.bucket()
    with pytest.raises(FarSideNotFoundError, match="s3://x/y") as failure, far_side("s3://x/y"):
        at_home.client("s3").get_object(Bucket=bucket, Key="y")
    assert failure.value.code == "NoSuchKey"
    assert failure.value.status == 404


def test_a_bucket_that_is_not_there_says_how_to_see_which_are(far: FarSide, at_home: AwsSettings) -> None:
    """Of a bucket that is missing the way to all of them is named."""
    with pytest.raises(FarSideNotFoundError, match="NoSuchBucket") as failure, far_side("s3://none-of-that-name"):
        at_home.client("s3").list_objects_v2(Bucket="none-of-that-name")
    assert failure.value.hint == "to see the buckets there are: ds3tool s3 ls"


def test_a_wrong_secret(seaweed: FarSide, at_home: AwsSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are not right are told apart from permissions that lack."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweed.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(FarSideDeniedError), far_side("s3"):
        at_home.client("s3").list_objects_v2(Bucket="ready")


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are none, the way out is named."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(FarSideDeniedError, match="credentials") as failure, far_side("s3"):
        AwsSettings(endpoint="http://127.0.0.1:9").client("s3").list_buckets()
    for way_out in ("AWS_ACCESS_KEY_ID", "--s3-profile", "get-caller-identity"):
        assert way_out in (failure.value.hint or "")


def test_a_profile_that_is_not_there() -> None:
    """A profile that nobody has written is a matter of credentials."""
    with pytest.raises(FarSideDeniedError, match="nobody"):
        AwsSettings(profile="nobody").client("s3")


def test_parameters_that_cannot_be(at_home: AwsSettings) -> None:
    """What boto3 itself refuses to send is a usage error."""
    with pytest.raises(UsageError), far_side("s3"):
        at_home.client("s3").get_object(Bucket="b", Key="")


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is out of reach, which another run may mend."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = AwsSettings(endpoint="http://127.0.0.1:9").client("s3")
    client.meta.events.register("needs-retry.s3", lambda **_: None, unique_id="no-retries")
    with pytest.raises(FarSideUnreachableError) as failure, far_side("s3"):
        client.list_buckets()
    assert "--s3-endpoint" in (failure.value.hint or "")


def test_settings_survive_a_journal() -> None:
    """What a journal keeps of the settings is all of them, and no secret is among them."""
    settings = AwsSettings("home", "http://localhost:1", "eu-west-1")
    assert AwsSettings.of(settings.mapping()) == settings
    assert AwsSettings.of(AwsSettings().mapping()) == AwsSettings()
