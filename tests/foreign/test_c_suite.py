"""The cases of the vendor's C suite, each asked as that SDK asks through libcurl.

Its errors carry the reason phrase, which the cases compare. The suite's own order of a transfer: allocate each chunk,
or poll `job_chunk` until it is not empty; then a put for each blob, with `Expect: 100-continue`.

| file of the suite | cases | here, `test_...` |
|---|---|---|
| service_tests | get_service, put_bucket | a_bucket_is_in_the_service |
| | get_system_information, verify_system_health | the_system_has_a_version_and_its_health_a_number |
| bucket_tests | bulk_put, marker, max_keys, prefix, delimiter, common_prefixes | a_listing_of_a_filled_bucket |
| | empty_folder | a_folder_is_put_without_a_job |
| | checksum (by data policy since 3.0) | a_right_checksum_is_taken_and_a_wrong_one_is_bad |
| negative_tests | duplicate, unknown and badly named buckets, unknown object | what_is_refused_with_its_phrase |
| | put_bucket_bucket_name_with_trailing_slash | a_slash_is_no_part_of_a_buckets_name |
| | put_duplicate_object_list, put_duplicate_object | a_name_twice_is_refused |
| | delete_multiple_job, get_non_existing_job | a_job_is_cancelled_once, no_job_has_that_id |
| | bad_checksum | a_right_checksum_is_taken_and_a_wrong_one_is_bad |
| job_tests | get_job, get_jobs, cancel_job | a_job_is_in_progress_and_in_the_list, a_job_is_cancelled_once |
| | GetJobToReplicate...not_parsed | a_job_can_be_told_to_another_appliance |
| bulk_get | bulk_get, chunk_preference (once preferred_number_of_chunks) | a_bucket_is_got_through_a_job |
| | partial_get, max_upload_size | parts_of_a_bucket_..., an_object_of_several_blobs_goes_up_and_down |
| bulk_put, connection_tests | small files by the thousand, by two threads, two clients | many_small_files_..._at_once |
| | large and small together, sequential and parallel, put_directory | many_small_files_and_large_ones_at_once |
| | create_bucket_with_copied_client | many_small_files_and_large_ones_at_once (every thread with its own) |
| deletes_test | four | several_objects_go_at_once, a_folder_goes |
| get_object | get_object, get_objects_with_versioning | an_object_is_got_alone, both_versions_are_got |
| get_physical_placement | one | nothing_is_known_of_an_unknown_object |
| metadata_tests | put, empty, null, several, keys, by get, head_bucket, head_folder | metadata_..., a_folder_... |
| search_tests | nine | objects_are_found_by_a_pattern, plus_and_blanks_in_a_search |
| user_tests | get_users | users_are_paged |

Not asked of an appliance: get_bucket and head_object with an empty or null name, put_empty_object_list (refused by the
client), escape_urls, convert_list_helper, directory_size, client and pool copies, multimap_tests, unit_tests and
checksum.cpp.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from ds3tool.simulator import Appliance
from tests.foreign import c_sdk
from tests.foreign.c_sdk import CSdk, Ds3Error
from tests.foreign.conftest import BOOKS
from tests.foreign.exchange import Exchange
from tests.foreign.signed import Keys

RESOURCES = {
    f"resources/{name}": data for name, data in {**BOOKS, "ulysses_large.txt": BOOKS["ulysses.txt"] * 30}.items()
}


@dataclass(frozen=True)
class Suite:
    """The SDK, a bucket, and the suite's helpers."""

    sdk: CSdk
    bucket: str

    def fill(self, contents: Mapping[str, bytes] = RESOURCES) -> str:
        """Put objects through a job, chunk by chunk as each is allocated; return the job's id."""
        body = c_sdk.to_put((name, len(data)) for name, data in contents.items())
        master = self.sdk.read("PUT", f"/_rest_/bucket/{self.bucket}", {"operation": "start_bulk_put"}, body=body)
        for chunk in master.findall("Objects"):
            path = f"/_rest_/job_chunk/{chunk.attrib['ChunkId']}"
            allocated = self.sdk.read("PUT", path, {"operation": "allocate"})
            self.put_chunk(self.sdk, master.attrib["JobId"], allocated, contents)
        return master.attrib["JobId"]

    def put_chunk(self, sdk: CSdk, job: str, chunk: ET.Element, contents: Mapping[str, bytes]) -> None:
        for blob in chunk.findall("Object"):
            start = int(blob.attrib["Offset"])
            data = contents[blob.attrib["Name"]][start : start + int(blob.attrib["Length"])]
            self.put(blob.attrib["Name"], data, sdk=sdk, job=job, offset=str(start))

    def put(self, name: str, data: bytes, *, sdk: CSdk | None = None, metadata: Mapping[str, str | None] | None = None,
            checksum: tuple[str, str] | None = None, **parameters: str) -> None:  # fmt: skip
        path = f"/{self.bucket}/{name}"
        (sdk or self.sdk).send("PUT", path, parameters, body=data, metadata=metadata, checksum=checksum)

    def start_get(self, *names: str) -> ET.Element:
        parameters = {"operation": "start_bulk_get", "chunk_client_processing_order_guarantee": "NONE"}
        return self.sdk.read("PUT", f"/_rest_/bucket/{self.bucket}", parameters, body=c_sdk.to_get(names))

    def ready(self, job: str, **parameters: str) -> ET.Element:
        """Poll until a chunk is ready, as the suite's ensure_available_chunks."""
        while True:
            reply = self.sdk.send("GET", "/_rest_/job_chunk", {"job": job, **parameters})
            assert int(reply.text("Retry-After") or "") >= 0
            master = ET.fromstring(reply.body)
            if master.find("Objects") is not None:
                return master

    def listing(self, **parameters: str) -> list[str]:
        root = self.sdk.read("GET", f"/{self.bucket}", parameters)
        return [each.text or "" for tag in ("CommonPrefixes/Prefix", "Contents/Key") for each in root.findall(tag)]

    def metadata(self, name: str) -> dict[str, str]:
        reply = self.sdk.send("HEAD", f"/{self.bucket}/{name}")
        prefix = "x-amz-meta-"
        return {key.removeprefix(prefix): value for key, value in reply.headers if key.startswith(prefix)}

    def found(self, pattern: str, bucket: str | None = None) -> list[str]:
        root = self.sdk.read("GET", "/_rest_/object", {"bucket_id": bucket or self.bucket, "name": pattern})
        return [each.text or "" for each in root.findall("S3Object/Name")]


@pytest.fixture(scope="module")
def keys(appliance: Appliance) -> Keys:
    return Keys(appliance.access_key, appliance.secret_key)


@pytest.fixture
def suite(appliance: Appliance, keys: Keys, bucket_name: str) -> Iterator[Suite]:
    """A new bucket of the default policy; nobody clears it, since the next test has another one."""
    with Exchange(appliance.endpoint) as exchange:
        sdk = CSdk(exchange, keys)
        sdk.send("PUT", f"/{bucket_name}")
        yield Suite(sdk, bucket_name)


@pytest.fixture
def full(suite: Suite) -> Suite:
    suite.fill()
    return suite


def refused(suite: Suite, verb: str, path: str, parameters: Mapping[str, str | None] | None = None,
            body: bytes = b"") -> tuple[int, str]:  # fmt: skip
    with pytest.raises(Ds3Error) as caught:
        suite.sdk.send(verb, path, parameters, body=body)
    return caught.value.status_code, caught.value.status_message


def test_a_bucket_is_in_the_service(suite: Suite) -> None:
    """Under its name, and goes."""
    names = [each.text for each in suite.sdk.read("GET", "/").findall("Buckets/Bucket/Name")]
    assert suite.bucket in names
    suite.sdk.send("DELETE", f"/{suite.bucket}")
    assert suite.sdk.read("GET", "/").find(f"Buckets/Bucket[Name='{suite.bucket}']") is None


def test_the_system_has_a_version_and_its_health_a_number(suite: Suite) -> None:
    """All parts of the build information are there."""
    system = suite.sdk.read("GET", "/_rest_/system_information")
    parts = ("ApiVersion", "SerialNumber", *(f"BuildInformation/{part}" for part in ("Branch", "Revision", "Version")))
    assert all(system.findtext(part) for part in parts)
    health = suite.sdk.read("GET", "/_rest_/system_health")
    assert int(health.findtext("MsRequiredToVerifyDataPlannerHealth") or "") >= 0


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, list(RESOURCES)),
        ({"prefix": "resources/beo"}, ["resources/beowulf.txt"]),
        ({"delimiter": "/"}, ["resources/"]),
        ({"marker": "resources/sherlock_holmes.txt"}, list(RESOURCES)[2:]),
        ({"max_keys": "2"}, list(RESOURCES)[:2]),
    ],
    ids=["all", "prefix", "delimiter", "marker", "max keys"],
)
def test_a_listing_of_a_filled_bucket(full: Suite, parameters: Mapping[str, str], names: list[str]) -> None:
    """What the parameters leave of five books."""
    assert full.listing(**parameters) == names


def test_common_prefixes_of_two_folders(suite: Suite) -> None:
    """A prefix and a delimiter leave both, and no object."""
    suite.fill({"resources/a": b"1", "resources_2/b": b"2", "other/c": b"3"})
    assert suite.listing(prefix="resources", delimiter="/") == ["resources/", "resources_2/"]


def test_a_folder_is_put_without_a_job(suite: Suite) -> None:
    """Empty, listed under its name with the slash, known to HEAD, and deleted as a folder."""
    suite.put("empty-folder/", b"")
    assert suite.listing() == ["empty-folder/"]
    reply = suite.sdk.send("HEAD", f"/{suite.bucket}/empty-folder/")
    assert (reply.status, reply.length) == (200, 0)
    suite.sdk.send("DELETE", "/_rest_/folder/empty-folder/", {"bucket_id": suite.bucket, "recursive": None})
    assert suite.listing() == []


def test_what_is_refused_with_its_phrase(suite: Suite) -> None:
    """The reason phrases are HTTP's own."""
    assert refused(suite, "PUT", f"/{suite.bucket}") == (409, "Conflict")
    assert refused(suite, "DELETE", "/delete_non_existing_bucket") == (404, "Not Found")
    assert refused(suite, "HEAD", "/metadata_test") == (404, "Not Found")
    assert refused(suite, "DELETE", f"/{suite.bucket}/delete_non_existing_object") == (404, "Not Found")
    assert refused(suite, "PUT", "/bad:bucket") == (400, "Bad Request")


def test_a_slash_is_no_part_of_a_buckets_name(suite: Suite) -> None:
    """It is refused as a parameter; in a path it ends the name."""
    assert refused(suite, "POST", "/_rest_/bucket", {"name": "trailing_slash/"}) == (400, "Bad Request")
    suite.sdk.send("PUT", f"/{suite.bucket}-slash/")
    assert suite.sdk.read("GET", f"/{suite.bucket}-slash/").findtext("Name") == f"{suite.bucket}-slash"


def test_a_name_twice_is_refused(full: Suite) -> None:
    """In one list it is malformed; one that is there already is a conflict of the whole job."""
    path, parameters = f"/_rest_/bucket/{full.bucket}", {"operation": "start_bulk_put"}
    twice = c_sdk.to_put([("new", 1), ("other", 1), ("new", 1)])
    assert refused(full, "PUT", path, parameters, twice) == (400, "Bad Request")
    there = c_sdk.to_put([("new", 1), ("resources/beowulf.txt", 1)])
    assert refused(full, "PUT", path, parameters, there) == (409, "Conflict")
    assert full.listing() == list(RESOURCES)


def test_a_job_is_cancelled_once(suite: Suite) -> None:
    """It is shown as cancelled after that, and a second cancel is 404."""
    body = c_sdk.to_put((name, len(data)) for name, data in RESOURCES.items())
    master = suite.sdk.read("PUT", f"/_rest_/bucket/{suite.bucket}", {"operation": "start_bulk_put"}, body=body)
    path = f"/_rest_/job/{master.attrib['JobId']}"
    suite.sdk.send("DELETE", path, {"force": None})
    assert suite.sdk.read("GET", path).attrib["Status"] == "CANCELED"
    assert refused(suite, "DELETE", path, {"force": None}) == (404, "Not Found")
    assert suite.listing() == []


def test_no_job_has_that_id(suite: Suite) -> None:
    """404, not 400: it is a well-formed id."""
    assert refused(suite, "GET", "/_rest_/job/b44d7ddc-608a-4d46-9e9e-9433b0b62911") == (404, "Not Found")


def test_a_job_is_in_progress_and_in_the_list(full: Suite) -> None:
    """A job that reads shows its state, and the list all that the suite reads of each job."""
    job = full.start_get(*RESOURCES).attrib["JobId"]
    assert full.sdk.read("GET", f"/_rest_/job/{job}").attrib["Status"] == "IN_PROGRESS"
    jobs = {each.attrib["JobId"]: each for each in full.sdk.read("GET", "/_rest_/job").findall("Job")}
    assert all(jobs[job].attrib[name] for name in ("BucketName", "StartDate", "UserId", "UserName"))


@pytest.mark.parametrize("parameters", [{}, {"preferred_number_of_chunks": "1"}], ids=["all chunks", "one chunk"])
def test_a_bucket_is_got_through_a_job(full: Suite, parameters: Mapping[str, str]) -> None:
    """Chunk by chunk; COMPLETED with the last blob."""
    job = full.start_get(*full.listing()).attrib["JobId"]
    got: dict[str, bytes] = {}
    while len(got) < len(RESOURCES):
        for blob in full.ready(job, **parameters).iter("Object"):
            where = {"job": job, "offset": blob.attrib["Offset"]}
            got[blob.attrib["Name"]] = full.sdk.send("GET", f"/{full.bucket}/{blob.attrib['Name']}", where).body
    assert got == RESOURCES
    assert full.sdk.read("GET", f"/_rest_/job/{job}").attrib["Status"] == "COMPLETED"


def test_parts_of_a_bucket_are_got_through_a_job(full: Suite) -> None:
    """The beginning of each object, by a Range beside job and offset; 206."""
    job = full.start_get(*RESOURCES).attrib["JobId"]
    for blob in full.ready(job).iter("Object"):
        where = {"job": job, "offset": blob.attrib["Offset"]}
        name = blob.attrib["Name"]
        reply = full.sdk.send("GET", f"/{full.bucket}/{name}", where, spans="0-3200")
        assert (reply.status, reply.body) == (206, RESOURCES[name][:3201])
    assert full.sdk.read("GET", f"/_rest_/job/{job}").attrib["Status"] == "COMPLETED"


def test_an_object_of_several_blobs_goes_up_and_down(suite: Suite) -> None:
    """With the smallest max_upload_size that is taken, 10 MiB."""
    data = b"0123456789abcdef" * (11 << 16)
    body = c_sdk.to_put([("ulysses_46mb.txt", len(data))])
    parameters = {"operation": "start_bulk_put", "max_upload_size": "10485760"}
    path = f"/_rest_/bucket/{suite.bucket}"
    assert refused(suite, "PUT", path, {**parameters, "max_upload_size": "10485759"}, body)[0] == 400
    job = suite.sdk.read("PUT", path, parameters, body=body).attrib["JobId"]
    chunks = suite.ready(job)
    assert sorted(int(blob.attrib["Offset"]) for blob in chunks.iter("Object")) == [0, 10485760]
    for chunk in chunks.findall("Objects"):
        suite.put_chunk(suite.sdk, job, chunk, {"ulysses_46mb.txt": data})
    pieces = {
        int(blob.attrib["Offset"]): suite.sdk.send(
            "GET", f"/{suite.bucket}/ulysses_46mb.txt", {"job": job_id, "offset": blob.attrib["Offset"]}
        ).body
        for job_id in [suite.start_get("ulysses_46mb.txt").attrib["JobId"]]
        for blob in suite.ready(job_id).iter("Object")
    }
    assert b"".join(pieces[offset] for offset in sorted(pieces)) == data


def test_many_small_files_and_large_ones_at_once(suite: Suite, appliance: Appliance, keys: Keys) -> None:
    """Two jobs, four threads with a connection each; every object is there in the end."""
    jobs: list[tuple[str, ET.Element, dict[str, bytes]]] = []
    for contents in (
        {f"small_{number:05}": b"twenty bytes of text" for number in range(200)},
        {f"large_{number:05}": BOOKS["beowulf.txt"] for number in range(10)},
    ):
        body = c_sdk.to_put((name, len(data)) for name, data in contents.items())
        path = f"/_rest_/bucket/{suite.bucket}"
        job = suite.sdk.read("PUT", path, {"operation": "start_bulk_put"}, body=body).attrib["JobId"]
        jobs.append((job, suite.ready(job), contents))
    failures: list[BaseException] = []

    def put(job: str, chunks: ET.Element, contents: dict[str, bytes], share: int) -> None:
        try:
            with Exchange(appliance.endpoint) as exchange:
                for blob in list(chunks.iter("Object"))[share::2]:
                    part = ET.Element("Objects")
                    part.append(blob)
                    suite.put_chunk(CSdk(exchange, keys), job, part, contents)
        except BaseException as error:  # noqa: BLE001 - the thread's end is the test's
            failures.append(error)

    threads = [threading.Thread(target=put, args=(*job, share)) for job in jobs for share in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert suite.listing() == [*sorted(jobs[1][2]), *sorted(jobs[0][2])]


def test_several_objects_go_at_once(full: Suite) -> None:
    """Those that are there; one that is not counts as none."""
    path = f"/{full.bucket}"
    answer = full.sdk.read("POST", path, {"delete": None}, body=c_sdk.to_delete(["resources/frankenstein.txt"]))
    assert (len(answer.findall("Deleted")), answer.findtext("Error/Code")) == (0, "ObjectNotFound")
    answer = full.sdk.read("POST", path, {"delete": None}, body=c_sdk.to_delete(RESOURCES))
    assert len(answer.findall("Deleted")) == 5
    assert full.listing() == []


def test_a_folder_goes(full: Suite) -> None:
    """With everything in it; one that is not there is 404."""
    parameters = {"bucket_id": full.bucket, "recursive": None}
    assert refused(full, "DELETE", "/_rest_/folder/fake_folder", parameters) == (404, "Not Found")
    full.sdk.send("DELETE", "/_rest_/folder/resources", parameters)
    assert full.listing() == []


def test_an_object_is_got_alone(full: Suite) -> None:
    """Without a job."""
    reply = full.sdk.send("GET", f"/{full.bucket}/resources/sherlock_holmes.txt")
    assert reply.body == RESOURCES["resources/sherlock_holmes.txt"]


def test_both_versions_are_got(suite: Suite) -> None:
    """Under KEEP_MULTIPLE_VERSIONS a listing with `versions` has Version elements alone, newest first."""
    domain = suite.sdk.read("GET", "/_rest_/storage_domain").findtext("StorageDomain/Id") or ""
    name = f"versions-{suite.bucket}"
    parameters: dict[str, str | None] = {"name": name, "versioning": "KEEP_MULTIPLE_VERSIONS"}
    policy = suite.sdk.read("POST", "/_rest_/data_policy", parameters).findtext("Id") or ""
    rule = {"data_policy_id": policy, "isolation_level": "STANDARD", "storage_domain_id": domain, "type": "PERMANENT"}
    suite.sdk.send("POST", "/_rest_/data_persistence_rule", rule)
    suite.sdk.send("POST", "/_rest_/bucket", {"name": name, "data_policy_id": policy})
    versioned = Suite(suite.sdk, name)
    for data in (b"one", b"another"):
        versioned.put("book", data)
    listing = suite.sdk.read("GET", f"/{name}", {"versions": None})
    assert listing.findall("Contents") == []
    versions = listing.findall("Version")
    assert [each.findtext("Size") for each in versions] == ["7", "3"]
    for version, data in zip(versions, (b"another", b"one"), strict=True):
        reply = suite.sdk.send("GET", f"/{name}/book", {"version_id": version.findtext("VersionId")})
        assert reply.body == data
    suite.sdk.send("DELETE", f"/_rest_/bucket/{name}", {"force": None})


def test_nothing_is_known_of_an_unknown_object(full: Suite) -> None:
    """No tape holds it, and that is no failure."""
    parameters = {"operation": "get_physical_placement"}
    body = c_sdk.to_get(["resources/not-beowulf.txt"])
    placement = full.sdk.read("PUT", f"/_rest_/bucket/{full.bucket}", parameters, body=body)
    assert placement.find("Tapes") is not None
    assert placement.findall("Tapes/Tape") == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"name": "value"}, {"name": "value"}),
        ({"name": ""}, {}),
        ({"name": None}, {}),
        ({"key": "value2", "name": "value"}, {"key": "value2", "name": "value"}),
    ],
    ids=["one", "empty", "null", "two"],
)
def test_metadata_of_a_blob_are_those_of_its_object(
    suite: Suite, sent: Mapping[str, str | None], kept: Mapping[str, str]
) -> None:
    """HEAD and GET in a job have them alike, and no others."""
    body = c_sdk.to_put([("book", 4)])
    master = suite.sdk.read("PUT", f"/_rest_/bucket/{suite.bucket}", {"operation": "start_bulk_put"}, body=body)
    suite.put("book", b"book", metadata=sent, job=master.attrib["JobId"])
    assert suite.metadata("book") == kept
    reply = suite.sdk.send("GET", f"/{suite.bucket}/book", {"job": suite.start_get("book").attrib["JobId"]})
    assert {k: v for k, v in reply.headers if k.startswith("x-amz-meta-")} == {
        f"x-amz-meta-{name}": value for name, value in kept.items()
    }


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("%txt%", list(RESOURCES)),
        ("%resources%", list(RESOURCES)),
        ("%ulysses%", ["resources/ulysses.txt", "resources/ulysses_large.txt"]),
        ("%ulysses.txt%", ["resources/ulysses.txt"]),
        ("%frankenstein.txt%", []),
    ],
)
def test_objects_are_found_by_a_pattern(full: Suite, pattern: str, names: list[str]) -> None:
    """With `%` for any text; none is no failure, but no such bucket is 404."""
    assert full.found(pattern) == names
    with pytest.raises(Ds3Error) as caught:
        full.found(pattern, "fake_bucket")
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    "name",
    ["Plus+Object", "varsity1314/_projects/VARSITY 13-14/_versions/Varsity 13-14 (2015-10-05 1827)/PCMAC HD.avb"],
)
def test_plus_and_blanks_in_a_search(suite: Suite, name: str) -> None:
    """A plus sign of a query stays one."""
    suite.put(name, b"x" * 1024)
    assert suite.found(name) == [name]


def test_users_are_paged(suite: Suite) -> None:
    """From the first on, with the number of all."""
    reply = suite.sdk.send("GET", "/_rest_/user", {"page_offset": "0"})
    users = ET.fromstring(reply.body).findall("User")
    assert (reply.text("page-truncated"), reply.text("total-result-count")) == ("0", str(len(users)))
    assert "Administrator" in [user.findtext("Name") for user in users]


def test_a_job_can_be_told_to_another_appliance(full: Suite) -> None:
    """The answer is text, not XML, and not empty."""
    job = full.start_get(*RESOURCES).attrib["JobId"]
    reply = full.sdk.send("GET", f"/_rest_/job/{job}", {"replicate": None})
    assert reply.body
    assert not reply.body.startswith(b"<")


CHECKSUMS = {
    "MD5": ("Content-MD5", hashlib.md5),
    "SHA_256": ("Content-SHA256", hashlib.sha256),
    "SHA_512": ("Content-SHA512", hashlib.sha512),
}


@pytest.mark.parametrize("kind", [*CHECKSUMS, "CRC_32"])
def test_a_right_checksum_is_taken_and_a_wrong_one_is_bad(suite: Suite, kind: str) -> None:
    """The type is the policy's; after a wrong one the blob may be sent again."""
    policy = suite.sdk.read("GET", f"/_rest_/bucket/{suite.bucket}").findtext("DataPolicyId") or ""
    suite.sdk.send("PUT", f"/_rest_/data_policy/{policy}", {"checksum_type": kind})
    data = BOOKS["beowulf.txt"]
    header, digest = (
        ("Content-CRC32", zlib.crc32(data).to_bytes(4, "big"))
        if kind == "CRC_32"
        else (CHECKSUMS[kind][0], CHECKSUMS[kind][1](data).digest())
    )
    body = c_sdk.to_put([("book", len(data))])
    master = suite.sdk.read("PUT", f"/_rest_/bucket/{suite.bucket}", {"operation": "start_bulk_put"}, body=body)
    job = master.attrib["JobId"]
    wrong = base64.b64encode(bytes(len(digest))).decode()
    try:
        with pytest.raises(Ds3Error) as caught:
            suite.put("book", data, checksum=(header, wrong), job=job)
        assert (caught.value.status_code, caught.value.status_message) == (400, "Bad Request")
        suite.put("book", data, checksum=(header, base64.b64encode(digest).decode()), job=job)
        assert suite.sdk.send("HEAD", f"/{suite.bucket}/book").text(header) is None
    finally:
        suite.sdk.send("DELETE", f"/_rest_/bucket/{suite.bucket}", {"force": None})
        suite.sdk.send("PUT", f"/_rest_/data_policy/{policy}", {"checksum_type": "MD5"})
