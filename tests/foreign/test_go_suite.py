"""The cases of the vendor's Go suites (integration and helpers), each asked as that SDK asks through net/http.

The environment is the one that the suites set up: a data policy that becomes the default of Administrator, a storage
domain over an empty pool partition, a rule, and one bucket for all tests, which empties it after each: cancel every
job of the list, then delete object by object.

| case | here, `test_...` |
|---|---|
| TestGetService, TestBucket, TestGetBucket, TestHeadBucket | a_bucket_is_there_once_put |
| TestBadBucket, TestBucketAlreadyExists, TestDeleteBucketMalformedName, ...Nonexistent | what_is_refused |
| TestGetBucketNonexistent, TestHeadBucketNonExistent | what_is_refused |
| TestDeleteEmptyBucket, TestDeleteBucketNonEmpty | a_bucket_with_objects_stays_unless_forced |
| TestObject, TestObjectWith... (4), TestPutGetFilePercentEncodingObjectNames | any_name_comes_back_with_its_bytes |
| TestPuttingFolder, TestPuttingZeroLengthObject | nothing_is_put_and_listed |
| TestGetBucketPagination, TestGetBucketDelimiter | empty_objects_of_a_job_are_listed_in_pages, ..._below_a_delimiter |
| TestBulkPut, TestBulkGet | books_go_up_and_down_through_jobs |
| TestDeleteObjects | several_objects_go_at_once |
| TestGetUsersSpectraS3WithName | one_user_has_that_name |
| TestSettingDefaultDataPolicy | a_user_takes_another_default_policy |
| TestDataPolicySpectraS3, TestStorageDomain, TestPoolPartition | a_record_is_made_and_shown_by_its_id |
| TestStorageDomainMember, TestDataPersistenceRule | the_environment_names_its_parts |
| TestConcurrentClientUsage, TestConcurrentSendNetworkUsage | thirty_puts_at_once |
| helpers: TestPutBulk, TestGetBulk, ...SpanningChunks (4) | the_helper_moves_an_object_of_several_blobs |
| helpers: TestGetBulkPartialObjectRandomAccess | parts_of_an_object_are_got |
| helpers: a transfer that breaks off | the_rest_of_a_blob_is_asked_for_without_its_job |

Not asked of an appliance: TestPutObjectDoesNotExist (no local file).
"""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from ds3tool.simulator import Appliance
from tests.foreign import go_sdk
from tests.foreign.conftest import BIG_BOOK, BOOKS
from tests.foreign.exchange import Exchange
from tests.foreign.go_sdk import BadStatusCodeError, GoSdk, boolean, integer
from tests.foreign.signed import Keys

BUCKET = "GoIntegrationTestBucket"
SPACE = "GoIntegrationSmokeTest"


@dataclass(frozen=True)
class Suite:
    """The SDK, and what testutils holds."""

    sdk: GoSdk

    def create(self, resource: str, **parameters: str) -> ET.Element:
        return self.sdk.read("POST", f"/_rest_/{resource}", parameters, expected=(201,))

    def remove(self, resource: str, identifier: str) -> None:
        self.sdk.send("DELETE", f"/_rest_/{resource}/{identifier}", expected=(204,))

    def put(self, name: str, data: bytes, bucket: str = BUCKET, **parameters: str) -> None:
        self.sdk.send("PUT", f"/{bucket}/{name}", parameters, body=data)

    def get(
        self, name: str, bucket: str = BUCKET, headers: Mapping[str, str] | None = None, **parameters: str
    ) -> bytes:
        return self.sdk.send("GET", f"/{bucket}/{name}", parameters, headers=headers, expected=(200, 206)).body

    def start_put(self, sizes: Mapping[str, int], **parameters: str) -> ET.Element:
        wanted = {"operation": "start_bulk_put", **parameters}
        return master(self.sdk.read("PUT", f"/_rest_/bucket/{BUCKET}", wanted, body=go_sdk.to_put(sizes.items())))

    def start_get(self, *objects: Mapping[str, str], **parameters: str) -> ET.Element:
        wanted = {"operation": "start_bulk_get", **parameters}
        return master(self.sdk.read("PUT", f"/_rest_/bucket/{BUCKET}", wanted, body=go_sdk.to_get(objects)))

    def allocated(self, job: ET.Element) -> list[tuple[str, int, int]]:
        """Allocate chunk by chunk; return name, offset and length of each blob."""
        found: list[tuple[str, int, int]] = []
        for chunk in job.findall("Objects"):
            path = f"/_rest_/job_chunk/{chunk.attrib['ChunkId']}"
            found += blobs(self.sdk.read("PUT", path, {"operation": "allocate"}))
        return found

    def fill(self, contents: Mapping[str, bytes]) -> None:
        job = self.start_put({name: len(data) for name, data in contents.items()})
        for name, offset, length in self.allocated(job):
            self.put(name, contents[name][offset : offset + length], job=job.attrib["JobId"], offset=str(offset))

    def ready(self, job: str) -> list[tuple[str, int, int]]:
        reply = self.sdk.send("GET", "/_rest_/job_chunk", {"job": job})
        assert integer(reply.text("Retry-After")) >= 0
        return blobs(master(ET.fromstring(reply.body)))

    def listing(self, bucket: str = BUCKET, **parameters: str) -> ET.Element:
        return self.sdk.read("GET", f"/{bucket}", parameters)

    def keys(self, bucket: str = BUCKET) -> list[str]:
        return [each.text or "" for each in self.listing(bucket).findall("Contents/Key")]

    def empty(self) -> None:
        """Cancel whatever job there is, and delete object by object."""
        for job in self.sdk.read("GET", "/_rest_/job").findall("Job"):
            if job.attrib["Status"] == "IN_PROGRESS":
                path = f"/_rest_/job/{job.attrib['JobId']}"
                self.sdk.send("DELETE", path, {"force": ""}, expected=(204, 404))
        for key in self.keys():
            self.sdk.send("DELETE", f"/{BUCKET}/{key}", expected=(204,))


def master(root: ET.Element) -> ET.Element:
    """Return a MasterObjectList whose numbers, truths and words the SDK's model can hold."""
    for name in ("CachedSizeInBytes", "CompletedSizeInBytes", "OriginalSizeInBytes"):
        integer(root.get(name))
    for name in ("Aggregating", "Naked"):
        boolean(root.get(name))
    words = {
        "ChunkClientProcessingOrderGuarantee": {"NONE", "IN_ORDER"},
        "Priority": {"CRITICAL", "URGENT", "HIGH", "NORMAL", "LOW", "BACKGROUND"},
        "RequestType": {"PUT", "GET", "VERIFY"},
        "Status": {"IN_PROGRESS", "COMPLETED", "CANCELED"},
    }
    assert all(root.attrib[name] in allowed for name, allowed in words.items())
    assert root.attrib["JobId"]
    assert root.find("Nodes/Node") is not None
    for chunk in root.findall("Objects"):
        assert chunk.attrib["ChunkId"]
        assert integer(chunk.get("ChunkNumber")) >= 1
    blobs(root)
    return root


def blobs(root: ET.Element) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    for blob in root.iter("Object"):
        boolean(blob.get("Latest"))
        boolean(blob.get("InCache"))
        assert blob.attrib["VersionId"]
        found.append((blob.attrib["Name"], integer(blob.get("Offset")), integer(blob.get("Length"))))
    return found


@pytest.fixture(scope="module")
def environment(appliance: Appliance) -> Iterator[dict[str, str]]:
    """What SetupTestEnv makes and TeardownTestEnv takes away, in its order; ids by resource."""
    with Exchange(appliance.endpoint) as exchange:
        suite = Suite(GoSdk(exchange, Keys(appliance.access_key, appliance.secret_key)))
        policy = suite.create("data_policy", name=SPACE).findtext("Id") or ""
        user = suite.sdk.read("GET", "/_rest_/user", {"name": "Administrator"}).find("User")
        assert user is not None
        before = user.findtext("DefaultDataPolicyId") or ""
        suite.sdk.send("PUT", "/_rest_/user/Administrator", {"default_data_policy_id": policy})
        pool = suite.create("pool_partition", name=SPACE, type="ONLINE").findtext("Id") or ""
        domain = suite.create("storage_domain", name=SPACE).findtext("Id") or ""
        member = suite.create("storage_domain_member", pool_partition_id=pool, storage_domain_id=domain)
        rule = suite.create(
            "data_persistence_rule", data_policy_id=policy, isolation_level="STANDARD", storage_domain_id=domain,
            type="PERMANENT",
        )  # fmt: skip
        suite.sdk.send("PUT", f"/{BUCKET}")
        ids = {
            "data_persistence_rule": rule.findtext("Id") or "",
            "storage_domain_member": member.findtext("Id") or "",
            "storage_domain": domain,
            "pool_partition": pool,
        }
        yield {**ids, "data_policy": policy}
        suite.empty()
        suite.sdk.send("DELETE", f"/_rest_/bucket/{BUCKET}", {"force": ""}, expected=(204,))
        for resource, identifier in ids.items():
            suite.remove(resource, identifier)
        user_path = f"/_rest_/user/{user.findtext('Id')}"
        suite.sdk.send("PUT", user_path, {"default_data_policy_id": before})
        suite.remove("data_policy", policy)


@pytest.fixture
def suite(appliance: Appliance, environment: Mapping[str, str]) -> Iterator[Suite]:
    with Exchange(appliance.endpoint) as exchange:
        suite = Suite(GoSdk(exchange, Keys(appliance.access_key, appliance.secret_key)))
        yield suite
        suite.empty()


def status(call: Callable[[], object]) -> int:
    with pytest.raises(BadStatusCodeError) as caught:
        call()
    return caught.value.actual_status_code


def test_a_bucket_is_there_once_put(suite: Suite) -> None:
    """In the service, under GET with its name, under HEAD."""
    suite.sdk.send("PUT", "/GoTestPutBucket")
    names = [each.text for each in suite.sdk.read("GET", "/").findall("Buckets/Bucket/Name")]
    assert "GoTestPutBucket" in names
    assert suite.listing("GoTestPutBucket").findtext("Name") == "GoTestPutBucket"
    suite.sdk.send("HEAD", "/GoTestPutBucket")
    suite.sdk.send("DELETE", "/_rest_/bucket/GoTestPutBucket", {"force": ""}, expected=(204,))


@pytest.mark.parametrize(
    ("verb", "path", "parameters", "expected"),
    [
        ("PUT", "/", {}, 400),
        ("PUT", f"/{BUCKET}", {}, 409),
        ("DELETE", "/", {}, 400),
        ("DELETE", "/not-here", {}, 404),
        ("DELETE", "/_rest_/bucket/", {"force": ""}, 400),
        ("DELETE", "/_rest_/bucket/not-here", {"force": ""}, 404),
        ("GET", "/not-there", {}, 404),
        ("HEAD", "/not-here", {}, 404),
    ],
)
def test_what_is_refused(suite: Suite, verb: str, path: str, parameters: Mapping[str, str], expected: int) -> None:
    """A bucket without a name is 400, a second one 409, an unknown one 404."""
    assert status(lambda: suite.sdk.send(verb, path, parameters)) == expected


def test_a_bucket_with_objects_stays_unless_forced(suite: Suite) -> None:
    """409 without force; with it, the bucket and what is in it are gone."""
    bucket = "GoTestDeleteBucketNonEmpty"
    suite.sdk.send("PUT", f"/{bucket}")
    suite.put("beowulf.txt", BOOKS["beowulf.txt"], bucket)
    assert status(lambda: suite.sdk.send("DELETE", f"/{bucket}")) == 409
    assert status(lambda: suite.sdk.send("DELETE", f"/_rest_/bucket/{bucket}")) == 409
    suite.sdk.send("DELETE", f"/_rest_/bucket/{bucket}", {"force": ""}, expected=(204,))
    assert status(lambda: suite.listing(bucket)) == 404


_SYMBOLS = "-._~!$'()*,&=@:/;+? %#'\t"


@pytest.mark.parametrize(
    "name",
    [*(f"test{symbol}symbol{n}" for n, symbol in enumerate(_SYMBOLS)), "b e o w u l f", "be/owu/lf", "aÀˠϠૐ༺ᎀ"],
)
def test_any_name_comes_back_with_its_bytes(suite: Suite, name: str) -> None:
    """Put and got alone, under each symbol that a path can or cannot hold unescaped."""
    suite.put(name, b"hello world")
    assert suite.get(name) == b"hello world"
    assert suite.keys() == [name]


@pytest.mark.parametrize("name", ["Gracie/Eskimo/", "Gracie"])
def test_nothing_is_put_and_listed(suite: Suite, name: str) -> None:
    """With a length of 0 on the wire; its size cannot be null in the listing."""
    suite.put(name, b"")
    entry = suite.listing().find("Contents")
    assert entry is not None
    assert (entry.findtext("Key"), integer(entry.findtext("Size"))) == (name, 0)


def test_empty_objects_of_a_job_are_listed_in_pages(suite: Suite) -> None:
    """Five at a time, until there is no next marker."""
    names = [f"file{number}" for number in range(10, 25)]
    suite.fill(dict.fromkeys(names, b""))
    found: list[str] = []
    parameters = {"max_keys": "5"}
    for truncated in (True, True, False):
        page = suite.listing(**parameters)
        found += [each.text or "" for each in page.findall("Contents/Key")]
        assert boolean(page.findtext("IsTruncated")) is truncated
        parameters["marker"] = page.findtext("NextMarker") or ""
    assert found == names
    assert parameters["marker"] == ""


def test_empty_objects_of_a_job_below_a_delimiter(suite: Suite) -> None:
    """One common prefix beside ten objects."""
    suite.fill({f"{folder}file{number}": b"" for folder in ("", "dir/") for number in range(10)})
    page = suite.listing(delimiter="/")
    assert len(page.findall("Contents")) == 10
    assert [each.text for each in page.findall("CommonPrefixes/Prefix")] == ["dir/"]


def test_books_go_up_and_down_through_jobs(suite: Suite) -> None:
    """Allocated chunk by chunk; the chunk to get is asked for by the id of its job, the books without any."""
    suite.fill(BOOKS)
    assert suite.keys() == list(BOOKS)
    job = suite.start_get(*({"Name": name} for name in BOOKS)).attrib["JobId"]
    chunk = blobs(suite.sdk.read("GET", f"/_rest_/job_chunk/{job}"))
    assert {name: suite.get(name) for name, _, _ in chunk} == BOOKS


def test_several_objects_go_at_once(suite: Suite) -> None:
    """`delete=` with an empty value; the body has start and end tags."""
    suite.fill(BOOKS)
    suite.sdk.send("POST", f"/{BUCKET}", {"delete": ""}, body=go_sdk.to_delete(BOOKS))
    assert suite.keys() == []


def test_one_user_has_that_name(suite: Suite) -> None:
    """The administrator, by its name."""
    users = suite.sdk.read("GET", "/_rest_/user", {"name": "Administrator"}).findall("User")
    assert [user.findtext("Name") for user in users] == ["Administrator"]
    assert integer(users[0].findtext("MaxBuckets")) > 0


def test_a_user_takes_another_default_policy(suite: Suite, environment: Mapping[str, str]) -> None:
    """And the one it had."""
    policy = suite.create("data_policy", name="GoTestSettingDefaultDataPolicy").findtext("Id") or ""
    for chosen in (policy, environment["data_policy"]):
        user = suite.sdk.read("PUT", "/_rest_/user/Administrator", {"default_data_policy_id": chosen})
        assert (user.findtext("Name"), user.findtext("DefaultDataPolicyId")) == ("Administrator", chosen)
    suite.remove("data_policy", policy)


@pytest.mark.parametrize(
    ("resource", "more"), [("data_policy", {}), ("storage_domain", {}), ("pool_partition", {"type": "ONLINE"})]
)
def test_a_record_is_made_and_shown_by_its_id(suite: Suite, resource: str, more: Mapping[str, str]) -> None:
    """With what was given, and gone by its name."""
    name = f"GoTest-{resource}"
    made = suite.create(resource, name=name, **more)
    shown = suite.sdk.read("GET", f"/_rest_/{resource}/{made.findtext('Id')}")
    assert {field: shown.findtext(field.capitalize()) for field in ("name", *more)} == {"name": name, **more}
    suite.remove(resource, name)
    assert status(lambda: suite.sdk.send("GET", f"/_rest_/{resource}/{name}")) == 404


def test_the_environment_names_its_parts(suite: Suite, environment: Mapping[str, str]) -> None:
    """A member its partition and domain, a rule its policy, domain, type and level."""
    member = suite.sdk.read("GET", f"/_rest_/storage_domain_member/{environment['storage_domain_member']}")
    assert member.findtext("PoolPartitionId") == environment["pool_partition"]
    assert member.findtext("StorageDomainId") == environment["storage_domain"]
    rule = suite.sdk.read("GET", f"/_rest_/data_persistence_rule/{environment['data_persistence_rule']}")
    assert rule.findtext("DataPolicyId") == environment["data_policy"]
    assert rule.findtext("StorageDomainId") == environment["storage_domain"]
    assert (rule.findtext("Type"), rule.findtext("IsolationLevel")) == ("PERMANENT", "STANDARD")


def test_thirty_puts_at_once(suite: Suite, appliance: Appliance) -> None:
    """Each by a goroutine and a connection of its own, all blobs of one job."""
    data = BOOKS["tale_of_two_cities.txt"]
    job = suite.start_put({f"file{number}": len(data) for number in range(30)})
    failures: list[BaseException] = []

    def put(name: str, offset: int) -> None:
        try:
            with Exchange(appliance.endpoint) as exchange:
                sdk = GoSdk(exchange, suite.sdk.keys)
                where = {"job": job.attrib["JobId"], "offset": str(offset)}
                sdk.send("PUT", f"/{BUCKET}/{name}", where, body=data)
        except BaseException as error:  # noqa: BLE001 - the thread's end is the test's
            failures.append(error)

    threads = [threading.Thread(target=put, args=(name, offset)) for name, offset, _ in suite.allocated(job)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(suite.keys()) == 30


LARGE = (BIG_BOOK * 4)[: 12 << 20]


def test_the_helper_moves_an_object_of_several_blobs(suite: Suite) -> None:
    """Put blob by blob as chunks get ready, got in a job without an order, its blobs known by HEAD's checksums."""
    job = suite.start_put({"large": len(LARGE)}, max_upload_size=str(10 << 20)).attrib["JobId"]
    for name, offset, length in suite.ready(job):
        suite.put(name, LARGE[offset : offset + length], job=job, offset=str(offset))
    head = suite.sdk.send("HEAD", f"/{BUCKET}/large")
    prefix = "ds3-blob-checksum-offset-"
    assert sorted(int(k.removeprefix(prefix)) for k, _ in head.headers if k.startswith(prefix)) == [0, 10 << 20]
    assert head.length == len(LARGE)
    job = suite.start_get({"Name": "large"}, chunk_client_processing_order_guarantee="NONE").attrib["JobId"]
    got = {offset: suite.get(name, job=job, offset=str(offset)) for name, offset, _ in suite.ready(job)}
    assert b"".join(got[offset] for offset in sorted(got)) == LARGE
    assert suite.sdk.read("GET", f"/_rest_/job/{job}").attrib["Status"] == "COMPLETED"


def test_parts_of_an_object_are_got(suite: Suite) -> None:
    """Several ranges of a bulk get; one ranged GET of the blob brings them, end to end."""
    book = BOOKS["beowulf.txt"]
    suite.fill({"book": book})
    wanted = [(0, 100), (200, 300), (301, 400), (500, 600)]
    ranges = [{"Name": "book", "Length": str(past - first + 1), "Offset": str(first)} for first, past in wanted]
    job = suite.start_get(*ranges).attrib["JobId"]
    assert suite.ready(job) == [("book", 0, len(book))]
    spans = ",".join(f"{first}-{past}" for first, past in wanted)
    reply = suite.sdk.send(
        "GET", f"/{BUCKET}/book", {"job": job, "offset": "0"}, headers={"Range": f"bytes={spans}"}, expected=(206,)
    )
    assert reply.body == b"".join(book[first : past + 1] for first, past in wanted)
    assert reply.text("Content-Range") == f"bytes {spans}/{len(book)}"


def test_the_rest_of_a_blob_is_asked_for_without_its_job(suite: Suite) -> None:
    """After a broken reply the SDK asks with Range and offset, and leaves the job out."""
    book = BOOKS["beowulf.txt"]
    suite.fill({"book": book})
    job = suite.start_get({"Name": "book"}).attrib["JobId"]
    assert suite.ready(job) == [("book", 0, len(book))]
    rest = {"Range": f"bytes=1000-{len(book) - 1}"}
    assert suite.get("book", headers=rest, offset="0") == book[1000:]
