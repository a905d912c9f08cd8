"""A stack is asked for, waited for, and its failure told by CloudFormation's own reasons; no other is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from ds3tool.clock import ManualClock
from ds3tool.errors import UsageError
from ds3tool.firehose.stack import Deployment, Stack, StackFailedError, Stacks

ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/clicks/1"
AT = datetime(2026, 1, 31, tzinfo=UTC)
# boto3 makes its clients' types at run time.
Client = Any


class CloudFormation:
    """Answers what it was told to, in order, and fails the test for a request that was not expected."""

    def __init__(self, client: Client, stubber: Stubber) -> None:
        self.stubber = stubber
        self.clock = ManualClock()
        self.said: list[str] = []
        self.stacks = Stacks(client, clock=self.clock, tell=self.said.append)

    def is_absent(self, name: str) -> None:
        self.stubber.add_client_error(
            "describe_stacks",
            "ValidationError",
            f"Stack with id {name} does not exist",
            400,
            expected_params={"StackName": name},
        )

    def has(self, status: str, *, name: str = ID, ours: bool = True, reason: str | None = None) -> None:
        told: dict[str, Any] = {"StackName": "clicks", "StackId": ID, "StackStatus": status, "CreationTime": AT}
        told["Outputs"] = [{"OutputKey": "Bucket", "OutputValue": "clicks-bucket"}]
        told["Parameters"] = [*KEPT, {"ParameterKey": "Forgotten", "ParameterValue": "1"}]
        told |= {"Tags": [{"Key": "ds3tool", "Value": "firehose-to-s3"}]} if ours else {}
        told |= {} if reason is None else {"StackStatusReason": reason}
        self.stubber.add_response("describe_stacks", {"Stacks": [told]}, {"StackName": name})

    def takes(self, call: str, answer: dict[str, Any] | None = None, **asked: Any) -> None:  # noqa: ANN401  # boto3's own
        self.stubber.add_response(call, {"StackId": ID} if answer is None else answer, asked)

    def tells(self, *events: tuple[str, str, str | None]) -> None:
        """Let these events be there, oldest first: a resource, its status, the reason."""
        told = []
        for number, (resource, status, reason) in enumerate(events):
            event = {
                "StackId": ID,
                "EventId": str(number),
                "StackName": "clicks",
                "Timestamp": AT,
                "ResourceStatus": status,
            }
            event["LogicalResourceId"] = resource
            event["PhysicalResourceId"] = ID if resource == "clicks" else f"{resource}-1"
            told.append(event if reason is None else {**event, "ResourceStatusReason": reason})
        self.stubber.add_response("describe_stack_events", {"StackEvents": told[::-1]}, {"StackName": ID})


@pytest.fixture(scope="module")
def client() -> Client:
    """A client that reaches nothing."""
    return boto3.client("cloudformation", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")


@pytest.fixture
def aws(client: Client) -> Iterator[CloudFormation]:
    with Stubber(client) as stubber:
        yield CloudFormation(client, stubber)
        stubber.assert_no_pending_responses()


CREATE = {
    "StackName": "clicks",
    "TemplateBody": ANY,
    "Capabilities": ["CAPABILITY_IAM"],
    "OnFailure": "ROLLBACK",
    "TimeoutInMinutes": 15,
    "Tags": [{"Key": "ds3tool", "Value": "firehose-to-s3"}],
}
UPDATE = {name: CREATE[name] for name in ("TemplateBody", "Capabilities", "Tags")} | {"StackName": ID}
# As of an older template, that has not had all of them.
KEPT = [
    {"ParameterKey": "BucketName", "ParameterValue": ""},
    {"ParameterKey": "Prefix", "ParameterValue": "data/"},
    {"ParameterKey": "BufferSeconds", "ParameterValue": "300"},
]


def test_a_stack_is_made_and_waited_for(aws: CloudFormation) -> None:
    """Only what is given goes to CloudFormation, which is asked every five seconds until it is done."""
    aws.is_absent("clicks")
    given = [
        {"ParameterKey": "Prefix", "ParameterValue": "data/clicks/"},
        {"ParameterKey": "BufferSeconds", "ParameterValue": "60"},
    ]
    aws.takes("create_stack", Parameters=given, **CREATE)
    for status in ("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"):
        aws.has(status)
    stack, action = aws.stacks.deploy(Deployment("clicks", prefix="data/clicks", buffer_seconds=60))
    assert (action, stack.outputs) == ("created", {"Bucket": "clicks-bucket"})
    assert aws.clock.waits == [5.0, 5.0]
    assert aws.said == ["stack clicks is being made: CREATE_IN_PROGRESS"]


def test_what_cannot_be_made_is_told_and_nothing_is_left_of_it(aws: CloudFormation) -> None:
    """Each reason is told once, without those that only followed; the empty stack does not keep its name."""
    events = (
        ("clicks", "CREATE_IN_PROGRESS", "User Initiated"),
        ("Role", "CREATE_IN_PROGRESS", None),
        ("Bucket", "CREATE_FAILED", "clicks-bucket already exists"),
        ("Role", "CREATE_FAILED", "Resource creation cancelled"),
        ("clicks", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Bucket, Role]."),
        ("Role", "DELETE_COMPLETE", None),
        ("clicks", "ROLLBACK_COMPLETE", None),
    )
    aws.is_absent("clicks")
    aws.takes("create_stack", Parameters=[], **CREATE)
    aws.has("ROLLBACK_IN_PROGRESS")
    aws.has("ROLLBACK_COMPLETE")
    for _ in range(3):
        aws.tells(*events)
    aws.takes("delete_stack", {}, StackName=ID)
    aws.has("DELETE_COMPLETE")
    with pytest.raises(StackFailedError) as caught:
        aws.stacks.deploy(Deployment("clicks"))
    assert caught.value.message == (
        "stack clicks could not be made: Bucket: clicks-bucket already exists; rolled back, nothing is left: Role"
    )


def test_what_cannot_be_rolled_back_is_said_to_be_left(aws: CloudFormation) -> None:
    """A stack that is stuck is named with the command that removes it."""
    aws.is_absent("clicks")
    aws.takes("create_stack", Parameters=[], **CREATE)
    aws.has("ROLLBACK_FAILED", reason="no leave to delete")
    for _ in range(2):
        aws.tells(("clicks", "ROLLBACK_FAILED", "no leave to delete"))
    with pytest.raises(StackFailedError, match="no leave to delete; it is ROLLBACK_FAILED") as caught:
        aws.stacks.deploy(Deployment("clicks"))
    assert "firehose destroy clicks" in (caught.value.hint or "")
    aws.has("ROLLBACK_FAILED", name="clicks", reason="no leave to delete")
    with pytest.raises(StackFailedError, match="is ROLLBACK_FAILED, and cannot be changed: no leave"):
        aws.stacks.deploy(Deployment("clicks"))


def test_a_stack_that_is_there_is_changed_in_what_is_given(aws: CloudFormation) -> None:
    """What is not given stays; somebody who is at work on it is waited for; no change is no failure."""
    aws.has("UPDATE_IN_PROGRESS", name="clicks")
    aws.has("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    aws.has("UPDATE_COMPLETE")
    aws.tells(("clicks", "CREATE_COMPLETE", None))
    changed = [*KEPT, {"ParameterKey": "BufferMiB", "ParameterValue": "5"}]
    aws.takes("update_stack", Parameters=changed, **UPDATE)
    aws.has("UPDATE_COMPLETE")
    assert aws.stacks.deploy(Deployment("clicks", bucket="clicks-bucket", buffer_bytes=5 << 20))[1] == "updated"
    aws.has("CREATE_COMPLETE", name="clicks")
    aws.tells(("clicks", "CREATE_COMPLETE", None))
    aws.stubber.add_client_error(
        "update_stack",
        "ValidationError",
        "No updates are to be performed.",
        400,
        expected_params={"Parameters": KEPT, **UPDATE},
    )
    assert aws.stacks.deploy(Deployment("clicks"))[1] == "unchanged"


def test_a_change_that_fails_is_told_by_what_failed_in_it(aws: CloudFormation) -> None:
    """What went wrong at an earlier time is not taken for the reason."""
    before = (("Stream", "UPDATE_FAILED", "of yesterday"), ("clicks", "UPDATE_ROLLBACK_COMPLETE", None))
    aws.has("UPDATE_ROLLBACK_COMPLETE", name="clicks")
    aws.tells(*before)
    aws.takes("update_stack", Parameters=KEPT, **UPDATE)
    aws.has("UPDATE_ROLLBACK_COMPLETE")
    aws.tells(*before, ("Stream", "UPDATE_FAILED", "Firehose is busy"))
    with pytest.raises(
        StackFailedError, match="could not be changed: Stream: Firehose is busy; it is as it was before"
    ):
        aws.stacks.deploy(Deployment("clicks"))


def test_a_stack_of_somebody_else_is_left_alone(aws: CloudFormation) -> None:
    """A stack without our mark is neither changed nor deleted."""
    aws.has("CREATE_COMPLETE", name="clicks", ours=False)
    with pytest.raises(UsageError, match="has not made it"):
        aws.stacks.deploy(Deployment("clicks"))
    with pytest.raises(UsageError, match="has not made it"):
        aws.stacks.delete(Stack("clicks", ID, "CREATE_COMPLETE"))


def test_a_stack_keeps_its_bucket(aws: CloudFormation) -> None:
    """Another bucket's name for a stack that is there changes nothing."""
    aws.has("CREATE_COMPLETE", name="clicks")
    with pytest.raises(UsageError, match="delivers to the bucket clicks-bucket"):
        aws.stacks.deploy(Deployment("clicks", bucket="another"))


def test_a_deletion_that_fails_is_told(aws: CloudFormation) -> None:
    """A stack that is not gone at the end is no success."""
    aws.tells(("clicks", "CREATE_COMPLETE", None))
    aws.takes("delete_stack", {}, StackName=ID)
    aws.has("DELETE_IN_PROGRESS")
    aws.has("DELETE_FAILED")
    aws.tells(("clicks", "CREATE_COMPLETE", None), ("Role", "DELETE_FAILED", "it is in use"))
    with pytest.raises(StackFailedError, match=r"could not be deleted \(DELETE_FAILED\): Role: it is in use"):
        aws.stacks.delete(Stack("clicks", ID, "CREATE_COMPLETE", is_ours=True))


@pytest.mark.parametrize(
    "asked",
    [
        Deployment(""),
        Deployment("1clicks"),
        Deployment("c" * 65),
        Deployment("clicks", bucket="My_Bucket"),
        Deployment("clicks", bucket="a..b"),
        Deployment("clicks", prefix="/data/"),
        Deployment("clicks", prefix="data/!{timestamp:yyyy}/"),
        Deployment("clicks", buffer_seconds=901),
        Deployment("clicks", buffer_seconds=1.5),
        Deployment("clicks", buffer_bytes=0),
        Deployment("clicks", buffer_bytes=(1 << 20) + 1),
        Deployment("clicks", buffer_bytes=129 << 20),
    ],
    ids=str,
)
def test_what_firehose_would_refuse_is_refused_before_anything_is_asked(aws: CloudFormation, asked: Deployment) -> None:
    """Names, prefixes and buffers are checked here, in a sentence."""
    with pytest.raises(UsageError):
        aws.stacks.deploy(asked)
