"""`stop_exchanges` and `close` end what is going on at once, wherever it is blocked, and nothing else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

import pytest

from ds3tool.clock import RealClock
from ds3tool.errors import BusyError, Ds3Error, FarSideUnreachableError, SourceError, TransportError
from ds3tool.protocol.messages import Response
from ds3tool.transport.bodies import FileRangeBody
from ds3tool.transport.dial import Dialer
from ds3tool.transport.pool import Transport
from ds3tool.transport.settings import ConnectionSettings
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import GET, PUT, Running, content, into_file, pattern, status
from tests.transport.scripted import WAIT_SECONDS, Peer, ScriptedServer, refusal, replies, reply

PLACES = ["head", "body", "file", "sending", "continue", "retry"]


class Stalling:
    """A server that comes to a stand at a chosen point and says when it is there; later requests are answered."""

    def __init__(self, serve: Serve, place: str) -> None:
        self.reached = threading.Event()
        self._place = place
        self.server: ScriptedServer = serve(self._script)

    def _script(self, peer: Peer) -> None:
        if peer.number:
            replies(reply(200, b"fine"))(peer)
            return
        peer.read_head()
        if self._place == "sending":
            peer.read(100_000)
        elif self._place in {"body", "file"}:
            peer.send(reply(200, pattern(100_000), length=10_000_000))
        elif self._place == "retry":
            peer.send(refusal(503, "SlowDown", headers=[("Retry-After", "3600")]))
        self.reached.set()
        if self._place == "retry":
            replies(reply(200, b"fine"))(peer)
        peer.until(threading.Event())


def start(place: str, transport: Transport, open_file: Callable[..., int], begun: threading.Event) -> Running[object]:
    """Start the exchange that is going to block at `place`; `begun` is set once its own part is done."""
    descriptor = open_file()

    def read(response: Response) -> bytes:
        begun.set()  # a block is waited for until it is whole, so that none may come of what was sent
        return b"".join(response.body)

    def moved(_: int) -> None:
        if os.fstat(descriptor).st_size >= 100_000:
            begun.set()

    def waits(_: Ds3Error, __: float) -> None:
        begun.set()

    transport.on_wait = waits
    if place in {"sending", "continue"}:
        os.truncate(descriptor, 256 * 1024 * 1024)
        begun.set()
        body = FileRangeBody(descriptor, 0, 256 * 1024 * 1024, "file")
        return Running(lambda: transport.exchange(PUT, status, body=body))
    if place == "file":
        return Running(lambda: transport.exchange(GET, into_file(descriptor, moved=moved)))
    if place == "head":
        begun.set()
    return Running(lambda: transport.exchange(GET, read))


@pytest.mark.parametrize("how", ["stop_exchanges", "close"])
@pytest.mark.parametrize("place", PLACES)
def test_a_blocked_exchange_ends_at_once(
    serve: Serve, connect: Connect, open_file: Callable[..., int], place: str, how: str
) -> None:
    """Reading, sending or waiting for its next try, an exchange ends with an error when it is told to."""
    stalling = Stalling(serve, place)
    transport = connect(
        stalling.server,
        clock=RealClock(),
        io_timeout_seconds=3600,
        continue_wait_seconds=3600 if place == "continue" else 0.01,
    )
    begun = threading.Event()
    running = start(place, transport, open_file, begun)
    assert stalling.reached.wait(WAIT_SECONDS)
    assert begun.wait(WAIT_SECONDS)
    if how == "close":
        transport.close()
    else:
        transport.stop_exchanges()
    with pytest.raises(BusyError if place == "retry" else TransportError):
        running.result()
    assert len(stalling.server.requests) == 0
    if how == "stop_exchanges":
        assert transport.exchange(GET, content) == b"fine"


@pytest.mark.parametrize("stage", ["TLS", "CONNECT"])
def test_the_opening_of_a_connection_ends_at_once(serve: Serve, connect: Connect, stage: str) -> None:
    """A server that accepts and then says nothing does not hold up the stop."""
    reached = threading.Event()

    def silent(peer: Peer) -> None:
        peer.socket.recv(1)
        reached.set()
        peer.until(threading.Event())

    server = serve(silent)
    if stage == "TLS":
        transport = connect(f"https://127.0.0.1:{server.port}", clock=RealClock(), connect_timeout_seconds=3600)
    else:
        transport = connect(
            "http://127.0.0.1:1", clock=RealClock(), proxy=server.url, tunnel=True, connect_timeout_seconds=3600
        )
    running = Running(lambda: transport.exchange(GET, status))
    assert reached.wait(WAIT_SECONDS)
    transport.stop_exchanges()
    with pytest.raises(TransportError):
        running.result()


def test_an_unanswered_connect_ends_at_once(connect: Connect) -> None:
    """A host whose queue is full lets connects hang; the stop wakes them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # on Linux the queue holds one more than asked for, then nothing answers
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        transport = connect(f"http://127.0.0.1:{port}", clock=RealClock(), connect_timeout_seconds=3600)
        ended = threading.Event()

        def exchange() -> int:
            try:
                return transport.exchange(GET, status)
            finally:
                ended.set()

        running = Running(exchange)
        while not ended.wait(0.01):  # it may not have come to its connect yet
            transport.stop_exchanges()
        with pytest.raises(TransportError):
            running.result()
        for filler in fillers:
            filler.close()


class LateDialer(Dialer):
    """A dialer whose connection is there in the very moment in which somebody stops all exchanges."""

    def __init__(self, settings: ConnectionSettings, connected: socket.socket, stop: Callable[[], None]) -> None:
        super().__init__(settings)
        self._connected = connected
        self._stop = stop

    def dial(self, opened: Callable[[socket.socket], None] = lambda _: None) -> socket.socket:
        self._stop()
        return self._connected


@pytest.mark.parametrize("how", ["stop_exchanges", "close"])
def test_a_connection_that_comes_too_late_is_not_used(serve: Serve, connect: Connect, how: str) -> None:
    """A stop while a connection is opened holds, also when the opening succeeds: no request is sent on it."""
    server = serve(replies(reply(200)))
    transport = connect(server)
    fresh = socket.create_connection(("127.0.0.1", server.port))

    def stop() -> None:
        if how == "close":
            transport.close()
        else:
            transport.stop_exchanges()

    transport.dialer = LateDialer(ConnectionSettings(server.url, "id", "key"), fresh, stop)
    with pytest.raises(TransportError, match="stopped"):
        transport.exchange(GET, status)
    assert fresh.fileno() == -1
    assert server.requests == []


def test_a_stop_of_waits_lets_what_was_begun_go_on(serve: Serve, connect: Connect) -> None:
    """Who is still opening a connection for the first try does not wait to repeat anything: the request is sent."""
    server = serve(replies(reply(200, b"x")))
    transport = connect(server)
    fresh = socket.create_connection(("127.0.0.1", server.port))
    transport.dialer = LateDialer(ConnectionSettings(server.url, "id", "key"), fresh, transport.stop_waits)
    assert transport.exchange(GET, content) == b"x"
    assert len(server.requests) == 1


def test_an_exchange_that_is_not_running_is_not_touched(serve: Serve, connect: Connect) -> None:
    """A stop between two exchanges costs nothing: the connection is still good."""
    server = serve(replies(reply(200, b"x")))
    transport = connect(server)
    for _ in range(3):
        assert transport.exchange(GET, content) == b"x"
        transport.stop_exchanges()
    assert [got.connection for got in server.requests] == [0, 0, 0]


def test_stops_in_the_midst_of_many_exchanges_do_no_harm(serve: Serve, connect: Connect) -> None:
    """Under a hail of stops, every exchange ends with its own answer or an error, and the pool stays sound."""
    server = serve(replies(reply(200, pattern(50_000))))
    transport = connect(server)
    over = threading.Event()

    def work() -> tuple[int, int]:
        good = bad = 0
        for _ in range(100):
            try:
                assert transport.exchange(GET, content) == pattern(50_000)
                good += 1
            except TransportError:
                bad += 1
        return good, bad

    def stop() -> None:
        while not over.wait(0.001):
            transport.stop_exchanges()

    stopper = Running(stop)
    workers = [Running(work) for _ in range(4)]
    outcomes = [worker.result() for worker in workers]
    over.set()
    stopper.result()
    assert all(good + bad == 100 for good, bad in outcomes)
    assert transport.exchange(GET, content) == pattern(50_000)


# -- what an exchange needs from elsewhere -----------------------------------------------------------------------------


def test_what_has_to_be_had_from_elsewhere_is_asked_for_as_patiently(connect: Connect, serve: Serve) -> None:
    """A call that fails for want of an answer is repeated until it returns; any other failure is raised at once."""
    transport = connect(serve(replies()))
    failures: list[Ds3Error] = [FarSideUnreachableError("nobody answers"), FarSideUnreachableError("nor now")]

    def call() -> str:
        if failures:
            raise failures.pop()
        return "here"

    assert transport.patiently(call) == "here"
    failures.append(SourceError("it is gone"))
    with pytest.raises(SourceError, match="gone"):
        transport.patiently(call)
    assert not failures


def test_who_waits_for_another_host_is_told_to_stop(connect: Connect, serve: Serve) -> None:
    """`stop_exchanges` calls whatever asked to be told, while it is at work and not afterwards; a wait ends with it."""
    transport = connect(serve(replies()))
    told: list[str] = []
    waits = threading.Event()
    transport.on_wait = lambda error, seconds: waits.set()
    ended: list[Ds3Error] = []

    def fail() -> None:
        raise FarSideUnreachableError("nobody answers")

    def work() -> None:
        try:
            with transport.stopping(lambda: told.append("stop")):
                transport.patiently(fail)
        except Ds3Error as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert waits.wait(WAIT_SECONDS)
    transport.stop_exchanges()
    thread.join(WAIT_SECONDS)
    assert isinstance(ended[0], FarSideUnreachableError)
    transport.stop_exchanges()
    assert told == ["stop"]
