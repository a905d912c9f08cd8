"""Many objects, large blobs, many clients: what an appliance bears without growing."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
import xml.etree.ElementTree as ET

from ds3tool.protocol.model import ChecksumType
from tests.simulator.conftest import Build
from tests.simulator.wire import Wire

_MIB = 1 << 20


def test_a_job_of_many_objects_is_listed_through_a_file(build: Build) -> None:
    """45,000 objects: chunks of at most 20,000 blobs, a list of some 11 MB with its length told, cancelled at once."""
    bench = build(retry_after=1)
    count = 45_000
    created = bench.wire.start_put("b", {f"some/prefix/object-{number:06d}": 1 for number in range(count)})
    assert created.status == 200
    root = ET.fromstring(created.body)
    assert [len(chunk) for chunk in root.findall("Objects")] == [20_000, 20_000, 5_000]
    names = [blob.attrib["Name"] for blob in root.iter("Object")]
    assert names == [f"some/prefix/object-{number:06d}" for number in range(count)]
    assert bench.wire.ask("DELETE", f"/_rest_/job/{root.get('JobId')}?force").status == 204
    assert bench.wire.ask("GET", "/b").xml.find("Contents") is None


def test_more_objects_than_a_job_may_hold_are_refused(build: Build) -> None:
    """The 500,001st ends the reading with a 400."""
    bench = build()
    body = (
        b"<Objects>" + b"".join(b'<Object Name="%x" Size="0"/>' % number for number in range(500_001)) + b"</Objects>"
    )
    reply = bench.wire.ask("PUT", "/_rest_/bucket/b?operation=start_bulk_put", body)
    assert (reply.status, "500000" in reply.message) == (400, True)


def test_a_large_blob_is_never_held_in_memory(build: Build) -> None:
    """64 MiB in and out, for a kind of digest that is computed beside and one that is computed in passing."""
    for kind in (ChecksumType.MD5, ChecksumType.CRC_32C):
        bench = build(checksum_type=kind)
        data = bytes(range(256)) * (64 * _MIB // 256)
        job = bench.wire.start_put("b", {"large": len(data)}).xml.attrib["JobId"]
        tracemalloc.start()
        try:
            assert bench.wire.put_blob("b", "large", job, 0, data).status == 200
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16 * _MIB, f"{peak} bytes were held for a blob of {len(data)}"
        bench.until_persisted()
        bench.reclaim()
        reply = bench.wire.ask("GET", "/b/large")
        while reply.status == 307:
            reply = bench.wire.ask("GET", "/b/large")
        assert hashlib.sha256(reply.body).digest() == hashlib.sha256(data).digest()


def test_many_clients_at_once_lose_nothing(build: Build) -> None:
    """Eight clients put and get small objects of one job, with and without it, through a cache that is too small."""
    bench = build(blob_size=1000, chunk_size=20_000, cache_size=100_000, hold=30.0, drives=3)
    contents = {f"o{number}": bytes([number % 256]) * (number % 2500) for number in range(400)}
    job = bench.wire.start_put("b", {name: len(data) for name, data in contents.items()}).xml.attrib["JobId"]
    blobs = [blob.attrib for blob in bench.wire.job(job).iter("Object")]
    failures: list[object] = []

    def run(work: list[dict[str, str]], verb: str, job_id: str) -> None:
        wire = Wire(bench.appliance.endpoint, bench.appliance.access_key, bench.appliance.secret_key)
        try:
            for blob in work:
                name, offset, length = blob["Name"], int(blob["Offset"]), int(blob["Length"])
                data = contents[name][offset : offset + length]
                reply = None
                while reply is None or reply.status == 307:
                    if verb == "PUT":
                        reply = wire.put_blob("b", name, job_id, offset, data)
                    else:
                        reply = wire.get_blob("b", name, job_id, offset)
                if reply.status != 200 or (verb == "GET" and reply.body != data):
                    failures.append((verb, name, offset, reply))
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(error)
        finally:
            wire.close()

    def all_clients(verb: str, job_id: str) -> None:
        threads = [threading.Thread(target=run, args=(blobs[place::8], verb, job_id)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    all_clients("PUT", job)
    bench.until_persisted()
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    bench.reclaim()
    assert bench.cache_used == 0
    get = bench.wire.start_get("b", list(contents)).xml.attrib["JobId"]
    all_clients("GET", get)
    assert bench.wire.job(get).get("Status") == "COMPLETED"
    bench.reclaim()
    assert bench.cache_used == 0
    assert bench.wire.ask("GET", "/_rest_/job").xml.find("Job") is None
