"""What is asked again, after how long, and what is not."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import (
    ApplianceError,
    BusyError,
    Ds3Error,
    RetryLaterError,
    TransportError,
)
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.signing import Credentials, Signer, http_date
from ds3tool.transport.bodies import BytesBody, FileRangeBody
from tests.transport.conftest import ACCESS_KEY, SECRET_KEY, Connect, Serve
from tests.transport.exchanges import CREATE, GET, PUT, content, into_file, pattern, status
from tests.transport.scripted import Peer, Script, ScriptedServer, in_turn, refusal, replies, reply

LATER = "Retry-After"


def after(seconds: int) -> tuple[tuple[str, str], ...]:
    return ((LATER, str(seconds)),)


def drop(peer: Peer) -> None:
    """Take a request and break the connection without an answer."""
    peer.read_request()
    peer.reset()


def test_307_sends_the_same_again_signed_anew(
    serve: Serve, connect: Connect, clock: ManualClock, open_file: Callable[..., int]
) -> None:
    """A 307 repeats the whole body to the same place with a new date and signature; its Location is not followed."""
    elsewhere = serve(replies(reply(200, b"wrong place")))
    away = (*after(5), ("Location", f"{elsewhere.url}/other"))
    server = serve(
        replies(refusal(307, "Temporary", headers=away), refusal(307, "Temporary", headers=away), reply(200))
    )
    data = pattern(300_000)
    request = Request("PUT", "/b/k", query=(("job", "j"), ("offset", "0")), headers=(("x-amz-meta-a", "b"),))
    assert connect(server).exchange(request, status, body=FileRangeBody(open_file(data), 7, 290_000, "f")) == 200
    assert elsewhere.connections == 0
    assert [got.target for got in server.requests] == ["/b/k?job=j&offset=0"] * 3
    assert [got.body for got in server.requests] == [data[7:290_007]] * 3
    dates = [http_date(1_700_000_000 + moved) for moved in (0, 5, 10)]
    assert [got.headers["date"] for got in server.requests] == dates
    signer = Signer(Credentials(ACCESS_KEY, SECRET_KEY))
    assert [got.headers["authorization"] for got in server.requests] == [signer.sign(request, date) for date in dates]


def test_307_without_a_wish_is_asked_again_ever_later(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """The appliance held the request before it said 307, so the first waits are short, and none is long."""
    server = serve(replies(*[refusal(307, "Temporary")] * 12, reply(200)))
    connect(server).exchange(GET, status)
    assert len(clock.waits) == 12
    assert clock.waits[0] <= 0.1
    assert all(wait <= 10 for wait in clock.waits)
    assert clock.waits[-1] > 4


def test_503_waits_exactly_as_long_as_the_appliance_says(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """Retry-After is kept to the second, neither shortened nor stretched."""
    server = serve(
        replies(refusal(503, "SlowDown", headers=after(7)), refusal(503, "X", headers=after(60)), reply(200))
    )
    connect(server).exchange(GET, status)
    assert clock.waits == [7.0, 60.0]


def test_503_without_a_wish_backs_off(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """Waits grow, are spread, and stay below a minute."""
    server = serve(replies(*[refusal(503, "SlowDown")] * 9, reply(200)))
    connect(server).exchange(GET, status)
    bounds = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(clock.waits, bounds, strict=True))


def test_waits_that_the_appliance_asked_for_are_not_charged(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """Hours of Retry-After do not use up a budget of ten seconds; each minute it is told what is left of them."""
    server = serve(replies(*[refusal(503, "SlowDown", headers=after(3600))] * 5, reply(200)))
    transport = connect(server, max_retry_seconds=10.0)
    told: list[float] = []
    transport.on_wait = lambda _, seconds: told.append(seconds)
    transport.exchange(GET, status)
    assert sum(clock.waits) == 5 * 3600
    assert told == [3600.0 - minute * 60 for minute in range(60)] * 5


def test_a_broken_wish_does_not_stop_a_nights_work(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """An appliance that asks to wait for a year is asked again after an hour."""
    server = serve(replies(refusal(503, "SlowDown", headers=after(365 * 86_400)), reply(200)))
    assert connect(server).exchange(GET, status) == 200
    assert sum(clock.waits) == 3600


def test_a_wish_for_no_wait_is_kept_once_and_does_not_spin(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """Retry-After 0 repeats at once, then ever later up to a second, and only for as long as the budget allows."""
    server = serve(replies(refusal(503, "SlowDown", headers=after(0))))
    with pytest.raises(BusyError):
        connect(server, max_retry_seconds=100.0).exchange(GET, status)
    assert 100 <= len(server.requests) <= 210
    assert len(clock.waits) == len(server.requests) - 2
    assert max(clock.waits) <= 1
    assert 98 < sum(clock.waits) <= 100


def test_retrying_ends_when_its_time_is_spent(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """Without any wish of the appliance, failures are repeated for the budget and no longer; the last is raised."""
    server = serve(replies(refusal(503, "First"), refusal(503, "Later")))
    with pytest.raises(BusyError) as raised:
        connect(server, max_retry_seconds=100.0).exchange(GET, status)
    assert raised.value.code == "Later"
    assert 40 < sum(clock.waits) <= 100


def test_asked_for_waits_and_own_ones_are_told_apart(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """After an hour that was asked for, the budget for other failures is still whole, and still bounded."""
    server = serve(replies(refusal(503, "SlowDown", headers=after(3600)), refusal(500, "InternalError")))
    with pytest.raises(ApplianceError):
        connect(server, max_retry_seconds=100.0).exchange(GET, status)
    assert clock.waits[:60] == [60.0] * 60
    assert 40 < sum(clock.waits[60:]) <= 100


def test_hours_in_which_bytes_moved_are_not_charged(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """A large body that breaks off again and again after hours is sent again; one that never moves is given up."""
    hours = 7200.0

    def slowly(peer: Peer) -> None:
        peer.read_request()
        clock.advance(hours)  # as if the body had taken so long
        peer.reset()

    server = serve(in_turn(slowly, slowly, slowly, replies(reply(200))))
    transport = connect(server, max_retry_seconds=100.0, connect_timeout_seconds=10.0, io_timeout_seconds=20.0)
    assert transport.exchange(PUT, status, body=BytesBody(b"x")) == 200
    server = serve(slowly)
    transport = connect(server, max_retry_seconds=100.0, connect_timeout_seconds=10.0, io_timeout_seconds=20.0)
    with pytest.raises(TransportError):
        transport.exchange(PUT, status, body=BytesBody(b"x"))
    assert 4 <= len(server.requests) <= 6  # the first, and what fits into 100 s at 30 s a try


@pytest.mark.parametrize("code", [300, 301, 302, 400, 402, 403, 404, 405, 409, 410, 411, 416, 501])
def test_a_refusal_that_would_be_the_same_again_is_not_repeated(serve: Serve, connect: Connect, code: int) -> None:
    """The appliance's no is taken for a no, also where it says Retry-After."""
    server = serve(replies(refusal(code, "No", headers=after(1))))
    with pytest.raises(ApplianceError) as raised:
        connect(server).exchange(GET, status)
    assert (raised.value.status, raised.value.code) == (code, "No")
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [500, 502, 504])
def test_a_server_fault_is_repeated_only_where_twice_does_no_harm(serve: Serve, connect: Connect, code: int) -> None:
    """A fault may come after the work was done: only calls that may be done twice are."""
    server = serve(replies(refusal(code, "Fault"), reply(200)))
    assert connect(server).exchange(GET, status) == 200
    server = serve(replies(refusal(code, "Fault"), reply(200)))
    with pytest.raises(ApplianceError):
        connect(server).exchange(CREATE, status)
    assert len(server.requests) == 1


def test_a_reset_after_the_request_is_repeated_only_where_twice_does_no_harm(serve: Serve, connect: Connect) -> None:
    """A request that may have arrived is repeated when it is idempotent, and reported when it is not."""
    server = serve(in_turn(drop, replies(reply(200))))
    assert connect(server).exchange(PUT, status, body=BytesBody(b"x")) == 200
    server = serve(in_turn(drop, replies(reply(200))))
    with pytest.raises(TransportError) as raised:
        connect(server).exchange(CREATE, status)
    assert raised.value.may_have_arrived
    assert len(server.requests) == 1


def test_a_request_that_was_cut_off_is_repeated_whatever_it_is(serve: Serve, connect: Connect) -> None:
    """Of what was never sent whole nothing can have been done, so even a call that must not be done twice is sent."""

    def cut(peer: Peer) -> None:
        peer.read_head()
        peer.reset()

    server = serve(in_turn(cut, replies(reply(200))), receive_buffer=4096)
    body = BytesBody(bytes(64 * 1024 * 1024))
    assert connect(server, continue_wait_seconds=0.01).exchange(CREATE, status, body=body) == 200
    assert [len(got.body) for got in server.requests] == [body.length]


# -- what became of it? -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [drop, replies(refusal(500, "X")), replies(refusal(502, "X")), replies(reply(504))])
@pytest.mark.parametrize("request_", [CREATE, PUT], ids=["creation", "put"])
def test_what_was_carried_out_is_not_sent_twice(
    serve: Serve, connect: Connect, clock: ManualClock, lost: Script, request_: Request
) -> None:
    """When the reply is lost, or the fault may have come afterwards, it is asked, after a moment, what became of it."""
    server = serve(in_turn(lost, replies(reply(200))))
    asked: list[int] = []

    def ask() -> int:
        asked.append(len(clock.waits))
        return 201

    assert connect(server).exchange(request_, status, ask=ask) == 201
    assert asked == [1]
    assert len(server.requests) == 1


def test_what_was_not_carried_out_is_sent_again_after_asking(serve: Serve, connect: Connect) -> None:
    """Each time it is not known, it is asked again; what is not there is sent again, a creation too."""
    server = serve(in_turn(drop, drop, replies(reply(200))))
    asked: list[int] = []
    assert connect(server).exchange(CREATE, status, ask=lambda: asked.append(len(server.requests))) == 200
    assert asked == [1, 2]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "busy", [refusal(307, "X"), refusal(408, "X"), refusal(429, "X"), refusal(503, "X", headers=after(9))]
)
def test_nobody_asks_after_what_the_appliance_did_not_begin(serve: Serve, connect: Connect, busy: bytes) -> None:
    """ "Not now" says what became of the request: nothing."""
    server = serve(replies(busy, reply(200)))

    def ask() -> int:
        raise AssertionError("there is nothing to ask")

    assert connect(server).exchange(CREATE, status, ask=ask) == 200
    assert len(server.requests) == 2


def test_asking_that_meets_trouble_is_repeated_before_anything_is_sent(serve: Serve, connect: Connect) -> None:
    """As long as nobody can tell what became of it, it is not sent again; then what is told decides."""
    server = serve(in_turn(drop, replies(reply(200))))
    answers: list[Ds3Error | int] = [
        TransportError("no answer"),
        BusyError("later", status=503, code="X", retry_after_seconds=5.0),
        7,
    ]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Ds3Error):
            raise answer
        return answer

    assert connect(server).exchange(PUT, status, body=BytesBody(b"x"), ask=ask) == 7
    assert len(server.requests) == 1


def test_asking_in_vain_ends_when_the_time_is_spent(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """When nobody can be asked for as long as the budget allows, that is the failure, and nothing was sent twice."""
    server = serve(drop)

    def ask() -> int:
        raise TransportError("nobody there")

    with pytest.raises(TransportError, match="nobody there"):
        connect(server, max_retry_seconds=100.0).exchange(CREATE, status, ask=ask)
    assert len(server.requests) == 1
    assert 40 < sum(clock.waits) <= 100


def test_a_refused_connection_is_tried_again_whatever_the_request(
    serve: Serve, connect: Connect, clock: ManualClock
) -> None:
    """Nothing arrived where nobody listens, so even a call that must not be done twice is repeated."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
    told: list[tuple[Ds3Error, float]] = []
    servers: list[ScriptedServer] = []

    def on_wait(error: Ds3Error, seconds: float) -> None:
        told.append((error, seconds))
        if len(told) == 3:
            servers.append(serve(replies(reply(200)), port=port))

    transport = connect(f"http://127.0.0.1:{port}")
    transport.on_wait = on_wait
    assert transport.exchange(CREATE, status) == 200
    assert len(told) == 3
    assert clock.waits == [seconds for _, seconds in told]
    assert all(isinstance(error, TransportError) and not error.may_have_arrived for error, _ in told)
    assert f"127.0.0.1:{port}" in str(told[0][0])
    assert len(servers[0].requests) == 1


def test_a_caller_for_whom_waiting_is_an_answer_gets_it_at_once(
    serve: Serve, connect: Connect, clock: ManualClock
) -> None:
    """With `retry_busy` False, 503 and 307 are raised without a wait, with the appliance's wish."""
    server = serve(replies(refusal(503, "SlowDown", headers=after(60)), refusal(307, "Later")))
    transport = connect(server)
    with pytest.raises(BusyError) as raised:
        transport.exchange(GET, status, retry_busy=False)
    assert raised.value.retry_after_seconds == 60
    with pytest.raises(RetryLaterError):
        transport.exchange(GET, status, retry_busy=False)
    assert clock.waits == []


def test_busy_is_an_answer_also_after_another_failure(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    """With `retry_busy` False, a 503 that comes on the second try is raised as well, not waited out."""
    server = serve(in_turn(drop, replies(refusal(503, "SlowDown", headers=after(60)), reply(200))))
    with pytest.raises(BusyError):
        connect(server).exchange(GET, status, retry_busy=False)
    assert len(clock.waits) == 1
    assert clock.waits[0] < 1


def test_a_body_that_breaks_off_is_parsed_again_from_its_start(serve: Serve, connect: Connect) -> None:
    """When a reply breaks off while it is parsed, the parser sees the next one whole, not the rest."""
    data = pattern(200_000)

    def half(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply(200, data[:100_000], length=len(data)))

    seen: list[bytearray] = []

    def parse(response: Response) -> bytes:
        seen.append(bytearray())
        for block in response.body:
            seen[-1] += block
        return bytes(seen[-1])

    assert connect(serve(in_turn(half, half, replies(reply(200, data))))).exchange(GET, parse) == data
    assert seen == [data[:100_000], data[:100_000], data]


def test_a_file_that_was_half_filled_is_filled_again_from_its_start(
    serve: Serve, connect: Connect, open_file: Callable[..., int]
) -> None:
    """A get into a file that breaks off is repeated into the same place, and the file is right."""
    data = pattern(3_000_000)

    def half(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply(200, data[:1_500_000][::-1], length=len(data)))

    descriptor = open_file()
    server = serve(in_turn(half, replies(reply(200, data))))
    assert connect(server).exchange(GET, into_file(descriptor, 10)) == len(data)
    with open(descriptor, "rb", closefd=False) as file:
        assert file.read() == bytes(10) + data


def test_what_a_parser_raises_is_not_repeated(serve: Serve, connect: Connect) -> None:
    """A parser that does not like what it got is asked once."""
    server = serve(replies(reply(200, b"x")))

    def parse(response: Response) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        connect(server).exchange(GET, parse)
    assert len(server.requests) == 1


def test_parsers_get_what_the_reply_said(serve: Serve, connect: Connect) -> None:
    """Status, reason, headers and body reach the parser."""
    server = serve(replies(reply(206, b"part", headers=[("ETag", '"x"')], reason="Partial Content")))

    def parse(response: Response) -> tuple[int, str, str, bytes]:
        return response.status, response.reason, response.headers["etag"], content(response)

    assert connect(server).exchange(GET, parse) == (206, "Partial Content", '"x"', b"part")


def test_an_answer_that_comes_in_pieces_begins_the_budget_anew_with_each(
    serve: Serve, connect: Connect, clock: ManualClock
) -> None:
    """Tries that bring something are not charged, and what is sent then is the rest; one that brings nothing is."""

    def broken(peer: Peer) -> None:
        peer.read_request()
        clock.advance(9.0)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        peer.reset()

    came = 0

    def parse(response: Response) -> int:
        nonlocal came
        for block in response.body:
            came += len(block)
        return came

    def rest() -> Request:
        return Request("GET", "/b/k", headers=(("Range", f"bytes={came}-"),))

    server = serve(in_turn(*[broken] * 20, drop))
    with pytest.raises(TransportError):
        connect(server, max_retry_seconds=30.0).exchange(GET, parse, again=rest)
    assert came == 60
    assert [got.headers.get("range") for got in server.requests[:21]] == [
        None,
        *(f"bytes={3 * number}-" for number in range(1, 21)),
    ]
    assert all(wait <= 0.25 for wait in clock.waits[:20])
    assert 15 < sum(clock.waits[20:]) <= 30
