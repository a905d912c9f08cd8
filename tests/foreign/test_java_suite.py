"""Cases of the vendor's Java integration tests that add to those of the other suites, asked as that SDK asks.

From Smoke_Test (quiet deletes, recovery, tapes), PutJobManagement_Test and GetJobManagement_Test (jobs modified,
cancelled, truncated, listed; broken transfers), Regression_Test (blanks in markers and prefixes), DataIntegrity_Test,
Metadata_Test, SpectraS3PaginationLoader_Test, VersionedObject_Test. What those ask of buckets, groups, policies,
registrations and users is in the other suites here; what they ask of their own classes is not.
"""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest

from ds3tool.simulator import Appliance
from tests.foreign import java_sdk
from tests.foreign.conftest import BOOKS
from tests.foreign.exchange import Exchange, Reply
from tests.foreign.java_sdk import FailedRequestError, JavaSdk
from tests.foreign.signed import Keys

_OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Suite:
    """The SDK, a bucket, and what the helpers of the SDK do with them."""

    sdk: JavaSdk
    bucket: str

    def start_put(self, sizes: Mapping[str, int], **parameters: str) -> ET.Element:
        wanted = {"operation": "start_bulk_put", "aggregating": "false", **parameters}
        return self.sdk.read("PUT", f"/_rest_/bucket/{self.bucket}", wanted, body=java_sdk.to_put(sizes))

    def start_get(self, *objects: Mapping[str, str], **parameters: str) -> ET.Element:
        wanted = {"operation": "start_bulk_get", "chunk_client_processing_order_guarantee": "NONE", **parameters}
        return self.sdk.read("PUT", f"/_rest_/bucket/{self.bucket}", wanted, body=java_sdk.to_get(*objects))

    def put(self, name: str, data: bytes, job: str | None = None, offset: int = 0,
            checksum: tuple[str, str] | None = None, metadata: Mapping[str, str] | None = None) -> Reply:  # fmt: skip
        where = {} if job is None else {"job": job, "offset": str(offset)}
        path = f"/{self.bucket}/{name}"
        return self.sdk.send("PUT", path, where, body=data, checksum=checksum, metadata=metadata)

    def get(self, name: str, job: str, offset: int = 0, spans: str | None = None, **more: str) -> bytes:
        headers = {} if spans is None else {"Range": f"bytes={spans}"}
        where = {"job": job, "offset": str(offset), **more}
        path = f"/{self.bucket}/{name}"
        return self.sdk.send("GET", path, where, headers=headers, expected=(200, 206), kind=_OCTETS).body

    def ready(self, job: str) -> ET.Element:
        reply = self.sdk.send("GET", "/_rest_/job_chunk", {"job": job})
        assert java_sdk.retry_after(reply) >= 0
        return ET.fromstring(reply.body)

    def fill(self, contents: Mapping[str, bytes]) -> str:
        job = self.start_put({name: len(data) for name, data in contents.items()}).attrib["JobId"]
        for name, data in contents.items():
            self.put(name, data, job)
        return job

    def job(self, identifier: str) -> ET.Element:
        return self.sdk.read("GET", f"/_rest_/job/{identifier}")

    def keys(self, **parameters: str) -> list[str]:
        root = self.sdk.read("GET", f"/{self.bucket}", parameters)
        return [each.text or "" for each in root.findall("Contents/Key")]

    def ids(self, resource: str) -> set[str]:
        """Return the ids of a list of jobs of this bucket."""
        root = self.sdk.read("GET", f"/_rest_/{resource}", {"bucket_id": self.bucket})
        return {each.findtext("Id") or "" for each in root}


@pytest.fixture
def suite(appliance: Appliance, bucket_name: str) -> Iterator[Suite]:
    """A bucket that ensureBucketExists makes: HEAD, then PUT."""
    with Exchange(appliance.endpoint) as exchange:
        sdk = JavaSdk(exchange, Keys(appliance.access_key, appliance.secret_key))
        assert sdk.send("HEAD", f"/{bucket_name}", expected=(200, 403, 404)).status == 404
        sdk.send("PUT", f"/{bucket_name}")
        yield Suite(sdk, bucket_name)


def test_every_list_of_a_job_has_the_same_blobs(suite: Suite) -> None:
    """Or the SDK waits for ever: in the answers to the start, to a poll, of one chunk, of the job as it goes on."""
    sizes = {"a": 3, "b&<c": 4, "ü/": 0}
    master = suite.start_put(sizes)
    job = master.attrib["JobId"]
    first = java_sdk.blobs(master)
    assert len(first) == 3
    chunk = master.find("Objects")
    assert chunk is not None
    allocate = f"/_rest_/job_chunk/{chunk.attrib['ChunkId']}"
    assert java_sdk.blobs(suite.sdk.read("PUT", allocate, {"operation": "allocate"})) == first
    assert java_sdk.blobs(suite.ready(job)) == first
    suite.put("a", b"123", job)
    for listed in (suite.ready(job), suite.job(job), suite.sdk.read("PUT", f"/_rest_/job/{job}")):
        assert {key: in_cache for key, in_cache in java_sdk.blobs(listed).items() if in_cache} == {
            key: True for key in first if "a" in key
        }
        assert java_sdk.blobs(listed).keys() == first.keys()


def test_a_put_that_was_broken_off_is_recovered(suite: Suite) -> None:
    """By its id alone: it is active, its list tells what is there, and the rest is put."""
    job = suite.start_put({name: len(data) for name, data in BOOKS.items()}).attrib["JobId"]
    suite.put("beowulf.txt", BOOKS["beowulf.txt"], job)
    assert suite.sdk.read("GET", f"/_rest_/active_job/{job}").findtext("RequestType") == "PUT"
    recovered = suite.sdk.read("PUT", f"/_rest_/job/{job}")
    missing = {key[4] for key, in_cache in java_sdk.blobs(recovered).items() if not in_cache}
    assert missing == {name for name in BOOKS if name != "beowulf.txt"}
    for name in missing:
        assert name
        suite.put(name, BOOKS[name], job)
    assert suite.job(job).attrib["CachedSizeInBytes"] == str(sum(map(len, BOOKS.values())))


def test_a_get_that_was_broken_off_goes_on_within_its_job(suite: Suite) -> None:
    """The rest of a blob is asked for with Range, job and offset; one ranged GET a blob completes the job."""
    suite.fill(BOOKS)
    job = suite.start_get(*({"Name": name} for name in BOOKS)).attrib["JobId"]
    for name, data in BOOKS.items():
        assert suite.get(name, job, spans=f"1000-{len(data) - 1}") == data[1000:]
    assert suite.job(job).attrib["Status"] == "COMPLETED"


def test_parts_of_objects_are_got_by_one_request_a_blob(suite: Suite) -> None:
    """Ranges sorted and joined; a version id beside them."""
    book = BOOKS["beowulf.txt"]
    suite.fill({"book": book})
    asked = [{"Name": "book", "Offset": str(offset), "Length": "100"} for offset in (5000, 100, 200)]
    master = suite.start_get(*asked)
    ((*_, version),) = java_sdk.blobs(master)
    assert version
    got = suite.get("book", master.attrib["JobId"], spans="100-299,5000-5099", version_id=version)
    assert got == book[100:300] + book[5000:5100]


def test_a_job_is_modified(suite: Suite) -> None:
    """Priority, name and date of creation, which Java sends as milliseconds."""
    job = suite.start_put({"test": 2}, priority="LOW", name="before").attrib["JobId"]
    assert suite.job(job).attrib["Priority"] == "LOW"
    earlier = java_sdk.date(suite.job(job).attrib["StartDate"]) - timedelta(seconds=1)
    milliseconds = str(round(earlier.timestamp() * 1000))
    suite.sdk.read("PUT", f"/_rest_/job/{job}", {"priority": "HIGH", "name": "newName", "created_at": milliseconds})
    changed = suite.job(job).attrib
    assert (changed["Priority"], changed["Name"]) == ("HIGH", "newName")
    assert java_sdk.date(changed["StartDate"]) == earlier


def test_a_cancelled_job_moves_to_the_cancelled_ones(suite: Suite) -> None:
    """And is cleared from there with the others."""
    job = suite.start_put({"test": 2}).attrib["JobId"]
    assert suite.ids("active_job") == {job}
    suite.sdk.send("DELETE", f"/_rest_/job/{job}", {"force": None}, expected=(204,))
    assert suite.ids("active_job") == set()
    assert suite.ids("canceled_job") == {job}
    suite.sdk.send("DELETE", "/_rest_/canceled_job", expected=(204,))
    assert suite.ids("canceled_job") == set()


def test_a_truncated_job_keeps_what_is_there(suite: Suite) -> None:
    """Its size shrinks to that, alone and with all others of its bucket."""
    book = BOOKS["beowulf.txt"]
    jobs = [suite.start_put({f"book{n}": len(book), f"place_holder{n}": 5_000_000}).attrib["JobId"] for n in (1, 2)]
    for number, job in enumerate(jobs, 1):
        suite.put(f"book{number}", book, job)
    suite.sdk.send("DELETE", f"/_rest_/job/{jobs[0]}", expected=(204,))
    suite.sdk.send("DELETE", "/_rest_/job", {"bucket_id": suite.bucket}, expected=(204,))
    assert [suite.job(job).attrib["OriginalSizeInBytes"] for job in jobs] == [str(len(book))] * 2
    assert suite.keys() == ["book1", "book2"]


def test_all_jobs_of_a_bucket_are_cancelled(suite: Suite) -> None:
    """With what they have in the cache."""
    for name in ("testOne", "testTwo"):
        suite.start_put({name: 2, f"{name} and more": 1})
    suite.sdk.send("DELETE", "/_rest_/job", {"force": None, "bucket_id": suite.bucket}, expected=(204,))
    assert suite.ids("active_job") == set()
    assert suite.keys() == []


def test_an_aggregating_job_takes_more_objects(suite: Suite) -> None:
    """The same job answers for the second list."""
    first = suite.start_put({"one": 1}, aggregating="true")
    second = suite.start_put({"two": 2}, aggregating="true")
    assert first.attrib["JobId"] == second.attrib["JobId"]
    assert suite.keys() == ["one", "two"]
    suite.sdk.send("DELETE", f"/_rest_/job/{first.attrib['JobId']}", {"force": None}, expected=(204,))


@pytest.mark.parametrize("quiet", [None, False, True])
def test_deletes_are_told_unless_quiet(suite: Suite, quiet: bool | None) -> None:
    """Errors are told in any case."""
    suite.fill({"a": b"1", "b": b"2"})
    body = java_sdk.to_delete(["a", "b", "unknown"], quiet=quiet)
    answer = suite.sdk.read("POST", f"/{suite.bucket}", {"delete": None}, body=body)
    assert len(answer.findall("Deleted")) == (0 if quiet else 2)
    assert [each.text for each in answer.findall("Error/Key")] == ["unknown"]
    assert suite.keys() == []


def test_blanks_in_markers_and_prefixes(suite: Suite) -> None:
    """Of objects that are only declared."""
    suite.start_put(dict.fromkeys(["obj1", "obj3 has spaces", "obj4 too has", "dir 2/a b", "dir 2/c", "dir1/d"], 1024))
    assert suite.keys(marker="obj3 has spaces") == ["obj4 too has"]
    assert suite.keys(prefix="dir 2/") == ["dir 2/a b", "dir 2/c"]
    entry = suite.sdk.read("GET", f"/{suite.bucket}", {"max_keys": "1"}).find("Contents")
    assert entry is not None
    assert [entry.findtext(name) for name in ("ETag", "LastModified", "Size")] == ["", "", "0"]


def test_the_reply_to_a_put_repeats_the_checksum(suite: Suite) -> None:
    """Under the header it came in."""
    data = BOOKS["ulysses.txt"]
    digest = base64.b64encode(hashlib.md5(data).digest()).decode()
    assert suite.put("book", data, checksum=("Content-MD5", digest)).text("Content-MD5") == digest


def test_a_folder_is_made_through_a_job(suite: Suite) -> None:
    """A bulk put of its name with size 0, and an empty body with job and offset."""
    job = suite.start_put({"new folder/": 0}).attrib["JobId"]
    suite.put("new folder/", b"", job)
    head = suite.sdk.send("HEAD", f"/{suite.bucket}/new folder/")
    assert head.length == 0
    assert java_sdk.date(head.text("creation-date"))
    assert suite.keys() == ["new folder/"]


def test_metadata_come_back_escaped_as_they_went(suite: Suite) -> None:
    """Any text, percent-encoded by the client; names in lower case."""
    tags = {"ds3-ownerName": "Ülle O'Neil", "with space": "a,b;c=d%"}
    suite.put("book", b"1", metadata=tags)
    reply = suite.sdk.send("HEAD", f"/{suite.bucket}/book")
    found = {name: value for name, value in reply.headers if name.startswith("x-amz-meta-")}
    assert found == {f"x-amz-meta-{java_sdk.escaped(n).lower()}": java_sdk.escaped(v) for n, v in tags.items()}


def test_a_paged_list_is_read_to_its_number(suite: Suite) -> None:
    """Offsets of a page each, until as many are read as there are."""
    names = [f"object{number:02}" for number in range(7)]
    suite.fill(dict.fromkeys(names, b"x"))
    found: list[str] = []
    total = 1
    while len(found) < total:
        parameters = {"bucket_id": suite.bucket, "page_length": "3", "page_offset": str(len(found))}
        reply = suite.sdk.send("GET", "/_rest_/object", parameters)
        total = int(reply.text("total-result-count") or "")
        found += [each.text or "" for each in ET.fromstring(reply.body).findall("S3Object/Name")]
        assert reply.text("page-truncated") == str(total - len(found))
    assert found == names


def test_a_tape_is_shown_by_its_id_and_its_bar_code(suite: Suite) -> None:
    """Alike."""
    tape = suite.sdk.read("GET", "/_rest_/tape").find("Tape")
    assert tape is not None
    by_id, by_code = (suite.sdk.read("GET", f"/_rest_/tape/{tape.findtext(name)}") for name in ("Id", "BarCode"))
    assert ET.tostring(by_id) == ET.tostring(by_code)


def test_a_deleted_version_is_found_again(suite: Suite) -> None:
    """KEEP_MULTIPLE_VERSIONS: a delete hides all versions, and undelete shows the newest."""
    policy = suite.sdk.read("GET", f"/_rest_/bucket/{suite.bucket}").findtext("DataPolicyId") or ""
    rules = suite.sdk.read("GET", "/_rest_/data_persistence_rule", {"data_policy_id": policy})
    domain = rules.findtext("DataPersistenceRule/StorageDomainId") or ""
    name = f"{suite.bucket}-versions"
    parameters = {"name": name, "versioning": "KEEP_MULTIPLE_VERSIONS"}
    new = suite.sdk.read("POST", "/_rest_/data_policy", parameters, expected=(201,)).findtext("Id") or ""
    rule = {"data_policy_id": new, "isolation_level": "STANDARD", "storage_domain_id": domain, "type": "PERMANENT"}
    suite.sdk.send("POST", "/_rest_/data_persistence_rule", rule, expected=(201,))
    suite.sdk.send("POST", "/_rest_/bucket", {"name": name, "data_policy_id": new}, expected=(201,))
    versions = Suite(suite.sdk, name)
    for data in (b"old", b"newer"):
        versions.put("book", data)
    suite.sdk.send("DELETE", f"/{name}/book", expected=(204,))
    with pytest.raises(FailedRequestError) as caught:
        suite.sdk.send("GET", f"/{name}/book", kind=_OCTETS)
    assert caught.value.status_code == 404
    shown = suite.sdk.read("PUT", "/_rest_/object", {"bucket_id": name, "name": "book"})
    assert (shown.findtext("Name"), shown.findtext("Latest")) == ("book", "true")
    assert suite.sdk.send("GET", f"/{name}/book", kind=_OCTETS).body == b"newer"


def test_filters_by_unknown_ids_find_nothing(suite: Suite) -> None:
    """An id that nothing has is no failure in a filter; as the marker of a page it is 410."""
    unknown = "0b8a5e9e-6c7a-4a3a-8f40-1d6d2b0c9e21"
    parameters = {"auth_id": "123", "default_data_policy_id": unknown, "name": "charles", "last_page": None}
    assert list(suite.sdk.read("GET", "/_rest_/user", parameters)) == []
    assert list(suite.sdk.read("GET", "/_rest_/user", {"default_data_policy_id": unknown})) == []
    with pytest.raises(FailedRequestError) as caught:
        suite.sdk.send("GET", "/_rest_/group", {"page_start_marker": unknown})
    assert caught.value.status_code == 410
    with pytest.raises(FailedRequestError) as caught:
        suite.sdk.send("PUT", f"/_rest_/user/{unknown}", {"operation": "regenerate_secret_key"})
    assert caught.value.status_code == 404


def test_built_in_groups_have_their_names(suite: Suite) -> None:
    """Everyone and Administrators, by their names; one is a member of a new group for a while."""
    for name in ("Everyone", "Administrators"):
        assert suite.sdk.read("GET", f"/_rest_/group/{name}").findtext("BuiltIn") == "true"
    suite.sdk.send("POST", "/_rest_/group", {"name": "test_group"}, expected=(201,))
    parameters = {"group_id": "test_group", "member_group_id": "Administrators"}
    member = suite.sdk.read("POST", "/_rest_/group_member", parameters, expected=(201,)).findtext("Id")
    assert suite.sdk.read("GET", f"/_rest_/group_member/{member}").findtext("Id") == member
    suite.sdk.send("DELETE", f"/_rest_/group_member/{member}", expected=(204,))
    assert suite.sdk.read("PUT", "/_rest_/group/test_group", {"name": "new_name"}).findtext("Name") == "new_name"
    suite.sdk.send("DELETE", "/_rest_/group/new_name", expected=(204,))


def test_uploads_in_parts_that_nobody_began(suite: Suite) -> None:
    """Their parts are none, with 200; to send, complete or abort one is 404."""
    unknown = "0b8a5e9e-6c7a-4a3a-8f40-1d6d2b0c9e21"
    path = f"/{suite.bucket}/beowulf"
    parts = suite.sdk.read("GET", path, {"upload_id": unknown})
    assert (parts.findtext("UploadId"), parts.findall("Part")) == (unknown, [])
    assert suite.sdk.read("GET", f"/{suite.bucket}", {"uploads": None}).findall("Upload") == []
    body = b"<CompleteMultipartUpload/>"
    for verb, more, sent in (("PUT", {"part_number": "5"}, b"x" * 1024), ("POST", {}, body), ("DELETE", {}, b"")):
        with pytest.raises(FailedRequestError) as caught:
            suite.sdk.send(verb, path, {"upload_id": unknown, **more}, body=sent, expected=(200, 204))
        assert caught.value.status_code == 404
