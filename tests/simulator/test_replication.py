"""What appliances ask one another: put jobs told as JSON, blobs that are persisted, blobs that came another way."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer


def _told(bench: Bench, job: str) -> bytes:
    answer = bench.wire.ask("GET", f"/_rest_/job/{job}?replicate")
    assert answer.status == 200, answer
    return answer.body


def _replicate(bench: Bench, text: bytes, bucket: str = "b", parameters: str = "") -> Answer:
    return bench.wire.ask("PUT", f"/_rest_/bucket/{bucket}?operation=start_bulk_put&replicate{parameters}", text)


def _blobs(answer: Answer) -> list[tuple[str | None, str | None, str | None]]:
    return sorted((each.get("Name"), each.get("Offset"), each.get("Length")) for each in answer.xml.iter("Object"))


# Replicated puts.


def test_a_put_job_is_made_again_on_another_appliance(build: Build) -> None:
    """Same name, priority, objects and blobs; it is sent, stored and shown as any put job."""
    here, there = build(blob_size=1000), build(blob_size=1 << 20)
    sizes = {"a": 1500, "dir/": 0, "ü &": 10}
    created = here.wire.start_put("b", sizes, "&name=nightly&priority=HIGH")
    text = _told(here, created.xml.attrib["JobId"])
    assert b'"name":"a","type":"DATA"' in text
    assert b'"name":"dir/","type":"FOLDER"' in text
    replicated = _replicate(there, text)
    assert replicated.status == 200, replicated
    assert [replicated.xml.get(each) for each in ("Name", "Priority", "OriginalSizeInBytes")] == [
        "nightly",
        "HIGH",
        "1510",
    ]
    assert _blobs(replicated) == _blobs(created)
    job = replicated.xml.attrib["JobId"]
    assert there.wire.ask("GET", f"/_rest_/active_job/{job}").xml.findtext("Replicating") == "true"
    contents = {name: name[:1].encode()[:1] * size for name, size in sizes.items()}
    there.wire.send("b", job, contents, replicated.xml)
    there.until_persisted()
    got = there.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    assert [there.wire.get_blob("b", "a", got, offset).body for offset in (0, 1000)] == [b"a" * 1000, b"a" * 500]


def test_what_is_here_already_is_not_made_again(bench: Bench) -> None:
    """204 when all blobs are here; after they have been deleted the job is made again with the same ids."""
    created = bench.wire.start_put("b", {"a": 1500, "c": 10})
    ids = sorted((each.get("Id"), each.get("VersionId")) for each in created.xml.iter("Object"))
    job = created.xml.attrib["JobId"]
    text = _told(bench, job)
    answer = _replicate(bench, text)
    assert (answer.status, answer.body) == (204, b"")
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    again = _replicate(bench, text, parameters="&priority=LOW")
    assert sorted((each.get("Id"), each.get("VersionId")) for each in again.xml.iter("Object")) == ids
    assert (again.xml.get("Priority"), again.xml.get("JobId") != job) == ("LOW", True)
    bench.wire.ask("PUT", "/other")
    elsewhere = _replicate(bench, text, bucket="other")
    assert elsewhere.status == 200
    assert not {each.get("Id") for each in elsewhere.xml.iter("Object")} & {blob for blob, _ in ids}


def test_a_name_that_another_object_has_is_refused(bench: Bench) -> None:
    """409, and nothing of the job is made."""
    job = bench.wire.start_put("b", {"a": 10, "c": 10}).xml.attrib["JobId"]
    text = _told(bench, job)
    bench.wire.ask("PUT", "/other")
    bench.wire.ask("PUT", "/other/c", b"mine")
    assert _replicate(bench, text, bucket="other").status == 409
    assert bench.wire.ask("HEAD", "/other/c").status == 200
    assert [key.text for key in bench.wire.ask("GET", "/other").xml.iter("Key")] == ["c"]


def _text(**changes: object) -> bytes:
    told: dict[str, Any] = {
        "job": {"name": "n"},
        "objects": [{"id": "1", "name": "x", "type": "DATA"}],
        "blobs": [{"id": "2", "objectId": "1", "byteOffset": 0, "length": 5}],
        **changes,
    }
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b"[" * 100_000,
        _text(objects=[]),
        _text(objects=[{"id": "1", "name": ""}]),
        _text(blobs=[]),
        _text(blobs=[{"id": "2", "objectId": "1", "byteOffset": 1, "length": 5}]),
        _text(blobs=[{"id": "2", "objectId": "9", "byteOffset": 0, "length": 5}]),
        _text(blobs=[{"id": "2", "objectId": "1", "byteOffset": 0, "length": -5}]),
        _text(blobs=[{"id": "2", "objectId": "1", "byteOffset": 0, "length": 1 << 60}]),
        _text(job={"priority": "SOON"}),
    ],
)
def test_a_text_that_tells_of_no_job_is_refused(bench: Bench, text: bytes) -> None:
    """400, whatever is wrong with it."""
    assert _replicate(bench, text).status == 400


def test_only_jobs_in_progress_are_told_of(bench: Bench) -> None:
    """A get is told too, as a suite of the vendor's asks; 404 for a job that has ended."""
    put = bench.wire.put_all("b", {"a": b"x"})
    bench.until_persisted()
    get = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    assert [bench.wire.ask("GET", f"/_rest_/job/{job}?replicate").status for job in (put, get)] == [404, 200]


# Blob persistence.


def test_blob_persistence_tells_where_blobs_are(build: Build) -> None:
    """What was received is in the cache, later persisted; an unknown blob is not told of; a job is there or not."""
    bench = build(persist_delay=3600.0)
    created = bench.wire.start_put("b", {"a": 4, "c": 4})
    blobs = {each.get("Name"): each.attrib["Id"] for each in created.xml.iter("Object")}
    job = created.xml.attrib["JobId"]
    bench.wire.put_blob("b", "a", job, 0, b"data")
    body = json.dumps({"blobIds": [blobs["a"], blobs["c"], job], "jobId": job}).encode()
    answer = bench.wire.ask("GET", "/_rest_/blob_persistence", body)
    assert answer.status == 200
    told = json.loads(answer.body)
    assert told["jobExists"] is True
    assert {each["id"]: (each["inCache"], each["persisted"]) for each in told["blobs"]} == {
        blobs["a"]: (True, False),
        blobs["c"]: (False, False),
    }
    assert told["blobs"][0]["checksum"] == "jXd/OF09/siBXSD3SWAm3A=="
    assert bench.wire.ask("GET", "/_rest_/blob_persistence", b"<no/>").status == 400


def test_a_stored_blob_is_persisted(bench: Bench) -> None:
    """On tape and persisted, in the cache until it is reclaimed; its job is not there any more."""
    created = bench.wire.start_put("b", {"a": 4})
    (blob,) = [each.attrib["Id"] for each in created.xml.iter("Object")]
    job = created.xml.attrib["JobId"]
    bench.wire.put_blob("b", "a", job, 0, b"data")
    bench.until_persisted()
    bench.reclaim()
    body = json.dumps({"blobIds": [blob], "jobId": job}).encode()
    told = json.loads(bench.wire.ask("GET", "/_rest_/blob_persistence", body).body)
    assert [told["blobs"][0][each] for each in ("inCache", "onTape", "persisted")] == [False, True, True]
    assert told["jobExists"] is False


# CompleteBlob.


def _complete(bench: Bench, job: str, blob: str, parameters: str = "", **headers: str) -> Answer:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return bench.wire.ask("POST", f"/b/{quote('a')}?blob={blob}&job={job}{parameters}", b"", sent)


def test_a_blob_whose_bytes_came_another_way_is_completed(bench: Bench) -> None:
    """With its metadata and checksum; the object is whole, goes to tape, and a second call changes nothing."""
    created = bench.wire.start_put("b", {"a": 4})
    (blob,) = [each.attrib["Id"] for each in created.xml.iter("Object")]
    job = created.xml.attrib["JobId"]
    assert _complete(bench, job, blob).status == 400  # there are no bytes yet
    machine = bench.appliance.machine
    number = machine.blob_ids.number(blob)
    assert number is not None
    with machine.store.lock:
        arrived = machine.cache.new_path(number)
        with open(arrived, "wb") as file:
            file.write(b"data")
        machine.cache.take_in(arrived, number)
    assert _complete(bench, job, blob, "&size=5").status == 400
    assert _complete(bench, job, blob, Content_MD5="1B2M2Y8AsgTpgAmY7PhCfg==").code == "BadDigest"
    done = _complete(bench, job, blob, "&size=4", x_amz_meta_colour="blue")
    assert (done.status, done.headers["content-md5"]) == (200, "jXd/OF09/siBXSD3SWAm3A==")
    assert bench.wire.ask("GET", "/b/a").body == b"data"
    assert bench.wire.ask("HEAD", "/b/a").headers["x-amz-meta-colour"] == "blue"
    bench.until_persisted()
    assert bench.cache_used == 4
    assert _complete(bench, job, blob).status == 410


def test_a_blob_of_another_job_or_name_is_not_completed(bench: Bench) -> None:
    """404 for what does not belong together; a blob without bytes needs none."""
    created = bench.wire.start_put("b", {"a": 0, "c": 0})
    blobs = {each.get("Name"): each.attrib["Id"] for each in created.xml.iter("Object")}
    job = created.xml.attrib["JobId"]
    other = bench.wire.start_put("b", {"d": 0}).xml.attrib["JobId"]
    assert _complete(bench, job, blobs["c"]).status == 404
    assert _complete(bench, other, blobs["a"]).status == 404
    assert _complete(bench, job, job).status == 404
    assert _complete(bench, job, blobs["a"]).status == 200
    assert bench.wire.ask("HEAD", "/b/a").headers["content-length"] == "0"
