"""Records go into a stream once each, within its limits and at its pace; only what failed goes again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.clock import ManualClock
from ds3tool.errors import FarSideNotFoundError, FarSideUnreachableError
from ds3tool.firehose.sending import LARGEST_RECORD, MOST_BYTES, MOST_RECORDS, Outgoing, Sender, batches

# boto3 makes its clients' types at run time.
Client = Any


def outgoing(*sizes: int) -> list[Outgoing]:
    return [Outgoing(f"line {number}", bytes(size)) for number, size in enumerate(sizes, start=1)]


def named(*names: str) -> list[Outgoing]:
    return [Outgoing(name, name.encode()) for name in names]


@pytest.fixture(scope="module")
def firehose() -> Client:
    """A client that reaches nothing."""
    return boto3.client("firehose", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")


class Answers:
    """A stream that answers as it was told to, and fails the test for a request that it does not expect."""

    def __init__(self, client: Client) -> None:
        self.stubber = Stubber(client)

    def expect(self, names: Iterable[str], *, refused: Iterable[str] = ()) -> None:
        names, refused = list(names), set(refused)
        told = [
            {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
            if name in refused
            else {"RecordId": name}
            for name in names
        ]
        self.stubber.add_response(
            "put_record_batch",
            {"FailedPutCount": len(refused), "RequestResponses": told},
            {"DeliveryStreamName": "clicks", "Records": [{"Data": name.encode()} for name in names]},
        )


@pytest.fixture
def answers(firehose: Client) -> Iterator[Answers]:
    answers = Answers(firehose)
    with answers.stubber:
        yield answers
        answers.stubber.assert_no_pending_responses()


def test_only_what_was_refused_is_sent_again(firehose: Client, answers: Answers) -> None:
    """Of a batch that was taken in part the rest alone is repeated, after waits that grow, until all of it is taken."""
    answers.expect("abcde", refused="bd")
    answers.expect("bd", refused="d")
    answers.expect("d")
    clock = ManualClock()
    sender = Sender(firehose, "clicks", clock=clock)
    sender.send(named(*"abcde"))
    assert (sender.sent.records, sender.sent.bytes, sender.sent.requests, sender.sent.repeated) == (5, 5, 3, 3)
    assert (sender.sent.failed, sender.sent.last) == ([], "e")
    assert len(clock.waits) == 2
    assert 0.2 <= clock.waits[0] <= 0.4 <= clock.waits[1] <= 0.6


def test_a_record_that_is_never_taken_is_named_and_the_rest_goes_on(firehose: Client, answers: Answers) -> None:
    """After ten tries a record is given up by name; waits double up to half a minute."""
    answers.expect("ab", refused="b")
    for _ in range(9):
        answers.expect("b", refused="b")
    clock = ManualClock()
    sender = Sender(firehose, "clicks", clock=clock)
    sender.send(named(*"ab"))
    assert [(one.name, one.why) for one in sender.sent.failed] == [
        ("b", "Slow down. (ServiceUnavailableException), 10 times")
    ]
    assert (sender.sent.records, sender.sent.last) == (1, None)
    assert len(clock.waits) == 9
    assert max(clock.waits) <= 30.2
    assert 81 <= sum(clock.waits) <= 83


def test_a_stream_that_takes_nothing_ends_the_run(firehose: Client, answers: Answers) -> None:
    """When a whole batch is refused time and again, no further batch is tried, and it is said how far all was taken."""
    first = [str(number) for number in range(MOST_RECORDS)]
    answers.expect(first)
    for _ in range(10):
        answers.expect("xy", refused="xy")
    sender = Sender(firehose, "clicks", clock=ManualClock())
    with pytest.raises(FarSideUnreachableError, match="took none of 2 records from x on, in 10 tries: Slow down"):
        sender.send(named(*first, "x", "y"))
    assert (sender.sent.records, sender.sent.last) == (500, "499")


def test_a_stream_that_is_not_there_is_not_found(firehose: Client) -> None:
    """A refusal of the whole request is no failure of a record."""
    with Stubber(firehose) as stubber:
        stubber.add_client_error("put_record_batch", "ResourceNotFoundException", "no such stream", 400)
        with pytest.raises(FarSideNotFoundError, match="stream clicks: no such stream"):
            Sender(firehose, "clicks").send(named("a"))


def test_records_keep_to_the_rate(firehose: Client, answers: Answers) -> None:
    """So many records a second and no more, in batches of a second's records at most."""
    for start in range(0, 10, 4):
        answers.expect("abcdefghij"[start : start + 4])
    clock = ManualClock()
    sender = Sender(firehose, "clicks", rate=4, clock=clock)
    began = clock.monotonic()
    sender.send(named(*"abcdefghij"))
    assert clock.monotonic() - began == pytest.approx(2.0)
    assert clock.waits == pytest.approx([1.0, 1.0])


def test_a_slow_rate_sends_one_by_one(firehose: Client, answers: Answers) -> None:
    """Less than one record a second is a rate too."""
    for name in "abc":
        answers.expect(name)
    clock = ManualClock()
    Sender(firehose, "clicks", rate=0.1, clock=clock).send(named(*"abc"))
    assert clock.waits == pytest.approx([10.0, 10.0])


def test_a_record_that_is_too_large_is_named_and_not_sent(firehose: Client, answers: Answers) -> None:
    """The largest record goes; one byte more does not, and costs the others nothing."""
    answers.stubber.add_response("put_record_batch", {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}] * 2})
    sender = Sender(firehose, "clicks")
    sender.send(outgoing(1, LARGEST_RECORD + 1, LARGEST_RECORD))
    assert sender.sent.records == 2
    assert [(one.name, one.why) for one in sender.sent.failed] == [
        ("line 2", "it has 1,024,001 bytes, and a record has at most 1,024,000")
    ]


@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 1000, 100_000, LARGEST_RECORD, LARGEST_RECORD + 1]) | st.integers(0, LARGEST_RECORD),
        max_size=30,
    ),
    many=st.sampled_from([0, 0, MOST_RECORDS - 1, 2 * MOST_RECORDS]),
    most=st.sampled_from([1, 7, MOST_RECORDS]),
)
def test_batches_keep_every_limit_and_lose_nothing(sizes: list[int], many: int, most: int) -> None:
    """No batch has too many records or bytes; each record is in one batch or too large; the order is kept."""
    records = [Outgoing(str(number), memoryview(_ZEROS)[:size]) for number, size in enumerate(sizes + [1] * many)]  # type: ignore[arg-type]  # only its length is looked at
    large: list[Outgoing] = []
    made = list(batches(records, most=most, too_large=large.append))
    assert [record for batch in made for record in batch] == [one for one in records if len(one.data) <= LARGEST_RECORD]
    assert large == [one for one in records if len(one.data) > LARGEST_RECORD]
    for batch in made:
        assert 0 < len(batch) <= most
        assert sum(len(record.data) for record in batch) <= MOST_BYTES
    for batch, following in itertools.pairwise(made):
        full = len(batch) == most or sum(len(record.data) for record in batch) + len(following[0].data) > MOST_BYTES
        assert full, "a batch that had room was sent"


_ZEROS = bytes(LARGEST_RECORD + 1)
