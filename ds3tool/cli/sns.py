"""`ds3tool sns`: topics of SNS, who is told of them, and telling."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds3tool.aws import sns
from ds3tool.aws.sns import Subscription, Topic
from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings
from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.aws.session import AwsSettings

app = group("sns", "Topics of SNS, for --notify sns:TOPIC_ARN: make one, subscribe to it, try it.")

TopicArn = Annotated[
    str, typer.Argument(metavar="TOPIC_ARN", help="arn:aws:sns:REGION:ACCOUNT:NAME, as ds3tool sns topics shows it.")
]
# An ARN is half a line, and one that is broken cannot be typed.
_TOPIC = "$TOPIC_ARN"

TOPIC_FIELDS: list[Field[Topic]] = [Field("name", lambda topic: topic.name), Field("arn", lambda topic: topic.arn)]
SUBSCRIPTION_FIELDS: list[Field[Subscription]] = [
    Field("protocol", lambda one: one.protocol),
    Field("endpoint", lambda one: one.endpoint),
    Field("confirmed", lambda one: one.is_confirmed),
    Field("topic", lambda one: one.topic, tabled=False),
    Field("arn", lambda one: one.arn if one.is_confirmed else None),
]


@dataclass(frozen=True, slots=True)
class Published:
    """A message that SNS has taken."""

    to: str
    id: str


PUBLISHED_FIELDS: list[Field[Published]] = [Field("to", lambda one: one.to), Field("id", lambda one: one.id)]
_GONE_FIELDS: list[Field[str]] = [Field("arn", lambda arn: arn), Field("removed", lambda _: True)]


def client_for(aws: AwsOptions, settings: Settings, arn: str | None = None) -> Any:  # noqa: ANN401  # boto3's own
    """Return a client of SNS, in the region of the topic where one is named."""
    from dataclasses import replace

    where: AwsSettings = aws.settings(settings, service="sns")
    if arn is not None and aws.s3_region is None:
        where = replace(where, region=arn.split(":")[3])
    return where.client("sns")


@command(app, "topics", examples=["ds3tool sns topics", "ds3tool sns topics --s3-region eu-west-1 -o json"])
def list_topics(*, aws: AwsOptions, settings: Settings) -> None:
    """List the topics of your account in one region."""
    settings.results().records(sns.topics(client_for(aws, settings)), TOPIC_FIELDS)


@command(app, "create", examples=["ds3tool sns create alerts", "ds3tool sns create alerts --s3-region eu-west-1"])
def create_topic(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it; one in order ends in .fifo.")],
    *,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Make a topic and print its ARN; one of that name that is there already is taken as it is."""
    sns.check_topic_name(name)
    topic = sns.create(client_for(aws, settings), name)
    _show(topic, TOPIC_FIELDS, settings, line=topic.arn)


@command(app, "rm", examples=[f"ds3tool sns rm {_TOPIC}"])
def remove_topic(arn: TopicArn, *, aws: AwsOptions, settings: Settings) -> None:
    """Delete a topic with its subscriptions; asks first."""
    sns.check_topic(arn)
    confirm(f"Delete the topic {arn} and all who subscribe to it?", settings)
    sns.delete(client_for(aws, settings, arn), arn)
    messages.note(f"deleted {arn}", quiet=settings.quiet)
    _show(arn, _GONE_FIELDS, settings)


@command(
    app,
    "subscribe",
    examples=[
        f"ds3tool sns subscribe {_TOPIC} email operator@example.org",
        f"ds3tool sns subscribe {_TOPIC} sms +4915112345678",
        f"ds3tool sns subscribe {_TOPIC} sqs $QUEUE_ARN",
    ],
)
def subscribe(
    arn: TopicArn,
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help=f"One of: {', '.join(sns.PROTOCOLS)}.")],
    who: Annotated[
        str, typer.Argument(metavar="ENDPOINT", help="Whom to tell: a mail address, a number, a URL, an ARN.")
    ],
    *,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Let somebody be told of what is published to a topic.

    Mail and HTTP have to be confirmed: whoever reads the mail follows the link in it, and is told nothing before.
    """
    sns.check_topic(arn)
    sns.check_endpoint(protocol, who)
    made = sns.subscribe(client_for(aws, settings, arn), arn, protocol, who)
    if made.is_confirmed:
        messages.note(f"{who} is told of {Topic(arn).name} from now on", quiet=settings.quiet)
    else:
        how = "by the link in the mail that is on its way" if protocol.startswith("email") else "by its own answer"
        messages.note(f"{who} is told nothing before it has agreed, {how}", quiet=settings.quiet)
    _show(made, SUBSCRIPTION_FIELDS, settings, line=made.arn if made.is_confirmed else None)


@command(app, "subscriptions", examples=["ds3tool sns subscriptions", f"ds3tool sns subscriptions {_TOPIC} -o json"])
def list_subscriptions(
    arn: Annotated[
        str | None, typer.Argument(metavar="TOPIC_ARN", help="Only those of this topic; else of all in the region.")
    ] = None,
    *,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """List who is told, and who has not agreed to it yet."""
    if arn is not None:
        sns.check_topic(arn)
    settings.results().records(sns.subscriptions(client_for(aws, settings, arn), arn), SUBSCRIPTION_FIELDS)


@command(app, "unsubscribe", examples=["ds3tool sns unsubscribe $SUBSCRIPTION_ARN"])
def unsubscribe(
    arn: Annotated[str, typer.Argument(metavar="SUBSCRIPTION_ARN", help="As ds3tool sns subscriptions shows it.")],
    *,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Tell somebody no more."""
    sns.check_subscription(arn)
    sns.unsubscribe(client_for(aws, settings, arn), arn)
    messages.note(f"ended {arn}", quiet=settings.quiet)
    _show(arn, _GONE_FIELDS, settings)


@command(
    app,
    "publish",
    examples=[
        f"ds3tool sns publish {_TOPIC} 'tape 42 is on its way' --subject 'Tapes'",
        f"ds3tool sns publish {_TOPIC} - --subject 'Tonight' < report.txt",
        "ds3tool sns publish --phone +4915112345678 'tape 42 is on its way'",
    ],
)
def publish(
    words: Annotated[
        list[str], typer.Argument(metavar="[TOPIC_ARN] MESSAGE", help="The topic, unless --phone, and what to say.")
    ],
    *,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="TEXT", help="For mail: at most 100 characters of ASCII.")
    ] = None,
    phone: Annotated[
        str | None, typer.Option("--phone", metavar="NUMBER", help="A text message to +4915112345678, and no topic.")
    ] = None,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Tell everybody who subscribes to a topic, or one telephone; - as the message reads stdin.

    A message has at most 256 KiB. Longer ones, and subjects that SNS would refuse, are refused before anything is sent.
    """
    *before, text = words
    if len(before) != (0 if phone is not None else 1):
        takes = "one message, and no topic, beside --phone" if phone is not None else "a topic and one message"
        raise UsageError(f"publish takes {takes}", hint="a message of several words is quoted: 'like this'")
    if phone is not None:
        sns.check_phone(phone)
        if subject is not None:
            raise UsageError("a text message has no subject", hint="leave out --subject")
    else:
        sns.check_topic(before[0])
    message = _read() if text == "-" else text
    sns.check_message(message, subject)
    if phone is not None:
        sent = Published(phone, sns.text_to(client_for(aws, settings), phone, message))
    else:
        arn = before[0]
        sent = Published(arn, sns.publish(client_for(aws, settings, arn), arn, message, subject=subject))
    messages.note(f"sent to {sent.to}", quiet=settings.quiet)
    _show(sent, PUBLISHED_FIELDS, settings)


def _read() -> str:
    if sys.stdin is None:
        raise UsageError("the message was to come on stdin, and stdin is closed")
    try:
        # One more than fits is enough to see that it does not.
        return sys.stdin.read(sns.MOST_BYTES + 1)
    except UnicodeDecodeError as error:
        raise UsageError("what came on stdin is not text in UTF-8") from error


def _show(record: Any, fields: Iterable[Field[Any]], settings: Settings, *, line: str | None = None) -> None:  # noqa: ANN401
    """Show a record where a shape for programs was asked for; people get the one line that they can use."""
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(record, list(fields))
    elif line is not None:
        settings.results().line(line)
