"""Which error a refusal becomes, whatever its body; how long it asks to wait; what it tells a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    BusyError,
    ConflictError,
    DamagedError,
    Ds3Error,
    ForbiddenError,
    MediaOfflineError,
    NotFoundError,
    RetryLaterError,
    ServerFaultError,
)
from ds3tool.protocol import requests, responses
from ds3tool.protocol.messages import Headers, Request, Response
from ds3tool.protocol.model import ObjectToGet, ObjectToPut
from tests.golden.documents import RESPONSES

GOLDEN = {one.file: one.data for one in RESPONSES}
NOW = 1_704_164_645.0  # Tue, 02 Jan 2024 03:04:05 GMT
DATE = "Tue, 02 Jan 2024 03:04:05 GMT"

BULK_GET = requests.create_get_job("tide-gauges", [ObjectToGet("k")])
BULK_VERIFY = requests.create_verify_job("tide-gauges", [ObjectToGet("k")])
BULK_PUT = requests.create_put_job("tide-gauges", [ObjectToPut("k", 1)])
HEAD = requests.head_object("tide-gauges", "2025/é")


def _error(
    status: int,
    body: bytes = b"",
    request: Request = HEAD,
    *,
    now: float | None = NOW,
    headers: dict[str, str] | None = None,
) -> Ds3Error:
    return responses.error(request, Response(status, Headers((headers or {}).items()), (body,)), now=now)


def _refusal(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><HttpErrorCode>400</HttpErrorCode><Message>{message}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (301, ApplianceError, "MovedPermanently"),
        (307, RetryLaterError, "TemporaryRedirect"),
        (400, ApplianceError, "BadRequest"),
        (402, ApplianceError, "PaymentRequired"),
        (403, ForbiddenError, "Forbidden"),
        (404, NotFoundError, "NotFound"),
        (405, ApplianceError, "MethodNotAllowed"),
        (409, ConflictError, "Conflict"),
        (410, NotFoundError, "Gone"),
        (411, ApplianceError, "LengthRequired"),
        (416, ApplianceError, None),
        (408, ServerFaultError, None),
        (429, ServerFaultError, "TooManyRequests"),
        (500, ServerFaultError, "InternalServerError"),
        (501, ApplianceError, "NotImplemented"),
        (502, ServerFaultError, "BadGateway"),
        (504, ServerFaultError, "GatewayTimeout"),
        (503, BusyError, "ServiceUnavailable"),
        (599, ApplianceError, "Status599"),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html><head/><body>Proxy says no</body></html>", b"\x00\xff", b"<Error", b"{}"]
)
def test_the_status_speaks_when_the_body_does_not(
    status: int, kind: type[Ds3Error], code: str | None, body: bytes
) -> None:
    """With an empty, foreign or broken body the status alone decides the error's class and word."""
    error = _error(status, body)
    assert type(error) is kind
    assert isinstance(error, ApplianceError)
    assert error.status == status
    assert code is None or error.code == code
    assert error.message.startswith(f"HEAD /tide-gauges/2025/%C3%A9: {status} ")


def test_a_refusal_says_what_the_appliance_said() -> None:
    """Code, message without its repetition of the code, resource and request number come from the document."""
    error = _error(404, GOLDEN["responses/error-no-such-bucket.xml"])
    assert isinstance(error, NotFoundError)
    assert error.message == ("HEAD /tide-gauges/2025/%C3%A9: 404 NoSuchBucket: There is no bucket called 'tide-gages'")
    assert (error.code, error.resource, error.request_id) == ("NoSuchBucket", "/tide-gages", "4711")


def test_the_status_line_wins_over_the_document() -> None:
    """When HttpErrorCode differs from the status, the status counts."""
    error = _error(503, GOLDEN["responses/error-no-such-bucket.xml"])
    assert isinstance(error, BusyError)
    assert error.status == 503


def test_the_request_number_may_stand_in_a_header() -> None:
    """Without a document, the request number is that of the reply's header."""
    assert _error(500, headers={"x-amz-request-id": "99"}).request_id == "99"


def test_a_name_conflict_is_a_conflict() -> None:
    """A bulk put of a name that exists is a ConflictError with the appliance's word for it."""
    error = _error(409, GOLDEN["responses/error-object-exists.xml"], BULK_PUT)
    assert isinstance(error, ConflictError)
    assert error.code == "OBJECT_ALREADY_EXISTS"


# -- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (NOW + 17 * 60 + 3, "17 min 3 s ahead of the appliance's"),
        (NOW - 90_000, "1 d 1 h behind the appliance's"),
        (NOW, "agree"),
        (None, "time server"),
    ],
)
def test_a_clock_that_is_out_is_told_by_how_much(now: float | None, words: str) -> None:
    """A refusal for the clock says how far this machine is from the reply's Date, and in which direction."""
    error = _error(403, GOLDEN["responses/error-clock.xml"], now=now, headers={"Date": DATE})
    assert type(error) is AccessDeniedError
    assert words in (error.hint or "")


def test_the_clock_is_recognised_by_the_words_alone() -> None:
    """Any 403 whose message holds `Client clock` is about the clock, whatever its code."""
    error = _error(
        403, _refusal("AccessDenied", "AccessDenied[403]: Client clock is off"), now=NOW + 60, headers={"Date": DATE}
    )
    assert "1 min ahead" in (error.hint or "")
    assert type(error) is AccessDeniedError


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "InvalidAccessKeyId"])
def test_a_403_for_who_asks_says_nothing_of_what_they_may(code: str) -> None:
    """Whoever goes on without what this user may not see must not take a wrong key for that."""
    assert type(_error(403, _refusal(code, "no"))) is AccessDeniedError
    assert type(_error(403, _refusal("AccessDenied", "no"))) is ForbiddenError


def test_damage_that_the_appliance_has_found_is_an_integrity_failure() -> None:
    """400 BadDigest to a GET is about its copy, not about what was asked; to a PUT it is about what was sent."""
    got = _error(400, _refusal("BadDigest", "damaged"), request=requests.get_object("b", "k"))
    assert isinstance(got, DamagedError)
    assert got.exit_code == 5
    put = _error(400, _refusal("BadDigest", "wrong"), request=requests.put_object("b", "k"))
    assert type(put) is ApplianceError


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"])
def test_other_denials_point_to_the_keys(code: str) -> None:
    """A denial that is not about the clock says to check the keys."""
    error = _error(403, _refusal(code, "no"), headers={"Date": DATE})
    assert "secret key" in (error.hint or "")
    assert "clock" not in (error.hint or "")


# -- other places -----------------------------------------------------------------------------------------------------


def test_the_management_port_is_told_from_a_missing_object() -> None:
    """A 404 of the management port is no NotFoundError, and its hint says which port to use."""
    error = _error(404, headers={"Spectra-Data-Path-Request-Made-On-Management-Path": "true"})
    assert isinstance(error, ApplianceError)
    assert not isinstance(error, NotFoundError)
    assert error.code == "ManagementPort"
    assert "data port" in (error.hint or "")


@pytest.mark.parametrize(("status", "word"), [(301, "endpoint"), (407, "proxy")])
def test_foreign_servers_are_hinted_at(status: int, word: str) -> None:
    """A real redirect and a proxy's demand for credentials point to the address or the proxy."""
    assert word in (_error(status).hint or "")


# -- tapes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [BULK_GET, BULK_VERIFY])
@pytest.mark.parametrize("status", [400, 404, 409, 503])
def test_tapes_that_must_be_onlined_are_listed(request_: Request, status: int) -> None:
    """A bulk get or verify refused for ejected tapes is a MediaOfflineError with their bar codes, sorted."""
    error = _error(status, GOLDEN["responses/error-tapes-offline.xml"], request_)
    assert isinstance(error, MediaOfflineError)
    assert error.bar_codes == ("TG0003L8", "TG0007L8")
    assert "TG0003L8, TG0007L8" in error.message


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (BULK_PUT, 409, "Tapes must be onlined: [TG0003L8]"),
        (HEAD, 409, "Tapes must be onlined: [TG0003L8]"),
        (BULK_GET, 403, "Tapes must be onlined: [TG0003L8]"),
        (BULK_GET, 404, "No objects: [a, b]"),
        (BULK_GET, 409, "Conflict[409]: Tapes must be onlined"),
        (BULK_GET, 409, "Tapes must be onlined: []"),
        (BULK_GET, 409, "Tapes must be onlined: [not a bar code, é]"),
    ],
)
def test_other_refusals_are_not_about_tapes(request_: Request, status: int, message: str) -> None:
    """Without bar codes, or for another call, or on other grounds, a refusal stays what its status says."""
    assert isinstance(_error(status, _refusal("Conflict", message), request_), ApplianceError)


# -- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": " 60 "}, 60.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "3600"}, 3600.0),
        ({"Retry-After": "3601"}, 3600.0),
        ({"Retry-After": "31536000"}, 3600.0),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "\u0663"}, None),
        ({"Retry-After": "Tue, 02 Jan 2024 03:05:05 GMT", "Date": DATE}, 60.0),
        ({"Retry-After": "Tue, 02 Jan 2024 03:05:05 GMT"}, 160.0),
        ({"Retry-After": "Tue, 02 Jan 2025 03:05:05 GMT", "Date": DATE}, 3600.0),
        ({"Retry-After": "Mon, 01 Jan 2024 03:05:05 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "Tue, 99 Jan 2024 03:05:05 GMT", "Date": DATE}, None),
    ],
)
def test_the_wish_to_wait_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After, in seconds or as a date by the appliance's clock, is a wait, at most an hour; nonsense is none."""
    error = _error(503, now=NOW - 100, headers=headers)
    assert isinstance(error, BusyError)
    assert error.retry_after_seconds == seconds


# -- robustness -------------------------------------------------------------------------------------------------------


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=30), st.text(max_size=30))
def test_no_refusal_breaks_the_mapping(status: int, body: bytes, retry_after: str, date: str) -> None:
    """Whatever a refusal holds, it becomes an ApplianceError with its status."""
    headers = Headers([("Retry-After", retry_after), ("Date", date), ("x-amz-request-id", retry_after)])
    error = responses.error(HEAD, Response(status, headers, (body,)), now=NOW)
    assert isinstance(error, ApplianceError)
    assert error.status == status


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<&\ufffe\uffff")))
def test_no_message_breaks_the_mapping(message: str) -> None:
    """Whatever a message says, a refused bulk get becomes an error that a person can read."""
    error = _error(409, _refusal("Conflict", message), BULK_GET)
    assert isinstance(error, ConflictError | MediaOfflineError)


def test_an_endless_refusal_is_cut() -> None:
    """A refusal of a hundred megabytes yields an error of a few kilobytes."""
    body = (b"x" * 1_000_000 for _ in range(100))
    error = responses.error(HEAD, Response(500, Headers(), body), now=NOW)
    assert len(error.message) < 4096
    long = _error(500, _refusal("Weird", "word " * 100_000))
    assert len(long.message) < 4096


def test_a_refusal_carries_its_way_out() -> None:
    """What can be done about it is the error's hint, with a document or without."""
    assert "--max-job-size" in (_error(503, request=BULK_PUT).hint or "")
    assert "rb --force" in (_error(409, b"<Error><Code>BucketNotEmpty</Code></Error>").hint or "")
    assert _error(404).hint is None
