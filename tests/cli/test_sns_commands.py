"""`ds3tool sns`: topics and who is told, against moto."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from ds3tool.aws.session import AwsSettings
from tests.cli.runner import Run, run
from tests.far.servers import FarSide

Ran = Callable[..., Run]
_NUMBERS = itertools.count(1)
TOPIC = "arn:aws:sns:us-east-1:123456789012:alerts"


@pytest.fixture
def sns(moto: FarSide) -> Ran:
    def call(*arguments: str, stdin: str = "") -> Run:
        return run("sns", *arguments, environ=moto.environ, stdin=stdin)

    return call


def new_name() -> str:
    return f"topic-{os.getpid()}-{next(_NUMBERS)}"


def listening(moto: FarSide, sns: Ran, name: str) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """Make a topic with a queue that is told; return the topic, and what takes from the queue."""
    arn = sns("create", name).expect().stdout.strip()
    sqs = moto.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns("subscribe", arn, "sqs", queue).expect()

    def told() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(one["Body"]) for one in found]

    return arn, told


def test_a_topic_is_made_listed_and_deleted(sns: Ran) -> None:
    """`create` prints the ARN that the other commands take."""
    name = new_name()
    arn = sns("create", name).expect().stdout.strip()
    assert arn.endswith(f":{name}")
    assert sns("create", name, "-o", "json").expect().json == {"name": name, "arn": arn}
    assert {"name": name, "arn": arn} in sns("topics", "-o", "json").expect().json
    assert "--yes" in sns("rm", arn).expect(2).stderr
    sns("rm", "--yes", arn).expect()
    assert arn not in sns("topics").expect().stdout
    sns("rm", "--yes", arn).expect(4)


def test_what_is_published_reaches_who_subscribes(moto: FarSide, sns: Ran) -> None:
    """Subject and message arrive as they were given; stdin is read for -."""
    arn, told = listening(moto, sns, new_name())
    assert sns("publish", arn, "tape 42 ü", "--subject", "Tapes", "-o", "json").expect().json["to"] == arn
    sns("publish", arn, "-", stdin="two\nlines").expect()
    assert {(one.get("Subject"), one["Message"]) for one in told()} == {("Tapes", "tape 42 ü"), (None, "two\nlines")}
    sns("publish", f"{arn}-none", "x").expect(4)


def test_a_topic_in_order_takes_messages_too(sns: Ran) -> None:
    """One that ends in .fifo is made as such, and each message of ours is one of its own."""
    arn = sns("create", f"{new_name()}.fifo").expect().stdout.strip()
    sns("publish", arn, "same").expect()
    sns("publish", arn, "same").expect()


def test_who_subscribes_is_listed_until_that_ends(sns: Ran) -> None:
    """`subscriptions` shows those of one topic, or of all; `unsubscribe` ends one, once."""
    arn = sns("create", new_name()).expect().stdout.strip()
    sns("subscribe", arn, "email", "a@example.org").expect()
    sns("subscribe", arn, "sqs", f"arn:aws:sqs:us-east-1:123456789012:{new_name()}").expect()
    found = sns("subscriptions", arn, "-o", "json").expect().json
    assert {one["protocol"] for one in found} == {"email", "sqs"}
    (queue,) = (one["arn"] for one in found if one["protocol"] == "sqs")
    sns("unsubscribe", queue).expect()
    assert [one["protocol"] for one in sns("subscriptions", arn, "-o", "json").expect().json] == ["email"]
    assert arn in sns("subscriptions", "-o", "csv").expect().stdout
    sns("unsubscribe", queue).expect(4)


class Asking:
    """SNS as far as subscribing by mail goes: it asks whoever reads the mail first. (moto takes it for granted.)"""

    def subscribe(self, **_: object) -> dict[str, str]:
        return {"SubscriptionArn": "pending confirmation"}


def test_mail_has_to_be_confirmed_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who subscribes by mail learns that nothing comes before the link was followed."""
    monkeypatch.setattr(AwsSettings, "client", lambda *_: Asking())
    told = run("sns", "subscribe", TOPIC, "email", "a@example.org").expect()
    assert "link in the mail" in told.stderr
    assert told.stdout == ""
    shown = run("sns", "subscribe", TOPIC, "email", "a@example.org", "-o", "json").expect().json
    assert (shown["confirmed"], shown["arn"]) == (False, None)


def test_a_telephone_is_told_without_a_topic(sns: Ran) -> None:
    """--phone stands in the topic's place."""
    assert sns("publish", "--phone", "+4915112345678", "hello", "-o", "json").expect().json["to"] == "+4915112345678"


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", TOPIC, "x", "--subject", "s" * 101),
        ("publish", TOPIC, "x", "--subject", "Größe"),
        ("publish", TOPIC, "x", "--subject", "two\nlines"),
        ("publish", TOPIC, "x", "--subject", ""),
        ("publish", TOPIC, "ü" * (128 * 1024 + 1)),
        ("publish", TOPIC, ""),
        ("publish", TOPIC, "x\udcff"),
        ("publish", TOPIC),
        ("publish", TOPIC, "two", "words"),
        ("publish", "alerts", "x"),
        ("publish", "--phone", "015112345678", "x"),
        ("publish", "--phone", "+49 1511 2345678", "x"),
        ("publish", "--phone", "+4915112345678", TOPIC, "x"),
        ("publish", "--phone", "+4915112345678", "x", "--subject", "s"),
        ("create", "a b"),
        ("create", "x" * 257),
        ("rm", "alerts"),
        ("subscribe", TOPIC, "fax", "+49123456789"),
        ("subscribe", TOPIC, "email", "nobody"),
        ("subscribe", TOPIC, "https", "http://example.org"),
        ("subscribe", TOPIC, "sms", "123"),
        ("subscribe", TOPIC, "sqs", "queue"),
        ("subscriptions", "alerts"),
        ("unsubscribe", TOPIC),
        ("unsubscribe", "PendingConfirmation"),
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_what_sns_would_refuse_is_refused_before_it_is_asked(arguments: tuple[str, ...]) -> None:
    """Limits, numbers and ARNs are looked at first: exit code 2, and nothing is sent."""
    told = run("sns", *arguments, "--yes", environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"})
    told.expect(2)
    assert "unexpected" not in told.stderr


def test_the_region_is_the_topics_own(moto: FarSide, sns: Ran) -> None:
    """A topic of another region is found by its ARN alone."""
    arn = sns("create", new_name(), "--s3-region", "eu-west-1").expect().stdout.strip()
    assert ":eu-west-1:" in arn
    sns("publish", arn, "x").expect()
    sns("subscriptions", arn).expect()
