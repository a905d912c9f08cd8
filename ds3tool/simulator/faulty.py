"""Where faults strike: requests as they come in, jobs they speak of, replies as they go out.

Those of the cache and of the tapes strike there; everything else about an appliance knows nothing of faults.
"""

from __future__ import annotations

import random
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate

from ds3tool.protocol import names
from ds3tool.protocol.model import JobType
from ds3tool.simulator.clock import Clock
from ds3tool.simulator.dispatch import Call
from ds3tool.simulator.faults import Fault, Faults, Strike
from ds3tool.simulator.jobs.job import Job
from ds3tool.simulator.rewriting import CHUNK, text_of, with_text
from ds3tool.simulator.tapes.media import write_all
from ds3tool.simulator.wire.messages import XML_TYPE, Body, Cut, Reply, Sender
from ds3tool.simulator.wire.refusals import Refusal, busy, denied, later

_SKEW_SECONDS = 3600.0
_TRICKLE_PIECES = 20
_TRICKLE_SECONDS = 0.01
# How often somebody who keeps still looks whether anybody is left to keep still for.
_LOOK_SECONDS = 0.05
# Answers of so many jobs are remembered, to be given again.
_REMEMBERED_JOBS = 64
_POLL = "GetJobChunksReadyForClientProcessing"
_CREATIONS = ("CreatePutJob", "CreateGetJob", "CreateVerifyJob")
_NAMING_NODES = (_POLL, *_CREATIONS, "GetJob", "ModifyJob", "AllocateJobChunk", "GetJobChunk")
_MAY_REDIRECT = ("PutObject", "GetObject", "AllocateJobChunk", *_CREATIONS)
_ONE_BLOB = re.compile(r"<Object [^>]*/>")
_PAGE = (
    b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>"
    b"<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>"
)

Answer = Callable[[Call], Reply]
Refuse = Callable[[Refusal, str], Reply]


class Faulty:
    """Lets the faults of one appliance strike. Called from any thread, without the store's lock.

    `refuse` makes the reply of a refusal. `stall` is how many seconds of the appliance's clock it keeps still.
    """

    def __init__(self, faults: Faults, refuse: Refuse, *, stall: float) -> None:
        self._faults = faults
        self._refuse = refuse
        self._stall = stall
        self._lock = threading.Lock()
        # At which share of its progress a job ends, None for never; decided when it is first seen.
        self._ends: dict[tuple[Fault, int], float | None] = {}
        self._decided_at = -1
        # The chunks that each job was last offered, by its id.
        self._offered: dict[str, list[str]] = {}

    def handle(self, call: Call, operation: str, answer: Answer) -> Reply:
        """Return the answer to a call, or what comes of it; may raise a Refusal, or Cut."""
        request = call.request
        subject = f"{request.verb} {request.target.path} {operation} {call.text('offset') or ''}"
        self._end_job(call)
        early = self._before(call, operation, subject)
        if early is not None:
            return early
        self._spoil_request(call, operation, subject)
        return self._after(call, operation, subject, answer)

    def _strike(self, fault: Fault, subject: str) -> Strike | None:
        return self._faults.strike(fault, subject)

    # Jobs that end.

    def _end_job(self, call: Call) -> None:
        """End the job that a call speaks of, when its time has come."""
        if call.request.verb == "DELETE":
            return
        job_id = call.text("job") or (call.identifier if call.resource in ("job", "active_job") else "")
        number = call.machine.jobs.ids.number(job_id) if job_id else None
        if number is None:
            return
        with call.machine.store.lock:
            job = call.machine.jobs.active.get(number)
            if job is None or job.protected:
                return
            for fault in (Fault.JOB_CANCELLED, Fault.JOB_EXPIRED):
                if fault is Fault.JOB_EXPIRED and not job.cleanup:
                    continue
                end = self._end_of(fault, job)
                if end is not None and _progress(job) >= end and self._faults.take(fault, f"job {job.id}"):
                    _end(call, job, fault)
                    return

    def _end_of(self, fault: Fault, job: Job) -> float | None:
        with self._lock:
            if self._decided_at != self._faults.changes:
                self._ends.clear()
                self._decided_at = self._faults.changes
            if (fault, job.n) not in self._ends:
                strike = self._faults.draw(fault, f"job {job.n}")
                self._ends[fault, job.n] = None if strike is None else strike.place
            return self._ends[fault, job.n]

    # In place of an answer.

    def _before(self, call: Call, operation: str, subject: str) -> Reply | None:
        """Return a reply in place of what was asked for; raise a refusal or Cut; None when nothing strikes."""
        if self._strike(Fault.RESET_BEFORE_REPLY, subject):
            raise Cut(reset=True)
        if self._strike(Fault.BUSY_503, subject):
            raise busy("The appliance is busy.", call.machine.backend.retry_after)
        if self._strike(Fault.BUSY_503_NO_HEADER, subject):
            raise busy("The appliance is busy.")
        if operation in _MAY_REDIRECT and self._strike(Fault.REDIRECT_307, subject):
            raise later("This cannot be served now; send the request again.")
        if self._strike(Fault.CLOCK_SKEW, subject):
            return self._skewed(call)
        return None

    def _skewed(self, call: Call) -> Reply:
        message = (
            f"{names.REQUEST_TIME_TOO_SKEWED}[403]: Client clock differs from the server's by "
            f"{round(-_SKEW_SECONDS)} seconds."
        )
        reply = self._refuse(denied(message, names.REQUEST_TIME_TOO_SKEWED), call.request.target.path)
        date = formatdate(int(call.machine.clock.wall() + _SKEW_SECONDS), usegmt=True)
        reply.common = f"Date: {date}\r\nServer: ds3tool-sim\r\n{names.REQUEST_ID}: {call.request.number}\r\n"
        return reply

    # On the way in.

    def _spoil_request(self, call: Call, operation: str, subject: str) -> None:
        """Let what happens to a body happen to it as it is read."""
        request = call.request
        length = request.body.length
        if not length:
            return
        if operation == "PutObject":
            strike = self._strike(Fault.CORRUPT_PUT, subject)
            if strike is not None:
                position, bit = strike.position(length), strike.bit
                request.body = _Piecewise(request.body, lambda pieces: _flipped(pieces, position, bit))
        strike = self._strike(Fault.RESET_IN_BODY, subject)
        if strike is not None:
            request.body = _Piecewise(request.body, _cut_at(strike.position(length), Cut(reset=True)))
        if self._strike(Fault.SLOW, subject):
            request.body = _Piecewise(request.body, _trickling(length))

    # Behind an answer, and on its way out.

    def _after(self, call: Call, operation: str, subject: str, answer: Answer) -> Reply:
        reply = self._misanswered(call, subject, answer)
        if reply is not None:
            return reply
        reply = answer(call)
        try:
            return self._spoil_reply(call, operation, subject, reply)
        except BaseException:
            reply.drop()
            raise

    def _misanswered(self, call: Call, subject: str, answer: Answer) -> Reply | None:
        """Return what is said in place of the right answer, or raise it; None when nothing strikes.

        The request is carried out all the same, or not.
        """
        strike = self._strike(Fault.ERROR_500, subject)
        if strike is not None:
            if strike.heads:
                answer(call).drop()
            raise Refusal(500, names.INTERNAL_ERROR, "InternalError[500]: The appliance failed.")
        strike = self._strike(Fault.HTML_ERROR, subject)
        if strike is not None:
            if strike.heads:
                answer(call).drop()
            date = call.machine.http_date(call.machine.clock.wall())
            return Reply(502, (), _PAGE, "text/html", common=f"Date: {date}\r\nServer: nginx\r\n")
        strike = self._strike(Fault.STALL, subject)
        return None if strike is None else self._stalled(call, strike, answer)

    def _stalled(self, call: Call, strike: Strike, answer: Answer) -> Reply:
        """Keep still before the request is carried out, behind that, or in the middle of its answer."""
        body = call.request.body
        cut = self._still(call.machine.clock.world)
        if strike.choice < 1 / 3:
            if not body.length:
                raise cut
            call.request.body = _Piecewise(body, _cut_at(strike.position(body.length), cut))
        reply = answer(call)
        length = _length(reply)
        if strike.choice < 2 / 3 or call.request.verb == "HEAD" or not length:
            reply.drop()
            raise cut
        reply.sender = _breaking_off(strike.position(length), cut)
        return reply

    def _still(self, clock: Clock) -> Cut:
        def keep_still(peer: socket.socket) -> None:
            poll = select.poll()
            poll.register(peer, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
            deadline = clock.monotonic() + self._stall
            while clock.monotonic() < deadline and not poll.poll(_LOOK_SECONDS * 1000):
                pass

        return Cut(reset=False, before=keep_still)

    def _spoil_reply(self, call: Call, operation: str, subject: str, reply: Reply) -> Reply:
        lost = self._strike(Fault.LOST_REPLY, subject) if _counts(call, operation) else None
        if lost is not None:
            _carry_through(reply)
            raise Cut(reset=lost.heads)
        if operation == _POLL and reply.status == 200 and reply.content_type == XML_TYPE:
            reply = self._other_chunks(call, subject, reply)
        if operation in _NAMING_NODES and reply.content_type == XML_TYPE:
            reply = self._other_node(subject, reply)
        length = _length(reply)
        if length and call.request.verb != "HEAD":
            reply.sender = self._bad_sender(operation, subject, length)
        return reply

    def _bad_sender(self, operation: str, subject: str, length: int) -> Sender | None:
        if operation == "GetObject":
            strike = self._strike(Fault.CORRUPT_GET, subject)
            if strike is not None:
                position, bit = strike.position(length), strike.bit
                return _sending(lambda pieces: _flipped(pieces, position, bit))
            strike = self._strike(Fault.SHORT_GET, subject)
            if strike is not None:
                return _breaking_off(strike.position(length), Cut(reset=False))
        strike = self._strike(Fault.RESET_IN_BODY, f"{subject} reply")
        if strike is not None:
            return _breaking_off(strike.position(length), Cut(reset=True))
        return _sending(_trickling(length)) if self._strike(Fault.SLOW, f"{subject} reply") else None

    # Chunks and nodes.

    def _other_chunks(self, call: Call, subject: str, reply: Reply) -> Reply:
        job_id = call.needed("job")
        if not (self._faults.rate(Fault.CHUNK_OUT_OF_ORDER) or self._faults.rate(Fault.CHUNK_TWICE)):
            return reply
        text = text_of(reply)
        chunks = [match[0] for match in CHUNK.finditer(text)]
        before = self._offer(job_id, chunks)
        told = chunks
        if chunks and (strike := self._strike(Fault.CHUNK_OUT_OF_ORDER, subject)):
            told = _shuffled(chunks, strike)
        if chunks and self._strike(Fault.CHUNK_TWICE, subject):
            told = [*told, *told, *before]
        if told is chunks:
            return reply
        around = CHUNK.sub("", text)
        close = around.rindex("</")
        return with_text(reply, f"{around[:close]}{''.join(told)}{around[close:]}")

    def _offer(self, job_id: str, chunks: list[str]) -> list[str]:
        """Remember what a job is offered; return what it was offered last."""
        with self._lock:
            before = self._offered.pop(job_id, [])
            self._offered[job_id] = chunks
            while len(self._offered) > _REMEMBERED_JOBS:
                del self._offered[next(iter(self._offered))]
            return before

    def _other_node(self, subject: str, reply: Reply) -> Reply:
        strike = self._strike(Fault.NODE_CHANGE, subject)
        if strike is None:
            return reply
        node = f"00000000-0000-4000-8000-{int(strike.choice * 2**48):012x}"
        text = re.sub(r' NodeId="[^"]*"', f' NodeId="{node}"', text_of(reply))
        text = re.sub(r"<Node [^>]*/>", rf'\g<0><Node EndPoint="127.0.0.1" HttpPort="1" Id="{node}"/>', text, count=1)
        reply = with_text(reply, text)
        reply.close = True
        return reply


def _progress(job: Job) -> float:
    """Return which share of a job's bytes the client has moved; 1 for a job without any."""
    moved = job.cached if job.type is JobType.PUT else job.completed
    return moved / job.original if job.original else 1.0


def _end(call: Call, job: Job, fault: Fault) -> None:
    timed_out = fault is Fault.JOB_EXPIRED
    if timed_out:
        job.error = "No client has touched the job for too long."
    call.machine.cancel(job, timed_out=timed_out)


def _counts(call: Call, operation: str) -> bool:
    """Whether a request changes anything on the appliance, so that its lost reply is missed."""
    return call.request.verb != "HEAD" and (call.request.verb != "GET" or operation == "GetObject")


def _carry_through(reply: Reply) -> None:
    """Let everything come true that a reply makes true, without sending it."""
    if reply.settle is not None:
        reply.settle()
    sent, reply.sent = reply.sent, None
    if sent is not None:
        sent(True)


def _length(reply: Reply) -> int:
    return len(reply.body) if isinstance(reply.body, bytes) else reply.body.length


def _shuffled(chunks: list[str], strike: Strike) -> list[str]:
    """Return some of the chunks, one at least, in any order, and so their blobs."""
    chance = random.Random(strike.place)  # noqa: S311 - order, not secrets

    def blobs_shuffled(chunk: str) -> str:
        blobs = _ONE_BLOB.findall(chunk)
        chance.shuffle(blobs)
        left = iter(blobs)
        return _ONE_BLOB.sub(lambda _: next(left), chunk)

    some = chance.sample(chunks, chance.randint(1, len(chunks)))
    return [blobs_shuffled(chunk) for chunk in some]


# Bodies.

_Pieces = Iterator[bytes]


def _flipped(pieces: _Pieces, position: int, bit: int) -> _Pieces:
    """Yield pieces with one bit of one byte flipped."""
    at = 0
    for piece in pieces:
        if at <= position < at + len(piece):
            changed = bytearray(piece)
            changed[position - at] ^= bit
            yield bytes(changed)
        else:
            yield piece
        at += len(piece)


def _trickling(length: int) -> Callable[[_Pieces], _Pieces]:
    """Return what yields `length` bytes of pieces in about twenty steps, with a pause before each."""

    def through(pieces: _Pieces) -> _Pieces:
        step = max(1, length // _TRICKLE_PIECES)
        due = at = 0
        for piece in pieces:
            start = 0
            while start < len(piece):
                if at >= due:
                    time.sleep(_TRICKLE_SECONDS)
                    due += step
                end = min(len(piece), start + due - at)
                yield piece[start:end]
                at += end - start
                start = end

    return through


def _cut_at(position: int, cut: Cut) -> Callable[[_Pieces], _Pieces]:
    """Return what yields the first `position` bytes of pieces, and then cuts the connection."""

    def through(pieces: _Pieces) -> _Pieces:
        left = position
        for piece in pieces:
            if len(piece) > left:
                if left:
                    yield piece[:left]
                raise cut
            left -= len(piece)
            yield piece
        raise cut

    return through


def _sending(through: Callable[[_Pieces], _Pieces]) -> Sender:
    """Return a sender that sends a whole body, changed on its way; `settle` is called before its last piece."""

    def send(out: Callable[[bytes], None], head: bytes, reply: Reply) -> None:
        out(head)
        last = b""
        for piece in through(reply.pieces()):
            if last:
                out(last)
            last = piece
        if reply.settle is not None:
            reply.settle()
        out(last)

    return send


def _breaking_off(position: int, cut: Cut) -> Sender:
    """Return a sender that sends a head, `position` bytes of the body that it promises, and then cuts."""

    def send(out: Callable[[bytes], None], head: bytes, reply: Reply) -> None:
        out(head)
        for piece in _cut_at(position, cut)(reply.pieces()):
            out(piece)

    return send


class _Piecewise:
    """A request's body that something happens to as it is read, piece by piece."""

    def __init__(self, body: Body, through: Callable[[_Pieces], _Pieces]) -> None:
        self._body = body
        self._through = through

    @property
    def length(self) -> int:
        """Bytes of the whole body, as its head said."""
        return self._body.length

    def pieces(self) -> _Pieces:
        """Yield what is left, as it arrives and after what happens to it."""
        return self._through(self._body.pieces())

    def read(self, limit: int) -> bytes:
        """Return all of it; a 400 when it is longer than `limit`."""
        if self.length > limit:
            return self._body.read(limit)
        return b"".join(self.pieces())

    def splice_to(self, descriptor: int, arrived: Callable[[int], None]) -> None:
        """Write all of it to a file at its position."""
        done = 0
        for piece in self.pieces():
            write_all(descriptor, piece)
            done += len(piece)
            arrived(done)
