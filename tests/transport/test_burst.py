"""Many small requests from one thread: each told of exactly once, whatever becomes of its connection."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from ds3tool.errors import Ds3Error, ProtocolError, TransportError
from ds3tool.transport.burst import Burst
from ds3tool.transport.pool import Transport
from ds3tool.transport.ratelimit import RateLimit
from ds3tool.transport.replies import ReplyHead
from ds3tool.transport.shapes import AnswerHead
from tests.transport.conftest import Connect, Serve, open_descriptors
from tests.transport.exchanges import GET, Running, content, pattern
from tests.transport.scripted import WAIT_SECONDS, Peer, Received, chunked, in_turn, refusal, reply


def request_for(number: int, body: bytes = b"", *, do: str = "answer") -> bytes:
    """Return a whole request that says what the server is to do with it."""
    return (
        f"PUT /{number} HTTP/1.1\r\nHost: h\r\nX-Do: {do}\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body
    )


@dataclass
class Work:
    """Requests by number, and what became of each."""

    requests: list[bytes]
    fates: list[list[bytes | Ds3Error | ReplyHead]] = field(default_factory=list)
    taken: int = 0
    thread: int = 0
    rested_at: float = 0.0

    def __post_init__(self) -> None:
        self.fates = [[] for _ in self.requests]
        self.thread = threading.get_ident()

    def take(self) -> tuple[int, bytes] | None:
        if self.taken == len(self.requests):
            return None
        self.taken += 1
        return self.taken - 1, self.requests[self.taken - 1]

    def answered(self, token: int, head: AnswerHead, body: memoryview) -> None:
        assert 200 <= head.status < 300
        self.fates[token].append(bytes(body))

    def failed(self, token: int, error: Ds3Error | None, head: ReplyHead | None) -> None:
        assert (error is None) is not (head is None)
        fate = error or head
        assert fate is not None
        self.fates[token].append(fate)

    def rest(self, now: float) -> None:
        self.rested_at = now

    def check(self) -> None:
        """Whatever was taken was told of once, and nothing else was."""
        assert [len(fate) for fate in self.fates] == [1] * self.taken + [0] * (len(self.requests) - self.taken)
        assert self.rested_at == math.inf, "the end of the run was not told"

    @property
    def answers(self) -> dict[int, bytes]:
        return {token: fate[0] for token, fate in enumerate(self.fates) if fate and isinstance(fate[0], bytes)}

    @property
    def failures(self) -> dict[int, Ds3Error | ReplyHead]:
        return {token: fate[0] for token, fate in enumerate(self.fates) if fate and not isinstance(fate[0], bytes)}


BurstOf = Callable[..., Burst]


@pytest.fixture
def burst_of(nothing_left: None) -> Iterator[BurstOf]:
    """Return the function that makes a burst; each is closed at the end."""
    made: list[Burst] = []

    def make(transport: Transport, lanes: int = 4, largest_reply: int = 300_000, method: str = "PUT") -> Burst:
        made.append(Burst(transport, method=method, lanes=lanes, largest_reply=largest_reply))
        return made[-1]

    yield make
    for burst in made:
        burst.close()


def answer_of(got: Received) -> bytes:
    return got.target.encode() + b":" + got.body


# What is sent, made of the plain answer's body, and how the connection ends after it.
ODD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "refuse": (lambda data: refusal(404, "NoSuchKey"), ""),
    "later": (lambda data: refusal(307, "Temporary"), ""),
    "busy": (lambda data: refusal(503, "SlowDown"), ""),
    "moved": (lambda data: reply(302, headers=[("Location", "/x")]), ""),
    "interim": (lambda data: b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, data), ""),
    "malformed": (lambda data: b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", ""),
    "nonsense": (lambda data: b"nonsense\r\n\r\n", ""),
    "chunked": (lambda data: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(data), ""),
    "to the end": (lambda data: b"HTTP/1.1 200 OK\r\n\r\n" + data, "close"),
    "short": (lambda data: reply(200, data, length=len(data) + 1), "close"),
    "cut in the head": (lambda data: b"HTTP/1.1 200 OK\r\nConte", "close"),
    "long": (lambda data: reply(200, data, length=len(data) - 1), ""),
    "two": (lambda data: reply(200, data) + reply(200, data), ""),
    "huge": (lambda data: reply(200, b"", length=1_000_000_000), ""),
    "huge head": (lambda data: b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000, ""),
    "reset": (lambda data: b"", "reset"),
    "close": (lambda data: b"", "close"),
    "answer and reset": (lambda data: reply(200, data, length=len(data) + 5), "reset"),
}


def obey(peer: Peer) -> None:
    """Do with each request what it says; `answer` gives its own target and body back."""
    while True:
        got = peer.read_request()
        do, data = got.headers["x-do"], answer_of(got)
        if do == "answer":
            peer.send(reply(200, data))
        elif do == "answer and close":
            peer.send(reply(200, data, headers=[("Connection", "close")]))
            return
        elif do == "drip":
            for byte in reply(200, data):
                peer.send(bytes([byte]))
        elif do == "stall":
            peer.until(threading.Event())
        else:
            raw, ending = ODD[do]
            peer.send(raw(data))
            if ending == "reset":
                peer.reset()
            if ending:
                return


def expected(number: int, body: bytes = b"") -> bytes:
    return b"/%d:%s" % (number, body)


def test_thousands_are_answered_once_each(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """Of 3,000 requests over eight lanes each gets its own answer, once, over eight connections."""
    server = serve(obey)
    bodies = [pattern(number % 1500, number) for number in range(3000)]
    work = Work([request_for(number, body) for number, body in enumerate(bodies)])
    burst_of(connect(server), lanes=8).run(work)
    work.check()
    assert work.answers == {number: expected(number, body) for number, body in enumerate(bodies)}
    assert 1 <= server.connections <= 8
    assert len(server.requests) == 3000


def test_a_burst_is_kept_over_several_runs(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """Runs one after another use the same connections, and a run without work returns."""
    server = serve(obey)
    burst = burst_of(connect(server), lanes=3)
    for size in (10, 0, 1, 50):
        work = Work([request_for(number) for number in range(size)])
        burst.run(work)
        work.check()
        assert len(work.answers) == size
    assert server.connections == 3


@pytest.mark.parametrize("size", [0, 1, 60_000, 70_000, 262_144])
def test_replies_of_any_small_size_are_whole(serve: Serve, connect: Connect, burst_of: BurstOf, size: int) -> None:
    """Replies below, at and above the first buffer arrive whole."""
    work = Work([request_for(number, pattern(size, number)) for number in range(30)])
    burst_of(connect(serve(obey))).run(work)
    assert work.answers == {number: expected(number, pattern(size, number)) for number in range(30)}


def test_replies_in_single_bytes_are_whole(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """A reply that comes byte by byte is the same reply."""
    work = Work([request_for(number, b"body", do="drip") for number in range(12)])
    burst_of(connect(serve(obey))).run(work)
    assert work.answers == {number: expected(number, b"body") for number in range(12)}


def test_connections_that_end_with_each_reply_are_replaced(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """`Connection: close` after every reply costs connections and nothing else."""
    server = serve(obey)
    work = Work([request_for(number, do="answer and close") for number in range(100)])
    burst_of(connect(server)).run(work)
    assert work.answers == {number: expected(number) for number in range(100)}
    assert server.connections == 100


@pytest.mark.parametrize("odd", sorted(ODD))
def test_what_is_no_plain_answer_fails_once_and_alone(
    serve: Serve, connect: Connect, burst_of: BurstOf, odd: str
) -> None:
    """Every fiftieth request goes wrong in one way: those fail once each, all others are answered, no lane is lost."""
    server = serve(obey)
    work = Work([request_for(number, b"body", do=odd if number % 50 == 7 else "answer") for number in range(500)])
    burst = burst_of(connect(server), lanes=4)
    before = open_descriptors()
    burst.run(work)
    work.check()
    assert sorted(work.failures) == list(range(7, 500, 50))
    assert work.answers == {number: expected(number, b"body") for number in range(500) if number % 50 != 7}
    statuses = {"refuse": 404, "later": 307, "busy": 503, "moved": 302}
    for fate in work.failures.values():
        if odd in statuses:
            assert isinstance(fate, ReplyHead)
            assert fate.status == statuses[odd]
        else:
            assert isinstance(fate, (ProtocolError, TransportError))
    server.close()  # its ends of the connections are in this process too
    assert open_descriptors() - before <= 4


@pytest.mark.parametrize("odd", ["reset", "close", "malformed", "busy"])
def test_when_nothing_goes_well_everything_fails_once(
    serve: Serve, connect: Connect, burst_of: BurstOf, odd: str
) -> None:
    """A server that answers nothing plainly leaves every request for the careful path, and the run ends."""
    work = Work([request_for(number, do=odd) for number in range(200)])
    burst_of(connect(serve(obey))).run(work)
    work.check()
    assert len(work.failures) == 200


def test_large_requests_to_a_slow_reader_go_out_whole(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """Requests of 200 KiB that the sockets take bit by bit arrive byte for byte, mixed with small ones."""

    def slowly(peer: Peer) -> None:
        while True:
            got = peer.read_head()
            body = b"".join(peer.read(min(1021, left)) for left in range(int(got.headers["content-length"]), 0, -1021))
            peer.send(reply(200, got.target.encode() + b":" + body))

    bodies = [pattern(200 * 1024 if number % 3 else 10, number) for number in range(40)]
    work = Work([request_for(number, body) for number, body in enumerate(bodies)])
    burst_of(connect(serve(slowly, receive_buffer=4096)), lanes=5).run(work)
    work.check()
    assert work.answers == {number: expected(number, body) for number, body in enumerate(bodies)}


@pytest.mark.parametrize(
    "how", ["reset", "close", "refuse and close", "refuse and reset", "accept early", "early junk"]
)
def test_a_request_that_is_cut_off_while_it_is_sent_fails_once(
    serve: Serve, connect: Connect, burst_of: BurstOf, how: str
) -> None:
    """A server that ends the connection in the middle of a request, with or without a word, is told of once."""

    def script(peer: Peer) -> None:
        if peer.number % 2:
            obey(peer)
        peer.read_head()
        peer.read(2000)
        if how.startswith("refuse"):
            peer.send(refusal(400, "BadDigest"))
        elif how == "accept early":
            peer.send(reply(200, b"all of it, surely"))
            peer.until(threading.Event())
        elif how == "early junk":
            peer.send(b"junk\r\n\r\n")
        if how.endswith("reset"):
            peer.reset()

    length, count = 6 * 1024 * 1024, 6  # more than the sockets hold, so that there is something left to send
    work = Work([request_for(number, pattern(length, number)) for number in range(count)])
    burst_of(connect(serve(script, receive_buffer=4096)), lanes=4, largest_reply=length + 1000).run(work)
    work.check()
    assert work.failures
    assert work.answers == {number: expected(number, pattern(length, number)) for number in work.answers}
    assert not any(isinstance(fate, ReplyHead) and fate.status < 300 for fate in work.failures.values())


def test_a_lane_whose_request_was_refused_half_sent_is_not_used_again(
    serve: Serve, connect: Connect, burst_of: BurstOf
) -> None:
    """After a refusal in the middle of a request, no other request follows into what the server takes for its body."""
    length = 8 * 1024 * 1024
    rests: list[bytes] = []

    def script(peer: Peer) -> None:
        if peer.number:
            obey(peer)
        peer.read_head()
        peer.read(2000)
        peer.send(refusal(400, "BadDigest"))
        rests.append(peer.read_to_end())

    server = serve(script, receive_buffer=4096)
    work = Work([request_for(0, bytes(length)), request_for(1), request_for(2)])
    burst_of(connect(server), lanes=1).run(work)
    work.check()
    assert list(work.failures) == [0]
    server.wait_for(lambda: len(rests) == 1)
    assert len(rests[0]) < length - 2000
    assert b"PUT" not in rests[0]


@pytest.mark.parametrize("ending", ["close", "reset", "speak"])
def test_lanes_that_ended_while_idle_cost_no_request(
    serve: Serve, connect: Connect, burst_of: BurstOf, ending: str
) -> None:
    """Lanes that the other side closed, or spoke on, between two runs are replaced before they are used."""
    go = threading.Event()
    ended = [threading.Event() for _ in range(3)]

    def script(peer: Peer) -> None:
        if peer.number >= 3:
            obey(peer)
        got = peer.read_request()
        peer.send(reply(200, answer_of(got)))
        assert go.wait(WAIT_SECONDS)
        if ending == "speak":
            peer.send(reply(200, b"nobody asked"))
        elif ending == "reset":
            peer.reset()
        else:
            peer.close()
        ended[peer.number].set()
        if ending == "speak":
            peer.read_to_end()

    server = serve(script)
    burst = burst_of(connect(server), lanes=3)
    first = Work([request_for(number) for number in range(3)])
    burst.run(first)
    assert len(first.answers) == 3
    go.set()
    assert all(event.wait(WAIT_SECONDS) for event in ended)
    second = Work([request_for(number) for number in range(20)])
    burst.run(second)
    second.check()
    assert second.answers == {number: expected(number) for number in range(20)}


def test_a_server_with_few_connections_gets_few(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """Connections beyond what the server serves swallow a request each at most, and are not opened on and on."""

    def limited(peer: Peer) -> None:
        if peer.number < 2:
            obey(peer)
        peer.read_head()
        peer.reset()

    server = serve(limited)
    work = Work([request_for(number) for number in range(450)])
    burst_of(connect(server), lanes=16).run(work)
    work.check()
    assert len(work.failures) <= 14
    assert server.connections <= 16


def test_lanes_come_back_when_the_server_has_recovered(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """After some hundreds of good answers, a lane that was given up is tried again."""

    def script(peer: Peer) -> None:
        if peer.number == 1:
            peer.read_head()
            peer.reset()
        obey(peer)

    server = serve(script)
    work = Work([request_for(number) for number in range(3000)])
    burst_of(connect(server), lanes=2).run(work)
    work.check()
    assert len(work.failures) == 1
    assert server.connections == 3


def test_without_any_connection_the_run_says_so(connect: Connect, burst_of: BurstOf, serve: Serve) -> None:
    """When nobody listens, what was taken is told as failed, nothing more is taken, and the run raises."""
    server = serve(obey)
    server.close()
    work = Work([request_for(number) for number in range(20)])
    with pytest.raises(TransportError, match="cannot be reached"):
        burst_of(connect(server)).run(work)
    work.check()
    assert work.taken == 1


def test_a_stalled_lane_is_given_up_and_the_others_go_on(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """A request without an answer fails after the timeout, once, and only it."""
    work = Work([request_for(number, do="stall" if number == 1 else "answer") for number in range(300)])
    burst_of(connect(serve(obey), io_timeout_seconds=0.2)).run(work)
    work.check()
    assert list(work.failures) == [1]
    assert "stopped answering" in str(work.failures[1])
    assert len(work.answers) == 299


def test_the_time_that_work_takes_is_not_held_against_an_answer(
    serve: Serve, connect: Connect, burst_of: BurstOf
) -> None:
    """A slow disk on this side may take longer than the other side may: what is sent after that has its time still."""

    class SlowDisk(Work):
        def take(self) -> tuple[int, bytes] | None:
            if self.taken == 10:
                time.sleep(0.6)
            return super().take()

    def slowly(peer: Peer) -> None:
        while True:
            got = peer.read_request()
            if got.target in {"/10", "/11"}:
                time.sleep(0.3 if got.target == "/10" else 0.1)
            peer.send(reply(200, answer_of(got)))

    work = SlowDisk([request_for(number) for number in range(100)])
    burst_of(connect(serve(slowly), io_timeout_seconds=0.5), lanes=2).run(work)
    work.check()
    assert not work.failures


def test_a_reply_that_keeps_coming_is_waited_for(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """The timeout counts from the last byte that moved, not from the request."""

    def drip(peer: Peer) -> None:
        got = peer.read_request()
        for byte in reply(200, answer_of(got) + b"x" * 10):
            threading.Event().wait(0.01)
            peer.send(bytes([byte]))

    work = Work([request_for(0)])
    burst_of(connect(serve(drip), io_timeout_seconds=0.2)).run(work)
    assert work.answers == {0: expected(0) + b"x" * 10}


def test_a_stop_ends_the_run_at_once(
    serve: Serve, connect: Connect, burst_of: BurstOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to stop, a run that waits returns with all it had taken told as failed, and takes nothing more."""
    monkeypatch.setattr("ds3tool.transport.burst._LOOK_EVERY_SECONDS", 3600.0)  # so that only the stop can wake it
    server = serve(obey)
    work = Work([request_for(number, do="stall") for number in range(20)])
    burst = burst_of(connect(server, io_timeout_seconds=3600), lanes=4)
    running = Running(lambda: burst.run(work))
    server.wait_for(lambda: len(server.requests) == 4)
    burst.stop()
    running.result()
    work.check()
    assert work.taken == 4
    burst.run(work)
    assert work.taken == 4
    burst.close()
    burst.stop()


def test_a_stop_in_the_midst_of_much_work_loses_nothing(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """Stopped while answers pour in, each request taken so far has one fate."""
    server = serve(obey)
    work = Work([request_for(number) for number in range(100_000)])
    burst = burst_of(connect(server), lanes=4)
    running = Running(lambda: burst.run(work))
    server.wait_for(lambda: len(server.requests) > 500)
    burst.stop()
    running.result()
    work.check()
    assert 500 < work.taken < 100_000


class Gate(RateLimit):
    """A limit that keeps what was asked of it, and lets so many large requests through."""

    def __init__(self, passes: int) -> None:
        super().__init__(1 << 40)
        self.passes = passes
        self.asked: list[int] = []

    def reserve(self, count: int) -> float:
        self.asked.append(count)
        self.passes -= count > 5000
        return 0.0 if self.passes >= 0 else 3600.0


def swallow(peer: Peer) -> None:
    """Answer each request alike."""
    while True:
        peer.read_request()
        peer.send(reply(200, b"taken"))


def test_every_byte_of_a_burst_counts_against_the_limit(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """Requests when they go, and answers when they come, each once."""
    limit = Gate(passes=50)
    server = serve(swallow)
    work = Work([request_for(number, body=bytes(6000 + number)) for number in range(50)])
    burst_of(connect(server, limit=limit)).run(work)
    work.check()
    assert len(work.answers) == 50
    assert [count for count in limit.asked if count > 5000] == list(map(len, work.requests))
    assert sum(count for count in limit.asked if count <= 5000) == 50 * len(reply(200, b"taken"))


def test_a_request_is_not_sent_before_its_turn(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """The third of ten has to wait: it is held, nothing else goes ahead of it, and a stop ends it as well."""
    server = serve(swallow)
    work = Work([request_for(number, body=bytes(6000)) for number in range(10)])
    burst = burst_of(connect(server, limit=Gate(passes=2), io_timeout_seconds=3600))
    running = Running(lambda: burst.run(work))
    server.wait_for(lambda: len(work.answers) == 2)
    burst.stop()
    running.result()
    work.check()
    assert (work.taken, len(work.answers), len(server.requests)) == (3, 2, 2)


@pytest.mark.parametrize("where", ["take", "answered", "failed"])
def test_work_that_raises_ends_the_run_with_each_fate_told_once(
    serve: Serve, connect: Connect, burst_of: BurstOf, where: str
) -> None:
    """What the work itself raises comes out of the run, and no request on its way is forgotten or told twice."""

    @dataclass
    class Failing(Work):
        def take(self) -> tuple[int, bytes] | None:
            if where == "take" and self.taken == 40:
                raise ZeroDivisionError
            return super().take()

        def answered(self, token: int, head: AnswerHead, body: memoryview) -> None:
            super().answered(token, head, body)
            if where == "answered" and token == 40:
                raise ZeroDivisionError

        def failed(self, token: int, error: Ds3Error | None, head: ReplyHead | None) -> None:
            super().failed(token, error, head)
            if where == "failed" and token == 40:
                raise ZeroDivisionError

    work = Failing([request_for(number, do="busy" if number == 40 else "answer") for number in range(100)])
    if where == "answered":
        work.requests[40] = request_for(40)
    burst = burst_of(connect(serve(obey)))
    with pytest.raises(ZeroDivisionError):
        burst.run(work)
    work.check()
    again = Work([request_for(number) for number in range(10)])
    burst.run(again)
    assert len(again.answers) == 10


def test_a_burst_and_exchanges_share_a_transport(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """The loop's lanes and the careful path's connections do not get into each other's way."""

    def script(peer: Peer) -> None:
        while True:
            got = peer.read_request()
            peer.send(reply(200, answer_of(got)))

    transport = connect(serve(script))
    work = Work([request_for(number) for number in range(2000)])
    burst = burst_of(transport)
    running = Running(lambda: burst.run(work))
    assert all(transport.exchange(GET, content) == b"/bucket/key:" for _ in range(300))
    running.result()
    assert work.answers == {number: expected(number) for number in range(2000)}


def test_a_get_without_a_body_and_a_head_are_read(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """A 204, and a reply to HEAD whose length is the object's, end with their head."""

    def script(peer: Peer) -> None:
        while True:
            got = peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" if got.method == "HEAD" else b"")

    work = Work([b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"] * 50)
    burst_of(connect(serve(script)), method="HEAD").run(work)
    assert work.answers == dict.fromkeys(range(50), b"")


def test_the_loop_suits_plain_connections(connect: Connect, ca_file: str) -> None:
    """TLS goes the careful way."""
    assert Burst.suits(connect("http://127.0.0.1:1"))
    assert not Burst.suits(connect("https://127.0.0.1:1", ca_bundle=ca_file))


def test_a_server_that_comes_in_turns(serve: Serve, connect: Connect, burst_of: BurstOf) -> None:
    """Lanes that break while others work leave each request with one fate, whatever their order."""

    def fragile(peer: Peer) -> None:
        for _ in range(peer.number % 7 + 1):
            got = peer.read_request()
            peer.send(reply(200, answer_of(got)))
        if peer.number % 3:
            peer.reset()

    work = Work([request_for(number) for number in range(1000)])
    burst_of(connect(serve(in_turn(fragile))), lanes=8).run(work)
    work.check()
    assert work.answers == {number: expected(number) for number in work.answers}
