"""What a person is told to do about a refusal."""

from __future__ import annotations

import pytest

from ds3tool.protocol import names, requests, tape_requests
from ds3tool.protocol.messages import Request
from ds3tool.protocol.model import ObjectToGet, ObjectToPut
from ds3tool.protocol.ways_out import way_out

JOB = "3c0f8a52-8f3d-4b57-9c59-2b7e1d1f0a01"
BULK_GET = requests.create_get_job("tide-gauges", [ObjectToGet("k")])
BULK_VERIFY = requests.create_verify_job("tide-gauges", [ObjectToGet("k")])
BULK_PUT = requests.create_put_job("tide-gauges", [ObjectToPut("k", 1)])
PUT_BLOB = requests.put_object("tide-gauges", "k", job_id=JOB, offset=0)
GET_BLOB = requests.get_object("tide-gauges", "k", job_id=JOB, offset=0)
HEAD = requests.head_object("tide-gauges", "k")
SHOW_JOB = f"ds3tool job show {JOB}"


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (requests.list_bucket("tide-gauges"), "ds3tool ls"),
        (requests.get_bucket("tide-gauges"), "ds3tool mb"),
        (requests.get_job(JOB), "ds3tool job ls"),
        (requests.cancel_job(JOB), "--canceled"),
        (requests.modify_job(JOB), "--completed"),
        (requests.get_ready_chunks(JOB), SHOW_JOB),
        (requests.get_chunk("c"), "ds3tool job show JOB"),
        (tape_requests.get_tape("S00001L9"), "ds3tool tape ls"),
        (BULK_GET, "ds3tool ls ds3://tide-gauges/"),
        (BULK_VERIFY, "ds3tool ls ds3://tide-gauges/"),
        (BULK_PUT, "ds3tool mb"),
        (PUT_BLOB, SHOW_JOB),
        (GET_BLOB, SHOW_JOB),
        (GET_BLOB, "ds3tool ls ds3://tide-gauges/"),
    ],
)
def test_what_is_not_there_is_answered_with_the_way_to_what_is(request_: Request, words: str, status: int) -> None:
    """Whether the refusal has a document or not; of a job's blob, the way to its job."""
    assert words in (way_out(request_, status, "NotFound") or "")


def test_an_object_that_is_not_there_is_its_callers_to_explain() -> None:
    """Whoever asked for it by name says more than a refusal could; a bucket is known by the code alone."""
    assert way_out(HEAD, 404, names.NO_SUCH_KEY) is None
    for request in (HEAD, PUT_BLOB, GET_BLOB, BULK_GET):
        assert "ds3tool mb" in (way_out(request, 404, names.NO_SUCH_BUCKET) or "")


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (requests.delete_bucket("tide-gauges"), names.BUCKET_NOT_EMPTY, "rb --force"),
        (requests.delete_bucket("tide-gauges"), names.BUCKET_NOT_EMPTY, "--versions"),
        (requests.create_bucket("tide-gauges"), names.BUCKET_ALREADY_EXISTS, "ds3tool ls"),
        (BULK_PUT, names.OBJECT_ALREADY_EXISTS, "--if-exists"),
        (PUT_BLOB, names.CONFLICT, SHOW_JOB),
        (requests.truncate_job(JOB), names.CONFLICT, SHOW_JOB),
        (tape_requests.tape_operation(names.EJECT, "S00001L9"), names.CONFLICT, "ds3tool tape show S00001L9"),
    ],
)
def test_what_stands_in_the_way_is_named_with_the_way_round_it(request_: Request, code: str, words: str) -> None:
    """A 409 says what to look at, or which option there is."""
    assert words in (way_out(request_, 409, code) or "")


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (BULK_PUT, names.INVALID_ARGUMENT, "--dry-run"),
        (BULK_GET, names.INVALID_ARGUMENT, "--dry-run"),
        (PUT_BLOB, names.BAD_REQUEST, "Put it again"),
        (GET_BLOB, names.BAD_DIGEST, "put again from its source"),
    ],
)
def test_what_was_asked_for_wrongly_can_be_looked_at(request_: Request, code: str, words: str) -> None:
    """A 400 is about the request itself, or about bytes."""
    assert words in (way_out(request_, 400, code) or "")


def test_a_job_that_finds_no_room_is_told_to_be_smaller() -> None:
    """Some appliances make room for a whole job at once; a get has nothing of that."""
    assert "--max-job-size" in (way_out(BULK_PUT, 503, names.SLOW_DOWN) or "")
    assert way_out(BULK_GET, 503, names.SLOW_DOWN) is None


def test_where_nobody_knows_a_way_none_is_told() -> None:
    """A hint that does not help hides those that do."""
    for status in (400, 402, 405, 411, 416, 500, 501):
        assert way_out(HEAD, status, "Whatever") is None
        assert way_out(requests.get_system_information(), status, "Whatever") is None
