"""What the appliance says: beans and job lists as XML, from the machine's state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from ds3tool.protocol.model import JobType
from ds3tool.simulator.buckets import Bucket
from ds3tool.simulator.contract import kind
from ds3tool.simulator.jobs.job import Chunk, Job
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.objects import StoredObject
from ds3tool.simulator.tapes.library import Tape
from ds3tool.simulator.wire import xmlout
from ds3tool.simulator.wire.messages import XML_TYPE, FileSlices, Pairs, Reply, xml_reply
from ds3tool.simulator.wire.xmlout import Value, Xml, bean, date, element, fields

# A document that grows beyond this goes through a file, so that its length is known and memory is not filled.
_IN_MEMORY = 4 << 20
_PLACEMENT_WRAPPERS = ("AzureTargets", "Ds3Targets", "Pools", "S3Targets")


def optional_date(seconds: float | None) -> str | None:
    """Return a date, or None."""
    return None if seconds is None else date(seconds)


class Spool:
    """A document on its way out: kept in memory while small, in an unnamed file when large."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parts: list[bytes] = []
        self._size = 0
        self._file: IO[bytes] | None = None

    def add(self, text: str) -> None:
        """Append text."""
        data = text.encode()
        self._size += len(data)
        if self._file is None and self._size > _IN_MEMORY:
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - `reply` hands it on
            for part in self._parts:
                self._file.write(part)
            self._parts.clear()
        if self._file is None:
            self._parts.append(data)
        else:
            self._file.write(data)

    def reply(self, headers: Pairs = ()) -> Reply:
        """Return the reply that holds the document; once."""
        if self._file is None:
            return xml_reply(b"".join(self._parts), headers=headers)
        descriptor = os.dup(self._file.fileno())
        self._file.close()
        return Reply(200, headers, FileSlices(descriptor, [(0, self._size)]), XML_TYPE)


# Jobs.


def job_attributes(machine: Machine, job: Job) -> str:
    """Return the attributes that every answer about a job begins with."""
    found = machine.buckets.find_number(job.bucket)
    bucket = "" if found is None else found.name
    user = machine.beans.get("User", job.user_id)
    values: dict[str, Value] = {
        "Aggregating": job.aggregating,
        "BucketName": bucket,
        "CachedSizeInBytes": max(0, job.cached),
        "ChunkClientProcessingOrderGuarantee": job.processing_order,
        "CompletedSizeInBytes": max(0, job.completed),
        "EntirelyInCache": job.cached >= job.original,
        "JobId": job.id,
        "Naked": job.naked,
        "Name": job.name,
        "OriginalSizeInBytes": job.original,
        "Priority": job.priority,
        "RequestType": job.type.value,
        "StartDate": date(job.created),
        "Status": job.status.value,
        "UserId": job.user_id,
        "UserName": "" if user is None else str(user["Name"]),
    }
    return xmlout.attributes(values)


def nodes(machine: Machine) -> Xml:
    """Return the `Nodes` element."""
    node: dict[str, Value] = {
        "EndPoint": machine.settings.host,
        "HttpPort": machine.port,
        "Id": str(machine.node["Id"]),
    }
    return Xml(f"<Nodes><Node{xmlout.attributes(node)}/></Nodes>")


def job_list(machine: Machine, jobs: Iterable[Job]) -> bytes:
    """Return the `Jobs` document."""
    inner = [Xml(f"<Job{job_attributes(machine, job)}>{nodes(machine)}</Job>") for job in jobs]
    return xmlout.document(element("Jobs", inner))


_CHUNK_ROWS = (
    "SELECT b.n, b.offset, b.length, b.cached, b.checksum IS NOT NULL, o.n, o.name, e.latest FROM entries e "
    "JOIN blobs b ON b.n = e.blob JOIN objects o ON o.n = b.object WHERE e.chunk = ?"
)


def chunk_xml(machine: Machine, job: Job, chunk: int, number: int, *, allocated: bool) -> str:
    """Return one chunk's `Objects` element: of a put all blobs, of a get those still to be read."""
    putting = job.type is JobType.PUT
    condition = " ORDER BY e.place" if putting else " AND e.done = 0 ORDER BY e.place"
    with machine.store.lock:
        rows = machine.store.db.execute(_CHUNK_ROWS + condition, (chunk,)).fetchall()
    bucket = xmlout.attribute(machine.buckets.numbered(job.bucket).name)
    node = f' NodeId="{machine.node["Id"]}"' if allocated else ""
    lines = [f'<Objects ChunkId="{machine.jobs.chunk_ids.of(chunk)}" ChunkNumber="{number}"{node}>']
    blob_ids, object_ids = machine.blob_ids, machine.objects.ids
    for row in machine.jobs.shuffled(rows):
        blob, offset, length, cached, received, version, name, latest = row
        in_cache = "true" if (received if putting else cached) else "false"
        assert isinstance(blob, int)
        assert isinstance(version, int)
        lines.append(
            f'<Object Bucket="{bucket}" Id="{blob_ids.of(blob)}" InCache="{in_cache}" '
            f'Latest="{"true" if latest else "false"}" Length="{length}" Name="{xmlout.attribute(str(name))}" '
            f'Offset="{offset}" VersionId="{object_ids.of(version)}"/>'
        )
    lines.append("</Objects>")
    return "".join(lines)


def master_object_list(machine: Machine, job: Job, chunks: Iterable[Chunk] | None, headers: Pairs = ()) -> Reply:
    """Return the reply that lists a job with `chunks`, or with all it has; chunk by chunk, so memory stays bounded."""
    spool = Spool(machine.directory)
    if chunks is None:
        with machine.store.lock:
            rows = machine.store.db.execute(
                "SELECT n, number, allocated FROM chunks WHERE job = ? ORDER BY number", (job.n,)
            ).fetchall()
    else:
        rows = [(chunk.n, chunk.number, chunk.allocated) for chunk in chunks]
    with machine.store.lock:
        spool.add(f"<MasterObjectList{job_attributes(machine, job)}>{nodes(machine)}")
    for number, place, allocated in rows:
        spool.add(chunk_xml(machine, job, number, place, allocated=bool(allocated)))
    spool.add("</MasterObjectList>")
    return spool.reply(headers)


def job_fields(machine: Machine, job: Job, tag: str) -> dict[str, Value]:
    """Return a job's elements as the lists per state have it: `Job`, `CompletedJob`, `CanceledJob`."""
    bucket = machine.buckets.find_number(job.bucket)
    values: dict[str, Value] = {
        "BucketId": bucket.id if bucket is not None else machine.instance_id,
        "CachedSizeInBytes": max(0, job.cached),
        "ChunkClientProcessingOrderGuarantee": job.processing_order,
        "CompletedSizeInBytes": max(0, job.completed),
        "CreatedAt": date(job.created),
        "ErrorMessage": job.error,
        "Id": job.id,
        "Naked": job.naked,
        "Name": job.name,
        "OriginalSizeInBytes": job.original,
        "Priority": job.priority,
        "Rechunked": None,
        "RequestType": job.type.value,
        "Truncated": job.truncated,
        "UserId": job.user_id,
    }
    if tag == "Job":
        values |= {
            "Aggregating": job.aggregating,
            "DeadJobCleanupAllowed": job.cleanup,
            "ImplicitJobIdResolution": job.implicit,
            "MinimizeSpanningAcrossMedia": job.spanning,
            "Protected": job.protected,
            "Replicating": job.replicating,
            "Restore": "NO",
            "TruncatedDueToTimeout": job.truncated and job.timed_out,
            "VerifyAfterWrite": job.verify_write,
        }
    elif tag == "CompletedJob":
        values["DateCompleted"] = optional_date(job.ended)
    else:
        values |= {"CanceledDueToTimeout": job.timed_out, "DateCanceled": optional_date(job.ended)}
    return values


# Buckets and objects.


def bucket_fields(machine: Machine, bucket: Bucket, *, full: bool = True) -> dict[str, Value]:
    """Return a bucket's elements; `full` adds what has to be counted. With the lock held."""
    values: dict[str, Value] = {
        "CreationDate": date(bucket.created),
        "DataPolicyId": bucket.data_policy_id,
        "Id": bucket.id,
        "LastPreferredChunkSizeInBytes": bucket.chunk_size,
        "Name": bucket.name,
        "Protected": bucket.protected,
        "UserId": bucket.user_id,
    }
    if full:
        count, size = machine.store.db.execute(
            "SELECT count(*), coalesce(sum(CASE WHEN created IS NOT NULL THEN size END), 0) "
            "FROM objects WHERE bucket = ?",
            (bucket.n,),
        ).fetchone()
        values |= {"Empty": not count, "LogicalUsedCapacity": size}
    return values


def object_fields(machine: Machine, found: StoredObject, bucket_id: str) -> dict[str, Value]:
    """Return the elements of an `S3Object`."""
    return {
        "BucketId": bucket_id,
        "CreationDate": optional_date(found.created),
        "Id": machine.objects.ids.of(found.n),
        "Latest": found.latest,
        "Name": found.name,
        "Type": "FOLDER" if found.is_folder else "DATA",
    }


# Tapes.


_TAPE_DATES = tuple(each.name for each in kind("Tape").properties if each.type == "Date")


def tape_fields(tape: Tape) -> dict[str, Value]:
    """Return the elements of a `Tape`."""
    values: dict[str, Value] = tape.fields
    for name in _TAPE_DATES:
        moment = values[name]
        values[name] = None if moment is None else date(float(moment))
    return values


def placement(tapes: Iterable[Tape]) -> Xml:
    """Return the five wrappers of a placement; none is ever left out."""
    wrappers: dict[str, Value] = dict.fromkeys(_PLACEMENT_WRAPPERS)
    inner = [bean("Tape", tape_fields(tape)) for tape in sorted(tapes, key=lambda each: each.bar_code)]
    return fields({**wrappers, "Tapes": element("Tapes", inner)})


def data(values: Mapping[str, Value]) -> Reply:
    """Return the reply of one bean, below `Data`."""
    return xml_reply(xmlout.document(bean("Data", values)))


def data_list(items: Iterable[Xml], headers: Pairs = ()) -> Reply:
    """Return the reply of a list, below `Data`."""
    return xml_reply(xmlout.document(element("Data", items)), headers=headers)
