"""`ds3tool firehose deploy` and `destroy`: the stack of a delivery stream into a bucket of its own."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import typer

from ds3tool.aws import s3_objects
from ds3tool.aws.s3_objects import Client
from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import Failure, SomeFailedError, failures_of
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, counted
from ds3tool.cli.prompts import ask, can_ask, confirm
from ds3tool.cli.settings import Settings
from ds3tool.errors import Ds3Error, FarSideNotFoundError, InterruptedRunError, UsageError
from ds3tool.firehose.emptying import Held, empty, held
from ds3tool.firehose.stack import Deployment, Stack, Stacks, check_name, check_ours
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_size, parse_duration, parse_size


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack as `deploy` leaves it; `action` is one of `created`, `updated`, `unchanged`."""

    stack: Stack
    action: str

    def output(self, name: str) -> str | None:
        """Return one of the stack's outputs."""
        return self.stack.outputs.get(name)


DEPLOYED_FIELDS: list[Field[Deployed]] = [
    Field("stack", lambda done: done.stack.name),
    Field("action", lambda done: done.action),
    Field("status", lambda done: done.stack.status),
    Field("stream", lambda done: done.output("Stream")),
    Field("bucket", lambda done: done.output("Bucket")),
    Field("role", lambda done: done.output("Role")),
    Field("data", lambda done: done.output("Data")),
    Field("errors", lambda done: done.output("Errors")),
]


@dataclass(slots=True)
class Destroyed:
    """What `destroy` has removed, and what it has left."""

    stack: str
    deleted: list[str] = field(default_factory=list)
    emptied: int = 0
    left: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


DESTROYED_FIELDS: list[Field[Destroyed]] = [
    Field("stack", lambda done: done.stack),
    Field("deleted", lambda done: done.deleted),
    Field("emptied", lambda done: done.emptied, heading="versions deleted"),
    Field("left", lambda done: done.left),
    Field("failed", lambda done: failures_of(tuple(done.failures)), tabled=False),
]


def deploy(
    *,
    name: Annotated[
        str, typer.Option("--stack", metavar="NAME", help="Name of the stack, and of the delivery stream in it.")
    ],
    bucket: Annotated[
        str | None, typer.Option("--bucket", metavar="BUCKET", help="The bucket to make; else AWS names it.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="PREFIX", help="What keys begin with before the hour; else data/")
    ] = None,
    interval: Annotated[
        str | None, typer.Option("--interval", metavar="DURATION", help="Deliver after so long: 0s to 900s; else 300s.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="SIZE", help="Deliver when so much is there: 1MiB to 128MiB.")
    ] = None,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Make a delivery stream, the bucket that it delivers to and what it needs between, as one CloudFormation stack.

    The bucket keeps versions, is encrypted and closed to the public; keys begin with
    PREFIX/year=.../month=.../day=.../hour=.../, those of errors with errors/ before it. Waits until all is there, and
    prints the names. Of a stack that is there already, what is given is changed. What cannot be made is taken back.
    """
    asked = Deployment(
        name,
        bucket,
        prefix,
        None if interval is None else parse_duration(interval),
        None if size is None else parse_size(size),
    )
    asked.parameters()
    stacks = _stacks(aws, settings)
    try:
        stack, action = stacks.deploy(asked)
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            f"interrupted; CloudFormation goes on with stack {name}",
            hint="run the same command again: it waits, and prints the names",
        ) from error
    settings.results().record(Deployed(stack, action), DEPLOYED_FIELDS)
    bucket = stack.outputs.get("Bucket")
    messages.note(
        f"archive its closed hours with: ds3tool put s3://{bucket}/ ds3://BUCKET/ --layout firehose",
        quiet=settings.quiet,
    )


def destroy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The stack that `deploy` made.")],
    *,
    empty_bucket: Annotated[
        str | None,
        typer.Option(
            "--empty-bucket",
            metavar="BUCKET",
            help="The name of the stack's bucket: delete it with every version in it, for good.",
        ),
    ] = None,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Delete a stack that `deploy` made: the delivery stream, its role and, if it is empty, its bucket; asks first.

    A bucket that holds anything stays, unless its name is typed, here with --empty-bucket or when it is asked for;
    --yes alone does not do that. What has been delivered is then gone, in every version.
    """
    check_name(name)
    stacks = _stacks(aws, settings)
    stack = stacks.find(name)
    if stack is None:
        raise FarSideNotFoundError(f"there is no stack {name}", hint="see the streams with: ds3tool firehose ls")
    check_ours(stack)
    client = aws.settings(settings).client("s3")
    resources = stacks.resources(stack)
    bucket = next((one.physical for one in resources if one.is_bucket), None)
    there = None if bucket is None else _held(client, bucket)
    emptied = _bucket_to_empty(bucket, there, empty_bucket)
    also = f" and its bucket {bucket} with all that is in it" if emptied is not None else ""
    confirm(f"Delete stack {name} with its delivery stream{also}?", settings)
    done = Destroyed(name)
    try:
        if emptied is not None:
            _empty(client, emptied, done, settings)
        stacks.delete(stack)
        done.deleted += [one.name for one in resources if not one.is_bucket]
        if bucket is not None and there is not None:
            remove_bucket(client, bucket, done, settings, emptied=emptied is not None)
    except KeyboardInterrupt:
        _show(done, InterruptedRunError("interrupted", hint="run the same command again"), settings)
        return
    except Ds3Error as error:
        _show(done, error, settings)
        return
    failed = done.failures
    told = f"{counted(len(failed), 'version')} in s3://{bucket} could not be deleted"
    _show(done, SomeFailedError(f"{told}; the first: {failed[0].key}: {failed[0].error}") if failed else None, settings)


def _stacks(aws: AwsOptions, settings: Settings) -> Stacks:
    client = aws.settings(settings, service="cloudformation").client("cloudformation")
    return Stacks(client, tell=lambda text: messages.note(text, quiet=settings.quiet))


def _held(client: Client, bucket: str) -> Held | None:
    """Return what a bucket holds, None when somebody has removed it."""
    try:
        return held(client, bucket)
    except FarSideNotFoundError:
        return None


def _bucket_to_empty(bucket: str | None, there: Held | None, typed: str | None) -> str | None:
    """Return the bucket that is to be emptied: only one of which the name was typed."""
    if typed is not None and typed != bucket:
        raise UsageError(
            f"the stack's bucket is {bucket}, and not {typed}; nothing was done"
            if bucket is not None
            else "the stack has no bucket, so none can be emptied"
        )
    if typed is not None or bucket is None or there is None or not there.versions:
        return typed
    if can_ask():
        answer = ask(
            f"Bucket {bucket} holds {_told(there)}. Type its name to delete all of it for good, or nothing to keep it:"
        )
        if answer not in ("", bucket):
            raise UsageError(f"{answer!r} is not the bucket's name; nothing was done")
        typed = answer or None
    return typed


def _told(there: Held) -> str:
    more = "or more " if there.or_more else ""
    return f"{more}{counted(there.versions, 'version')}, {format_size(there.bytes)}"


def _empty(client: Client, bucket: str, done: Destroyed, settings: Settings) -> None:
    done.failures.clear()
    for gone, failed in empty(client, bucket):
        done.emptied += gone
        done.failures += [Failure(one.name.key, one.message or one.code) for one in failed]
        if done.emptied >= 10_000:
            messages.note(f"s3://{bucket}: {counted(done.emptied, 'version')} deleted", quiet=settings.quiet)


def remove_bucket(client: Client, bucket: str, done: Destroyed, settings: Settings, *, emptied: bool) -> None:
    """Remove the bucket if nothing is in it; what the stream has delivered to the last goes too where all was to go."""
    there = _held(client, bucket)
    if there is not None and there.versions and emptied:
        _empty(client, bucket, done, settings)
        there = _held(client, bucket)
    if there is not None and there.versions:
        done.left.append(f"s3://{bucket}: {_told(there)}")
        messages.warn(
            f"bucket {bucket} is left, with {_told(there)}; the stack that made it is gone, so that nothing delivers "
            "to it any more"
        )
        return
    if there is not None:
        s3_objects.remove_bucket(client, bucket)
    done.deleted.append("Bucket")


def _show(done: Destroyed, error: Ds3Error | None, settings: Settings) -> None:
    settings.results().finish(done, DESTROYED_FIELDS, error)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(
        app,
        "deploy",
        examples=[
            "ds3tool firehose deploy --stack clicks",
            "ds3tool firehose deploy --stack clicks --prefix data/clicks/",
            "ds3tool firehose deploy --stack clicks --interval 60s --size 5MiB",
        ],
    )(deploy)
    command(
        app,
        "destroy",
        examples=[
            "ds3tool firehose destroy clicks",
            "ds3tool firehose destroy clicks --yes --empty-bucket clicks-bucket",
        ],
    )(destroy)
