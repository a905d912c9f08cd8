"""The CloudFormation stack of a delivery stream into a bucket: made, changed, looked at, deleted, and waited for."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from importlib import resources
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.clock import Clock, RealClock
from ds3tool.errors import Ds3Error, FarSideError, UsageError
from ds3tool.lazy_dataclass import dataclass

# boto3 makes its clients' types at run time.
Client = Any

TEMPLATE = "firehose-to-s3.yaml"
# By this a stack says that it was made here; no other is ever changed or deleted.
_TAG = ("ds3tool", "firehose-to-s3")
_POLL_SECONDS = 5.0
_MIB = 1024 * 1024
# A stack's name is also that of its stream, which has at most 64 characters.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET_TYPE = "AWS::S3::Bucket"
# What CloudFormation says of resources that only went the way of another's failure.
_CANCELLED = re.compile(r"Resource (creation|update) cancelled", re.IGNORECASE)


class StackFailedError(Ds3Error):
    """CloudFormation could not do what was asked; the message says why, by its own events."""

    code = "StackFailed"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack as it is asked for; None leaves a value as it is, or to the template's default."""

    name: str
    bucket: str | None = None
    prefix: str | None = None
    buffer_seconds: float | None = None
    buffer_bytes: int | None = None

    def parameters(self) -> dict[str, str | None]:
        """Return the template's parameters; UsageError for what Firehose or S3 would not take."""
        check_name(self.name)
        if self.bucket is not None and (not _BUCKET.fullmatch(self.bucket) or ".." in self.bucket):
            raise UsageError(
                f"{self.bucket!r} is not a name that a bucket can have",
                hint="3 to 63 lower case letters, digits, dots and dashes; without --bucket AWS chooses one",
            )
        return {
            "BucketName": self.bucket,
            "Prefix": None if self.prefix is None else _prefix(self.prefix),
            "BufferSeconds": _whole("--interval", self.buffer_seconds, 1, "second", range(901)),
            "BufferMiB": _whole("--size", self.buffer_bytes, _MIB, "MiB", range(1, 129)),
        }


def check_name(name: str) -> None:
    """Raise UsageError for a name that a stack and its stream cannot have."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name that a stack and its stream can have",
            hint="a letter, then letters, digits and dashes, 64 at most",
        )


def _prefix(prefix: str) -> str:
    """Return a prefix with the slash that keeps it apart from what follows."""
    if prefix.startswith("/") or set(prefix) & set("!{}"):
        raise UsageError(
            f"{prefix!r} is not a prefix for delivered data",
            hint="write it like data/clicks/; the hours are added: year=.../month=.../day=.../hour=.../",
        )
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _whole(option: str, value: float | None, unit: int, word: str, allowed: range) -> str | None:
    if value is None:
        return None
    count, rest = divmod(value, unit)
    if rest or int(count) not in allowed:
        raise UsageError(f"{option} takes {allowed[0]} to {allowed[-1]} whole {word}s, as Firehose does")
    return str(int(count))


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as CloudFormation tells of it. `is_ours`: `deploy` has made it."""

    name: str
    id: str
    status: str
    reason: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_busy(self) -> bool:
        """Whether CloudFormation is at work on it."""
        return self.status.endswith("_IN_PROGRESS")


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that a stack has made: its name in the template, its type, its own name."""

    name: str
    type: str
    physical: str | None
    status: str = ""

    @property
    def is_bucket(self) -> bool:
        """Whether it is the bucket."""
        return self.type == _BUCKET_TYPE


class Stacks:
    """What is done with stacks; each call returns when CloudFormation has come to an end with it.

    `client` is boto3's of CloudFormation. Methods raise StackFailedError with CloudFormation's reasons, and what
    `far_side` does. A wait that is interrupted leaves CloudFormation at work.
    """

    def __init__(
        self, client: Client, *, clock: Clock | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._client = client
        self._clock = clock or RealClock()
        self._tell = tell
        self._never = threading.Event()

    def find(self, name: str) -> Stack | None:
        """Return the stack of a name or an id; None when there is none."""
        try:
            with far_side(f"stack {name}"):
                told = self._client.describe_stacks(StackName=name)["Stacks"]
        except FarSideError as error:
            if error.code == "ValidationError" and "does not exist" in error.message:
                return None
            raise
        return _stack(told[0]) if told else None

    def deploy(self, asked: Deployment) -> tuple[Stack, str]:
        """Make the stack, or change the one that is there; return it, and which of `created`, `updated`, `unchanged`.

        UsageError for what no stack can be, and for a stack that was not made here. One that could not be made is
        rolled back, and nothing is left of it.
        """
        parameters = asked.parameters()
        stack = self.find(asked.name)
        if stack is not None:
            check_ours(stack)
            stack = self._settled(stack)
        if stack is None or stack.status == "DELETE_COMPLETE":
            return self._create(asked.name, parameters), "created"
        if stack.status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}:
            raise StackFailedError(
                f"stack {stack.name} is {stack.status}, and cannot be changed{_because(stack)}",
                hint=f"remove what is left of it: ds3tool firehose destroy {stack.name}",
            )
        return self._update(stack, parameters)

    def resources(self, stack: Stack) -> list[Resource]:
        """Return what a stack has made and has still."""
        with far_side(f"stack {stack.name}"):
            told = self._client.describe_stack_resources(StackName=stack.id)["StackResources"]
        return [
            Resource(
                one["LogicalResourceId"], one["ResourceType"], one.get("PhysicalResourceId"), one["ResourceStatus"]
            )
            for one in told
            if "LogicalResourceId" in one and one["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def delete(self, stack: Stack) -> None:
        """Delete a stack that was made here; its bucket stays."""
        check_ours(stack)
        seen = self._events_seen(stack)
        with far_side(f"stack {stack.name}"):
            self._client.delete_stack(StackName=stack.id)
        ended = self._wait(stack.id, stack.name, "being deleted")
        if ended is not None and ended.status != "DELETE_COMPLETE":
            raise StackFailedError(
                f"stack {stack.name} could not be deleted ({ended.status}): {self._why(ended, seen)}",
                hint="mend that, and run the command again",
            )

    # -- steps -----------------------------------------------------------------------------------------------------

    def _create(self, name: str, parameters: Mapping[str, str | None]) -> Stack:
        with far_side(f"stack {name}"):
            stack_id = self._client.create_stack(
                StackName=name,
                TemplateBody=template(),
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": value}
                    for key, value in parameters.items()
                    if value is not None
                ],
                Capabilities=["CAPABILITY_IAM"],
                OnFailure="ROLLBACK",
                TimeoutInMinutes=15,
                Tags=[{"Key": _TAG[0], "Value": _TAG[1]}],
            )["StackId"]
        stack = self._wait(stack_id, name, "being made")
        if stack is None:
            raise StackFailedError(f"stack {name} was deleted while it was being made")
        if stack.status == "CREATE_COMPLETE":
            return stack
        why, undone = self._why(stack, 0), self._rolled_back(stack)
        told = f"stack {name} could not be made: {why}"
        if stack.status != "ROLLBACK_COMPLETE":
            raise StackFailedError(
                f"{told}; it is {stack.status}", hint=f"remove what is left: ds3tool firehose destroy {name}"
            )
        self.delete(stack)  # only its name is left of it, which nobody could take
        raise StackFailedError(f"{told}; rolled back, nothing is left: {', '.join(undone) or 'nothing was made'}")

    def _update(self, stack: Stack, parameters: Mapping[str, str | None]) -> tuple[Stack, str]:
        wanted, there = parameters["BucketName"], stack.outputs.get("Bucket")
        if wanted is not None and wanted != there:
            raise UsageError(
                f"stack {stack.name} delivers to the bucket {there}, and a stack keeps its bucket",
                hint="leave out --bucket, or deploy another stack",
            )
        seen = self._events_seen(stack)
        # What a stack has of an older template keeps its value; what a newer one has added takes its default.
        given = {key: value for key, value in parameters.items() if value is not None and key != "BucketName"}
        values = {key: value for key, value in stack.parameters.items() if key in parameters} | given
        try:
            with far_side(f"stack {stack.name}"):
                self._client.update_stack(
                    StackName=stack.id,
                    TemplateBody=template(),
                    Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
                    Capabilities=["CAPABILITY_IAM"],
                    Tags=[{"Key": _TAG[0], "Value": _TAG[1]}],
                )
        except FarSideError as error:
            if error.code == "ValidationError" and "No updates" in error.message:
                return stack, "unchanged"
            raise
        changed = self._wait(stack.id, stack.name, "being changed")
        if changed is None or changed.status != "UPDATE_COMPLETE":
            status = "gone" if changed is None else changed.status
            why = self._why(stack, seen)
            undone = "; it is as it was before" if status == "UPDATE_ROLLBACK_COMPLETE" else f"; it is {status}"
            raise StackFailedError(f"stack {stack.name} could not be changed: {why}{undone}")
        return changed, "updated"

    def _settled(self, stack: Stack) -> Stack | None:
        """Return a stack when nobody is at work on it any more; None when it has gone."""
        return self._wait(stack.id, stack.name, "being worked on") if stack.is_busy else stack

    def _wait(self, stack_id: str, name: str, what: str) -> Stack | None:
        """Return a stack when CloudFormation has come to an end with it; None when it knows it no more."""
        said = None
        while True:
            stack = self.find(stack_id)
            if stack is None or not stack.is_busy:
                return stack
            if stack.status != said:
                self._tell(f"stack {name} is {what}: {stack.status}")
                said = stack.status
            self._clock.wait(self._never, _POLL_SECONDS)

    # -- what happened ---------------------------------------------------------------------------------------------

    def _events(self, stack: Stack) -> Iterator[Mapping[str, Any]]:
        """Yield a stack's events, the newest first."""
        with far_side(f"stack {stack.name}"):
            for page in self._client.get_paginator("describe_stack_events").paginate(StackName=stack.id):
                yield from page["StackEvents"]

    def _events_seen(self, stack: Stack) -> int:
        return sum(1 for _ in self._events(stack))

    def _why(self, stack: Stack, seen: int) -> str:
        """Return why resources failed, in the order in which they did, since so many events were there."""
        events = list(self._events(stack))
        new = events[: len(events) - seen]
        told = [
            f"{event.get('LogicalResourceId', '?')}: {event['ResourceStatusReason']}"
            for event in reversed(new)
            if event.get("ResourceStatus", "").endswith("_FAILED")
            and event.get("ResourceStatusReason")
            and not _CANCELLED.match(event["ResourceStatusReason"])
            and event.get("PhysicalResourceId") != stack.id
        ]
        return "; ".join(dict.fromkeys(told)) or stack.reason or "CloudFormation does not say why"

    def _rolled_back(self, stack: Stack) -> list[str]:
        """Return what was made and taken back, by its name in the template."""
        return [
            str(event["LogicalResourceId"])
            for event in self._events(stack)
            if event.get("ResourceStatus") == "DELETE_COMPLETE" and event.get("PhysicalResourceId") != stack.id
        ]


def check_ours(stack: Stack) -> None:
    """Raise UsageError for a stack that was not made here: changing it would delete what it has made."""
    if not stack.is_ours:
        raise UsageError(
            f"stack {stack.name} is there, and `ds3tool firehose deploy` has not made it, so it is left alone",
            hint="take another name",
        )


def template() -> str:
    """Return the CloudFormation template, as it is shipped."""
    return resources.files("ds3tool.firehose").joinpath(TEMPLATE).read_text(encoding="utf-8")


def _because(stack: Stack) -> str:
    return f": {stack.reason}" if stack.reason else ""


def _stack(told: Mapping[str, Any]) -> Stack:
    return Stack(
        told["StackName"],
        told["StackId"],
        told["StackStatus"],
        told.get("StackStatusReason"),
        {one["OutputKey"]: one["OutputValue"] for one in told.get("Outputs", ())},
        any((tag["Key"], tag["Value"]) == _TAG for tag in told.get("Tags", ())),
        {one["ParameterKey"]: one["ParameterValue"] for one in told.get("Parameters", ())},
    )
