"""Cases of the vendor's .NET integration tests that add to those of the other suites, asked as that SDK asks.

Sizes of blobs that are refused, a read of many objects that is broken off and taken up again without any book of its
own, partial reads, a job with one empty object, a policy's checksum changed first, names with bare plus signs.
"""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import google_crc32c
import pytest

from ds3tool.simulator import Appliance
from tests.foreign import dotnet_sdk
from tests.foreign.conftest import BOOKS
from tests.foreign.dotnet_sdk import BadStatusCodeError, DotNetSdk
from tests.foreign.exchange import Exchange
from tests.foreign.signed import Keys


@dataclass(frozen=True)
class Suite:
    """The SDK, a bucket, and what its helpers do with them."""

    sdk: DotNetSdk
    bucket: str

    def bulk(self, operation: str, body: bytes, **parameters: str) -> ET.Element:
        wanted = {"operation": operation, **parameters}
        return dotnet_sdk.master(self.sdk.read("PUT", f"/_rest_/bucket/{self.bucket}", wanted, body=body))

    def start_put(self, sizes: Mapping[str, int], **parameters: str) -> ET.Element:
        return self.bulk("start_bulk_put", dotnet_sdk.to_put(sizes), **parameters)

    def start_get(self, *names: str, order: str = "NONE") -> ET.Element:
        body = dotnet_sdk.to_get(*({"Name": name} for name in names))
        return self.bulk("start_bulk_get", body, chunk_client_processing_order_guarantee=order)

    def ready(self, job: str) -> ET.Element:
        reply = self.sdk.send("GET", "/_rest_/job_chunk", {"job": job})
        int(reply.text("Retry-After") or "")  # read whatever the list holds
        return dotnet_sdk.master(ET.fromstring(reply.body))

    def fill(self, contents: Mapping[str, bytes]) -> None:
        master = self.start_put({name: len(data) for name, data in contents.items()})
        for chunk in master.findall("Objects"):
            path = f"/_rest_/job_chunk/{chunk.attrib['ChunkId']}"
            for blob in self.sdk.read("PUT", path, {"operation": "allocate"}).findall("Object"):
                where = {"job": master.attrib["JobId"], "offset": blob.attrib["Offset"]}
                name = blob.attrib["Name"]
                self.sdk.send("PUT", f"/{self.bucket}/{name}", where, body=contents[name])

    def get(self, name: str, job: str, spans: str | None = None) -> bytes:
        """Get a blob of one: 206 for ranges, 200 for the whole, and nothing else."""
        where = {"job": job, "offset": "0"}
        expected = (206,) if spans else (200,)
        return self.sdk.send("GET", f"/{self.bucket}/{name}", where, spans=spans, expected=expected).body


@pytest.fixture
def suite(appliance: Appliance, bucket_name: str) -> Iterator[Suite]:
    with Exchange(appliance.endpoint) as exchange:
        sdk = DotNetSdk(exchange, Keys(appliance.access_key, appliance.secret_key))
        sdk.send("PUT", f"/{bucket_name}")
        yield Suite(sdk, bucket_name)


@pytest.mark.parametrize("mebibytes", [0, 9])
def test_blobs_below_ten_mebibytes_are_refused(suite: Suite, mebibytes: int) -> None:
    """400 with a body that the SDK understands."""
    with pytest.raises(BadStatusCodeError) as caught:
        suite.start_put({"book": 20 << 20}, max_upload_size=str(mebibytes << 20))
    assert caught.value.status_code == 400
    assert caught.value.code


def test_refusals_are_understood(suite: Suite) -> None:
    """All four elements are in each error's body."""
    for verb, path, status in (
        ("GET", "/not-here", 404),
        ("PUT", f"/{suite.bucket}", 409),
        ("GET", "/_rest_/tape/none", 404),
        ("GET", f"/{suite.bucket}/not-here", 404),
        ("GET", "/_rest_/nothing", 404),
    ):
        with pytest.raises(BadStatusCodeError) as caught:
            suite.sdk.send(verb, path)
        assert caught.value.status_code == status
        assert caught.value.code
        assert caught.value.message


def test_a_read_that_was_broken_off_transfers_each_object_once(suite: Suite) -> None:
    """What a modify without parameters lists after the break is what is left to read, and no more."""
    contents = {f"object{number:03}": f"{number}".encode() for number in range(120)}
    suite.fill(contents)
    job = suite.start_get(*contents).attrib["JobId"]
    transfers = 0
    for blob in list(suite.ready(job).iter("Object"))[:50]:
        assert suite.get(blob.attrib["Name"], job) == contents[blob.attrib["Name"]]
        transfers += 1
    resumed = dotnet_sdk.master(suite.sdk.read("PUT", f"/_rest_/job/{job}"))
    left = {blob.attrib["Name"] for blob in resumed.iter("Object")}
    for blob in suite.ready(job).iter("Object"):
        if blob.attrib["Name"] in left:
            suite.get(blob.attrib["Name"], job)
            transfers += 1
    assert transfers == len(contents)
    assert suite.sdk.read("GET", f"/_rest_/job/{job}").attrib["Status"] == "COMPLETED"


def test_chunks_of_a_job_that_ended_are_404(suite: Suite) -> None:
    """Which the SDK takes for a job that is gone."""
    suite.fill({"book": b"1"})
    master = suite.start_get("book", order="IN_ORDER")
    job = master.attrib["JobId"]
    suite.get("book", job)
    chunk = master.find("Objects")
    assert chunk is not None
    for path, parameters in (("", {"job": job}), (f"/{chunk.attrib['ChunkId']}", {})):
        with pytest.raises(BadStatusCodeError) as caught:
            suite.sdk.send("GET", f"/_rest_/job_chunk{path}", parameters)
        assert caught.value.status_code == 404


def test_ranges_come_end_to_end_and_complete_the_job(suite: Suite) -> None:
    """One request a blob; the checksum beside them is that of the whole blob."""
    book = BOOKS["beowulf.txt"]
    suite.fill({"book": book})
    job = suite.start_get("book").attrib["JobId"]
    assert suite.get("book", job, spans="10-19,100-199") == book[10:20] + book[100:200]
    assert suite.sdk.read("GET", f"/_rest_/job/{job}").attrib["Status"] == "COMPLETED"


def test_a_job_of_one_empty_object_waits_for_it(suite: Suite) -> None:
    """It is active until the empty body is put."""
    job = suite.start_put({"empty": 0}).attrib["JobId"]
    active = suite.sdk.read("GET", f"/_rest_/active_job/{job}")
    assert active.findtext("RequestType") == "PUT"
    assert len(list(suite.ready(job).iter("Object"))) == 1
    suite.sdk.send("PUT", f"/{suite.bucket}/empty", {"job": job, "offset": "0"})
    head = suite.sdk.send("HEAD", f"/{suite.bucket}/empty")
    assert head.length == 0
    assert head.text("ETag")


@pytest.mark.parametrize("name", ["plus+plus", "a;b&c=d", "[brackets]{braces}", "ünï cöde"])
def test_names_of_any_kind(suite: Suite, name: str) -> None:
    """A plus sign stands bare in the path and is one."""
    suite.fill({name: b"odd"})
    assert suite.get(name, suite.start_get(name).attrib["JobId"]) == b"odd"
    assert suite.sdk.read("GET", f"/{suite.bucket}", {"prefix": name}).findtext("Contents/Key") == name


def test_a_checksum_of_another_kind_needs_the_policy_changed_first(suite: Suite) -> None:
    """CRC-32C against a policy of MD5 is 400; after the change it is taken, and HEAD has it."""
    path = f"/_rest_/bucket/{suite.bucket}"
    policy = f"/_rest_/data_policy/{suite.sdk.read('GET', path).findtext('DataPolicyId')}"
    book = BOOKS["ulysses.txt"]
    digest = base64.b64encode(google_crc32c.value(book).to_bytes(4, "big")).decode()
    checksum = ("Content-CRC32C", digest)
    with pytest.raises(BadStatusCodeError) as caught:
        suite.sdk.send("PUT", f"/{suite.bucket}/book", body=book, checksum=checksum)
    assert caught.value.status_code == 400
    try:
        suite.sdk.send("PUT", policy, {"checksum_type": "CRC_32C"})
        suite.sdk.send("PUT", f"/{suite.bucket}/book", body=book, checksum=checksum)
        head = suite.sdk.send("HEAD", f"/{suite.bucket}/book")
        assert (head.text("ds3-blob-checksum-type"), head.text("ds3-blob-checksum-offset-0")) == ("CRC_32C", digest)
    finally:
        suite.sdk.send("PUT", policy, {"checksum_type": "MD5"})


def test_metadata_are_escaped_in_both_directions(suite: Suite) -> None:
    """Name and value, as the SDK sent them."""
    suite.sdk.send("PUT", f"/{suite.bucket}/book", body=b"1", metadata={"key one": "välue two"})
    assert suite.sdk.send("HEAD", f"/{suite.bucket}/book").text("x-amz-meta-key%20one") == "v%C3%A4lue%20two"
