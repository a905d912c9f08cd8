"""The appliance's quirks, at its edge: requests as they come in, replies as they go out; what is stored stays right."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime

from ds3tool.protocol import names
from ds3tool.protocol.model import JobType
from ds3tool.simulator.dispatch import Call
from ds3tool.simulator.documents import master_object_list
from ds3tool.simulator.jobs.job import Job
from ds3tool.simulator.jobs.receiving import Upload
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.quirks import Quirk
from ds3tool.simulator.rewriting import CHUNK, REWRITES, text_of, with_text, without_chunks
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.messages import XML_TYPE, Reply
from ds3tool.simulator.wire.refusals import Refusal, not_found

# Hours, in all: a hundred polls, five minutes apart.
_SLOW_POLLS = 100
_SLOW_RETRY_AFTER = 300
_LAG_SECONDS = 5.0
_POLL = "GetJobChunksReadyForClientProcessing"
_CREATIONS = ("CreatePutJob", "CreateGetJob")
_JOB_QUESTIONS = ("GetJob", "GetActiveJob", "GetCompletedJob", "GetCanceledJob")
_JOB_LISTS = ("GetJobs", "GetActiveJobs", "GetCompletedJobs", "GetCanceledJobs")
_JOB_ID = re.compile(r' JobId="([^"]*)"')
_HEAD = re.compile(r"<(?:MasterObjectList|Job) [^>]*>")
_SIZES = re.compile(r' (CachedSizeInBytes|CompletedSizeInBytes)="(\d+)"')
_LISTED_JOB = re.compile(r"<(Job|CompletedJob|CanceledJob)[ >].*?</\1>", re.DOTALL)
_LISTED_SINCE = re.compile(
    r"(?: StartDate=\"|<DateCompleted>|<DateCanceled>|<CreatedAt>)([^\"<]+)",
)
_HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>The page cannot be shown</h1></body></html>"


class Awkward:
    """One appliance's quirks and what they remember. Methods are called from any thread, without the store's lock."""

    def __init__(self, settings: ApplianceSettings) -> None:
        self.quirks = settings.quirks
        self._lock = threading.Lock()
        self._polls: dict[str, int] = {}
        # Of each job polled: the answer around its chunks, and every chunk that was ever offered, by id.
        self._offered: dict[str, tuple[str, dict[str, str]]] = {}
        # Of each job asked about: when it had which sizes.
        self._sizes: dict[str, list[tuple[float, tuple[str, str]]]] = {}

    def ask(self, call: Call, operation: str) -> None:
        """Change a request before its handler sees it."""
        if Quirk.SHARED_JOBS in self.quirks and operation in _CREATIONS:
            call.parameters["aggregating"] = "true"

    def refuse_all(self) -> None:
        """Raise the refusal of an appliance that nobody should have asked."""
        if Quirk.MANAGEMENT_PORT in self.quirks:
            raise Refusal(404, names.NOT_FOUND, "NotFound[404]: Not here.", headers=((names.MANAGEMENT_PATH, "true"),))

    def answer(self, call: Call, operation: str, reply: Reply) -> Reply:
        """Return the reply as this appliance gives it; may raise a Refusal in its place."""
        if operation in _CREATIONS and reply.status == 200:
            reply = self._creation(call.machine, reply)
        if operation == _POLL:
            reply = self._poll(call, reply)
        elif operation in _JOB_QUESTIONS:
            self._forget(call)
        dropped = self._dropped_headers
        reply.headers = tuple(pair for pair in reply.headers if not pair[0].startswith(dropped))
        if reply.content_type != XML_TYPE:
            return reply
        text = original = text_of(reply)
        if Quirk.LATE_NUMBERS in self.quirks:
            text = self._late(call.machine, operation, text)
        for quirk, rewrite in REWRITES.items():
            if quirk in self.quirks:
                text = rewrite(text)
        return reply if text is original else with_text(reply, text)

    @property
    def _dropped_headers(self) -> tuple[str, ...]:
        prefixes: list[str] = []
        if Quirk.NO_HEAD_DIGESTS in self.quirks:
            prefixes += [names.BLOB_CHECKSUM_TYPE, names.BLOB_CHECKSUM_OFFSET]
        if Quirk.INTEGER_VERSIONS in self.quirks:
            prefixes += [names.VERSION_ID, names.CREATION_DATE]
        return tuple(prefixes)

    def refuse(self, path: str, reply: Reply) -> Reply:
        """Return the reply to a refused request as this appliance gives it."""
        if path.startswith("/_rest_/job_chunk") and reply.status == 404 and Quirk.POLL_ENDS_IN_410 in self.quirks:
            return Reply(410, reply.headers)
        if Quirk.BARE_ERRORS in self.quirks:
            return Reply(reply.status, reply.headers)
        if Quirk.HTML_ERRORS in self.quirks:
            return Reply(reply.status, reply.headers, _HTML, "text/html")
        if Quirk.ODD_ERROR_NUMBERS in self.quirks:
            text = re.sub(r"<HttpErrorCode>\d+<", "<HttpErrorCode>418<", text_of(reply))
            return with_text(reply, text)
        return reply

    # Jobs.

    def _creation(self, machine: Machine, reply: Reply) -> Reply:
        if not self.quirks & {Quirk.EMPTY_AT_CREATION, Quirk.DONE_AT_CREATION, Quirk.NO_JOB_FOR_NOTHING}:
            return reply
        text = text_of(reply)
        job = machine.jobs.find(_job_id(text))
        if Quirk.EMPTY_AT_CREATION in self.quirks:
            (_receive_empty if job.type is JobType.PUT else _read_empty)(machine, job)
        with machine.store.lock:
            if job.chunks:
                return self._again(machine, job)
            if Quirk.DONE_AT_CREATION in self.quirks:
                while job.active and not machine.jobs.closing:
                    machine.clock.wait(machine.jobs.changed, 1.0)
            if Quirk.NO_JOB_FOR_NOTHING in self.quirks:
                return Reply(204)
            return self._again(machine, job)

    def _again(self, machine: Machine, job: Job) -> Reply:
        return master_object_list(machine, job, None)

    def _forget(self, call: Call) -> None:
        if Quirk.FORGETS_JOBS in self.quirks:
            with call.machine.store.lock:
                if not call.machine.jobs.find(call.identifier).active:
                    raise not_found("Job", call.identifier)

    def _poll(self, call: Call, reply: Reply) -> Reply:
        if reply.status == 410 and Quirk.OFFERS_AGAIN in self.quirks:
            reply = self._offer_again(call.needed("job"), reply)
        if reply.status == 410 and Quirk.POLL_ENDS_IN_404 in self.quirks:
            raise not_found("Job", call.needed("job"))
        if reply.status != 200:
            return reply
        if Quirk.SLOW_TAPES in self.quirks and self._is_slow(call.needed("job")):
            reply = with_text(reply, without_chunks(text_of(reply)))
            reply.headers = ((names.RETRY_AFTER, str(_SLOW_RETRY_AFTER)),)
        elif Quirk.OFFERS_AGAIN in self.quirks:
            reply = self._offer_again(call.needed("job"), reply)
        return reply

    def _is_slow(self, job_id: str) -> bool:
        with self._lock:
            self._polls[job_id] = self._polls.get(job_id, 0) + 1
            return self._polls[job_id] <= _SLOW_POLLS

    def _offer_again(self, job_id: str, reply: Reply) -> Reply:
        """Return the answer with each of its chunks twice, and with all that were offered before."""
        with self._lock:
            if reply.status == 200:
                text = text_of(reply)
                around = without_chunks(text)
                offered = self._offered.setdefault(job_id, (around, {}))[1]
                now = {match[1]: match[0] for match in CHUNK.finditer(text)}
                for chunk_id, chunk in now.items():
                    offered.setdefault(chunk_id, chunk)
            else:
                around, offered = self._offered.get(job_id, ("", {}))
            if not offered:
                return reply
            twice = "".join(chunk * 2 for chunk in offered.values())
        close = around.rindex("</")
        answer = with_text(Reply(200, reply.headers, b"", XML_TYPE), around[:close] + twice + around[close:])
        if not any(name == names.RETRY_AFTER for name, _ in answer.headers):
            answer.headers += ((names.RETRY_AFTER, "0"),)
        return answer

    # Lag.

    def _late(self, machine: Machine, operation: str, text: str) -> str:
        now = machine.clock.now()
        if operation in _JOB_LISTS:
            text = _LISTED_JOB.sub(
                lambda match: match[0] if _seconds_since(match[0], now) >= _LAG_SECONDS else "", text
            )
        return _HEAD.sub(lambda match: self._late_head(match[0], now), text)

    def _late_head(self, head: str, now: float) -> str:
        sizes = dict(_SIZES.findall(head))
        current = (sizes.get("CachedSizeInBytes", "0"), sizes.get("CompletedSizeInBytes", "0"))
        with self._lock:
            history = self._sizes.setdefault(_job_id(head), [])
            history.append((now, current))
            seen = [each for at, each in history if at <= now - _LAG_SECONDS]
        cached, completed = seen[-1] if seen else ("0", "0")
        old = {"CachedSizeInBytes": cached, "CompletedSizeInBytes": completed}
        return _SIZES.sub(lambda match: f' {match[1]}="{old[match[1]]}"', head)


def _job_id(text: str) -> str:
    match = _JOB_ID.search(text)
    assert match is not None, "every answer about a job has its id"
    return match[1]


def _seconds_since(item: str, now: float) -> float:
    """Return how long ago something last happened to a job of a list."""
    return now - max(datetime.fromisoformat(found).timestamp() for found in _LISTED_SINCE.findall(item))


# Empty objects of older releases.


class _NoBody:
    """The body of an empty object."""

    length = 0

    def pieces(self) -> Iterator[bytes]:
        return iter(())

    def read(self, limit: int) -> bytes:  # noqa: ARG002 - nothing is never too long
        return b""

    def splice_to(self, descriptor: int, arrived: Callable[[int], None]) -> None:
        """Write nothing."""


def _receive_empty(machine: Machine, job: Job) -> None:
    """Take the empty objects of a put job as if a client had sent them."""
    with machine.store.lock:
        found = [
            name
            for (name,) in machine.store.db.execute(
                "SELECT o.name FROM objects o JOIN blobs b ON b.object = o.n "
                "WHERE o.job = ? AND o.size = 0 AND b.checksum IS NULL",
                (job.n,),
            )
        ]
        bucket = machine.buckets.numbered(job.bucket)
        kind = machine.buckets.rules(bucket).checksum_type
    digest = (kind, checksums.digester(kind).digest())
    for name in found:
        machine.transfers.put(Upload(bucket, name, digest, None, _NoBody(), job.user_id, "itself"), job.id, 0)


def _read_empty(machine: Machine, job: Job) -> None:
    """Count the empty blobs of a get job as read."""
    with machine.store.lock, machine.store.writing() as db:
        rows = db.execute(
            "SELECT b.n, b.cached, e.chunk FROM chunks c JOIN entries e ON e.chunk = c.n JOIN blobs b ON b.n = e.blob "
            "WHERE c.job = ? AND b.length = 0 AND e.done = 0",
            (job.n,),
        ).fetchall()
        for blob, cached, number in rows:
            chunk = job.chunks[number]
            if not cached and chunk.to_load:
                chunk.to_load -= 1
            machine.jobs.blob_read(db, job, chunk, blob, 0)
    with machine.store.lock:
        machine.jobs.changed.notify_all()
