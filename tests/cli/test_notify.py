"""`--notify`: somebody is told how a run has ended, whatever its end was, and it never changes that end."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.cli import logs, notifying
from ds3tool.cli.notifying import Telling, body_of, subject_of
from ds3tool.cli.settings import Settings
from ds3tool.errors import InterruptedRunError, SourceError
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.run import RunResult
from tests.cli.archive import Archive
from tests.cli.interrupting import Between
from tests.far.servers import FarSide
from tests.jobs.rooms import Meddler

_NUMBERS = itertools.count(1)
MIB = 1 << 20
NOWHERE = "http://127.0.0.1:9"
Told = list[tuple[str, str]]


class Listener:
    """A topic, and a queue that hears what it is told."""

    def __init__(self, far: FarSide) -> None:
        name = f"notify-{os.getpid()}-{next(_NUMBERS)}"
        topics, self._queues = far.client("sns"), far.client("sqs")
        self._url = self._queues.create_queue(QueueName=name)["QueueUrl"]
        asked = self._queues.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        self.arn = topics.create_topic(Name=name)["TopicArn"]
        topics.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])
        self.option = f"sns:{self.arn}"

    def told(self) -> Told:
        """Return subject and body of every message since this was asked last."""
        found: Told = []
        while came := self._queues.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for one in came:
                self._queues.delete_message(QueueUrl=self._url, ReceiptHandle=one["ReceiptHandle"])
                body = json.loads(one["Body"])
                found.append((body["Subject"], body["Message"]))
        return found


@pytest.fixture
def listener(moto: FarSide, monkeypatch: pytest.MonkeyPatch) -> Listener:
    for name, value in moto.environ.items():
        monkeypatch.setenv(name, value)
    return Listener(moto)


def test_a_run_that_went_well_is_told_once(archive: Archive, tree: Path, listener: Listener) -> None:
    """One message says what ran, on which host, how much it moved and in which job."""
    bucket = archive.bucket()
    result = archive.run("put", str(tree), f"ds3://{bucket}", "--notify", listener.option, "-o", "json").expect().json
    ((subject, body),) = listener.told()
    assert subject == "ds3tool put: 3 objects (exit 0)"
    assert f"Command: ds3tool put {tree} ds3://{bucket}" in body
    assert os.uname().nodename in body
    assert result["jobs"][0]["id"] in body
    assert f"({result['bytes']:,} bytes)" in body
    assert result["notes"] == []


def test_each_topic_is_told_once(archive: Archive, tree: Path, listener: Listener, moto: FarSide) -> None:
    """The option may be repeated; a topic that is named twice is told once."""
    other = Listener(moto)
    options = [word for one in (listener, other, listener) for word in ("--notify", one.option)]
    archive.run("put", str(tree), f"ds3://{archive.bucket()}", *options).expect()
    assert (len(listener.told()), len(other.told())) == (1, 1)


def test_what_failed_is_told_by_name(archive: Archive, tree: Path, listener: Listener) -> None:
    """The exit code stays what it is, and the message holds each failure."""
    bucket = archive.bucket("a/one.txt")
    archive.run("put", str(tree), f"ds3://{bucket}", "--notify", listener.option).expect(3)
    ((subject, body),) = listener.told()
    assert subject == "ds3tool put: 2 objects, 1 failed (exit 3)"
    assert body.partition("What failed:\n")[2] == "a/one.txt is in the bucket already, and is not the same"
    assert "listed below" in body


def test_every_command_that_moves_data_tells(archive: Archive, tree: Path, listener: Listener, tmp_path: Path) -> None:
    """get, sync, plan run and verify sample say it too, under their own names."""
    bucket, there, plan = archive.bucket("x", "y"), str(tmp_path / "there"), str(tmp_path / "plan")
    archive.run("get", f"ds3://{bucket}", there, "--notify", listener.option).expect()
    archive.run("sync", f"ds3://{bucket}", there, "--yes", "--notify", listener.option).expect()
    archive.run("plan", "put", str(tree), f"ds3://{bucket}", "--save", plan, "--notify", listener.option).expect()
    archive.run("plan", "run", plan, "--notify", listener.option).expect()
    archive.run("verify", "sample", "--count", "1", f"ds3://{bucket}", "--notify", listener.option).expect()
    assert sorted(subject for subject, _ in listener.told()) == [
        "ds3tool get: 2 objects (exit 0)",
        "ds3tool plan run: 3 objects (exit 0)",
        "ds3tool sync: 0 objects (exit 0)",
        "ds3tool verify sample: 1 object (exit 0)",
    ]


def test_what_was_only_tried_is_told_to_nobody(archive: Archive, tree: Path, listener: Listener) -> None:
    """A dry run, a plan and a resume without anything to do send no message."""
    bucket = archive.bucket()
    archive.run("put", str(tree), f"ds3://{bucket}", "--notify", listener.option, "--dry-run").expect()
    archive.run("plan", "put", f"{tree}/none", f"ds3://{bucket}", "--notify", listener.option).expect(4)
    archive.run("resume", "--notify", listener.option).expect()
    assert listener.told() == []


def test_an_appliance_out_of_reach_is_told(archive: Archive, tree: Path, listener: Listener) -> None:
    """What ends a run before it has a result is told as well."""
    told = archive.run(
        "put", str(tree), "ds3://b", "--endpoint", NOWHERE, "--max-retry-time", "0s", "--notify", listener.option
    ).expect(7)
    ((subject, body),) = listener.told()
    assert subject == "ds3tool put: Unreachable (exit 7)"
    assert "127.0.0.1:9" in body
    assert "ended with exit code 7" in body
    assert "warning" not in told.stderr
    archive.run("get", "ds3://no-such-bucket/", str(tree), "--notify", listener.option).expect(4)
    assert "exit 4" in listener.told()[0][0]


def test_an_interruption_is_told_and_so_is_the_end_of_its_resumption(
    archive: Archive, tmp_path: Path, listener: Listener, between: Between
) -> None:
    """The journal keeps whom to tell: `resume` tells the same topic, unasked."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "large").write_bytes(os.urandom(3 * MIB))
    bucket = archive.bucket()
    between.signal_at(2)
    between.run("put", str(root), f"ds3://{bucket}", "-j", "1", "--notify", listener.option).expect(130)
    ((subject, body),) = listener.told()
    assert subject.endswith("(exit 130)")
    assert "ds3tool resume" in body
    archive.run("resume").expect()
    ((subject, _),) = listener.told()
    assert subject == "ds3tool resume: 1 object (exit 0)"


@pytest.fixture
def between(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    meddler = Meddler(archive.appliance)
    yield Between(archive, meddler, monkeypatch)
    meddler.close()


def test_who_cannot_be_told_changes_nothing(
    archive: Archive, tree: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends as it did: a warning on stderr, a note in the result."""
    gone = f"{listener.option}-gone"
    told = archive.run("put", str(tree), f"ds3://{archive.bucket()}", "--notify", gone, "-o", "json").expect()
    assert "could not be told" in told.stderr
    assert gone.removeprefix("sns:") in told.json["notes"][0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    nobody = archive.run("get", "ds3://none/", str(tree), "--notify", listener.option).expect(4)
    assert "could not be told" in nobody.stderr


@pytest.mark.parametrize("value", ["", "alerts", "sns:", "sns:alerts", "mail:a@b", "sns:arn:aws:sqs:eu-west-1:1:q"])
@pytest.mark.parametrize("verb", ["put", "get", "sync", "resume"])
def test_who_cannot_be_meant_is_refused_before_anything_starts(
    archive: Archive, tree: Path, verb: str, value: str
) -> None:
    """The form of an ARN is looked at first: exit code 2, and the appliance is not asked."""
    bucket = archive.bucket()
    arguments = {
        "put": (str(tree), f"ds3://{bucket}"),
        "get": ("ds3://none/", str(tree)),
        "sync": (str(tree), f"ds3://{bucket}"),
        "resume": (),
    }[verb]
    archive.run(verb, *arguments, "--notify", value).expect(2)
    assert archive.keys(bucket) == []


# -- what is said ---------------------------------------------------------------------------------------------------


def failed(count: int) -> RunResult:
    result = RunResult(objects=1, bytes=5, seconds=61.0)
    result.failures = [
        Failure(f"a/{number:06}/" + "ü" * 40, SourceError(f"ü{number} cannot be read")) for number in range(count)
    ]
    return result


def test_a_message_never_exceeds_what_sns_takes() -> None:
    """As many failures as fit stand in it, and how many there are more."""
    body = body_of("ds3tool put", ("put", "x"), failed(20_000), None, 3)
    size = len(body.encode("utf-8"))
    assert 255 * 1024 < size <= 256 * 1024
    *named, last = body.partition("What failed:\n")[2].splitlines()
    assert last == f"and {20_000 - len(named):,} more"
    few = body_of("ds3tool put", ("put", "x"), failed(3), None, 3)
    assert len(few.partition("What failed:\n")[2].splitlines()) == 3
    assert " more" not in few


def test_a_command_of_megabytes_keeps_nobody_from_being_told() -> None:
    """What a wildcard has made of a command is told by its beginning, and the failures still fit behind it."""
    words = ("put", *(f"/data/2026/a-rather-long-name-{number:08}.gz" for number in range(20_000)), "ds3://bucket/")
    result = failed(3)
    result.notes.extend(f"note {number} {'ü' * 9_000}" for number in range(500))
    body = body_of("ds3tool put", words, result, None, 3)
    assert len(body.encode("utf-8")) <= 256 * 1024
    assert "Command: ds3tool put /data/2026/a-rather-long-name-00000000.gz" in body
    assert "What failed:" in body
    assert body.splitlines()[-1] == body_of("ds3tool put", ("put",), failed(3), None, 3).splitlines()[-1]


def test_a_subject_is_one_short_line_of_ascii() -> None:
    """Whatever the command is called and the error's word is, SNS takes the subject."""
    error = InterruptedRunError("x")
    error.code = "ü\n" * 200
    subject = subject_of("ds3tool put", RunResult(), error, 130)
    assert len(subject) <= 100
    assert subject.isascii()
    assert subject.isprintable()


def test_no_secret_is_in_a_message() -> None:
    """Keys, signatures and the passwords of proxies are in no line, and no name makes a line of its own."""
    logs.hide("hunter2")
    result = failed(1)
    result.failures[0].error.message = "https://h/k?X-Amz-Signature=abcdef12&X-Amz-Credential=AKIAX%2F1: 403\nhunter2"
    words = ("put", "--proxy", "http://me:hunter3@proxy", "x?X-Amz-Security-Token=tttt")
    try:
        body = body_of("ds3tool put", words, result, None, 3)
    finally:
        logs.forget_secrets()
    for secret in ("hunter2", "hunter3", "abcdef12", "AKIAX", "tttt"):
        assert secret not in body
    assert len(body.partition("What failed:\n")[2].splitlines()) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("x"), BrokenPipeError(32, "x")])
def test_whatever_ends_a_command_is_told(error: BaseException, listener: Listener) -> None:
    """Also what nobody thought of; and it goes on its way."""
    telling = Telling((listener.arn,), Settings(), "ds3tool put", is_armed=True)
    with pytest.raises(type(error)), telling.watching():
        raise error
    ((subject, _),) = listener.told()
    assert f"(exit {130 if isinstance(error, KeyboardInterrupt) else 1})" in subject


def test_an_interruption_while_somebody_is_told_loses_no_result(
    archive: Archive, tree: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C then ends the telling alone."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notifying, "_publish", interrupted)
    told = archive.run("put", str(tree), f"ds3://{archive.bucket()}", "--notify", listener.option, "-o", "json")
    assert told.expect().json["objects"] == 3
    assert "interrupted" in told.json["notes"][0]
