"""Topics of SNS: made, subscribed to, told; thin over boto3, with SNS's limits kept before anything is sent."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.errors import FarSideNotFoundError, UsageError
from ds3tool.lazy_dataclass import dataclass

# Source: SNS API reference, Publish and CreateTopic.
MOST_SUBJECT = 100
MOST_BYTES = 256 * 1024
_TOPIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}(\.fifo)?")
# A service that speaks like SNS may leave the account out.
_TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d*:([A-Za-z0-9_-]{1,256}(?:\.fifo)?)")
_SUBSCRIPTION_ARN = re.compile(rf"{_TOPIC_ARN.pattern}:[0-9a-f-]{{36}}")
# An E.164 number: a plus, no zero first, at most 15 digits.
_PHONE = re.compile(r"\+[1-9]\d{6,14}")
PROTOCOLS = ("application", "email", "email-json", "http", "https", "lambda", "sms", "sqs")
# Who stands there in place of an ARN until the subscription is confirmed.
PENDING = "PendingConfirmation"

# boto3 makes its clients' types at run time.
Client = Any


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, by its ARN."""

    arn: str

    @property
    def name(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told; `arn` is no ARN but `PendingConfirmation` until the endpoint has agreed."""

    arn: str
    topic: str
    protocol: str
    endpoint: str

    @property
    def is_confirmed(self) -> bool:
        """Whether the endpoint is told anything yet."""
        return self.arn.startswith("arn:")


# -- what can be asked for ------------------------------------------------------------------------------------------


def check_topic_name(name: str) -> None:
    """Raise UsageError for what no topic can be called."""
    if not _TOPIC_NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is no name for a topic",
            hint="1 to 256 letters, digits, dashes and underscores; one in order ends in .fifo",
        )


def check_topic(arn: str) -> str:
    """Return the region of a topic's ARN; UsageError for what is none."""
    found = _TOPIC_ARN.fullmatch(arn)
    if found is None:
        raise UsageError(
            f"{arn[:120]!r} is not the ARN of a topic", hint="write it like arn:aws:sns:eu-west-1:123456789012:alerts"
        )
    return found[1]


def check_subscription(arn: str) -> None:
    """Raise UsageError for what is no subscription's ARN: that of a topic, or of one that nobody has confirmed."""
    if arn == PENDING or not _SUBSCRIPTION_ARN.fullmatch(arn):
        hint = "it is the topic's ARN, a colon and an id; see: ds3tool sns subscriptions"
        if arn.lower().startswith("pending"):
            hint = "one that nobody has confirmed needs no end: it goes by itself after three days"
        raise UsageError(f"{arn[:120]!r} is not the ARN of a subscription", hint=hint)


def check_message(message: str, subject: str | None) -> None:
    """Raise UsageError for what SNS would refuse: an empty or too long message, a subject that is no header."""
    size = len(_encoded(message))
    if not message.strip():
        raise UsageError("the message is empty", hint="SNS takes none without a word")
    if size > MOST_BYTES:
        raise UsageError(f"the message has {size:,} bytes, and SNS takes {MOST_BYTES:,} at most")
    if subject is None:
        return
    if not 0 < len(subject) <= MOST_SUBJECT:
        raise UsageError(f"the subject has {len(subject)} characters, and SNS takes 1 to {MOST_SUBJECT}")
    if not (subject.isascii() and subject.isprintable()) or not subject[0].isalnum():
        raise UsageError(
            "the subject is not what SNS takes",
            hint="ASCII in one line, with a letter or a digit first; the message itself may be any text",
        )


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError("the message is not text in UTF-8") from error


def check_phone(number: str) -> None:
    """Raise UsageError for what is no telephone number as SNS takes it."""
    if not _PHONE.fullmatch(number):
        raise UsageError(f"{number[:40]!r} is no telephone number", hint="write it like +4915112345678")


def check_endpoint(protocol: str, endpoint: str) -> None:
    """Raise UsageError for a protocol that SNS has not, or an endpoint that cannot be one of it."""
    if protocol not in PROTOCOLS:
        raise UsageError(f"{protocol!r} is no protocol of SNS", hint=f"one of: {', '.join(PROTOCOLS)}")
    if protocol == "sms":
        check_phone(endpoint)
        return
    right = {
        "email": (r"[^@\s]+@[^@\s]+", "an address of mail"),
        "email-json": (r"[^@\s]+@[^@\s]+", "an address of mail"),
        "http": (r"http://[^\s/]+\S*", "a URL that begins with http://"),
        "https": (r"https://[^\s/]+\S*", "a URL that begins with https://"),
    }
    pattern, what = right.get(protocol, (r"arn:\S+", "the ARN of what is to be told"))
    if not re.fullmatch(pattern, endpoint):
        raise UsageError(f"{endpoint[:120]!r} cannot be told by {protocol}", hint=f"it takes {what}")


# -- calls ----------------------------------------------------------------------------------------------------------


def topics(client: Client) -> Iterator[Topic]:
    """Yield the topics of whoever asks, in the region of the client."""
    with far_side("sns"):
        for page in client.get_paginator("list_topics").paginate():
            for one in page.get("Topics", ()):
                yield Topic(one["TopicArn"])


def create(client: Client, name: str) -> Topic:
    """Make a topic, and return it; one of that name that is there already is returned as it is."""
    check_topic_name(name)
    attributes = {"Attributes": {"FifoTopic": "true"}} if name.endswith(".fifo") else {}
    with far_side(f"topic {name}"):
        return Topic(client.create_topic(Name=name, **attributes)["TopicArn"])


def delete(client: Client, arn: str) -> None:
    """Delete a topic and its subscriptions; FarSideNotFoundError when it is not there, which SNS does not say."""
    check_topic(arn)
    with far_side(arn):
        client.get_topic_attributes(TopicArn=arn)
        client.delete_topic(TopicArn=arn)


def subscribe(client: Client, arn: str, protocol: str, endpoint: str) -> Subscription:
    """Let an endpoint be told of what is published to a topic; by mail and HTTP it has to agree first."""
    check_topic(arn)
    check_endpoint(protocol, endpoint)
    with far_side(arn):
        made = client.subscribe(TopicArn=arn, Protocol=protocol, Endpoint=endpoint)
    found = made.get("SubscriptionArn", "")
    return Subscription(found if found.startswith("arn:") else PENDING, arn, protocol, endpoint)


def subscriptions(client: Client, arn: str | None = None) -> Iterator[Subscription]:
    """Yield the subscriptions of a topic, or of all topics in the region."""
    if arn is not None:
        check_topic(arn)
    name = "list_subscriptions" if arn is None else "list_subscriptions_by_topic"
    with far_side("sns" if arn is None else arn):
        for page in client.get_paginator(name).paginate(**({} if arn is None else {"TopicArn": arn})):
            for one in page.get("Subscriptions", ()):
                yield Subscription(one["SubscriptionArn"], one["TopicArn"], one["Protocol"], one["Endpoint"])


def unsubscribe(client: Client, arn: str) -> None:
    """End a subscription; FarSideNotFoundError when there is none of that ARN, which SNS does not say."""
    check_subscription(arn)
    with far_side(arn):
        client.get_subscription_attributes(SubscriptionArn=arn)
        client.unsubscribe(SubscriptionArn=arn)


def publish(client: Client, arn: str, message: str, *, subject: str | None = None) -> str:
    """Tell everybody who subscribes to a topic; return SNS's id of the message."""
    check_topic(arn)
    check_message(message, subject)
    asked: dict[str, Any] = {"TopicArn": arn, "Message": message, **({} if subject is None else {"Subject": subject})}
    if arn.endswith(".fifo"):
        asked |= {"MessageGroupId": "ds3tool", "MessageDeduplicationId": str(uuid.uuid4())}
    return _sent(client, arn, asked)


def text_to(client: Client, number: str, message: str) -> str:
    """Send a message to a telephone; return SNS's id of it."""
    check_phone(number)
    check_message(message, None)
    return _sent(client, number, {"PhoneNumber": number, "Message": message})


def _sent(client: Client, what: str, asked: dict[str, Any]) -> str:
    try:
        with far_side(what):
            return str(client.publish(**asked)["MessageId"])
    except FarSideNotFoundError as error:
        error.hint = error.hint or "see: ds3tool sns topics"
        raise
