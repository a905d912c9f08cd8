"""The cases of the vendor's Python SDK suite, each asked as that SDK asks and answered as its reader needs it.

Each test stands in the state that the suite's setUp makes (a storage domain over an empty pool partition, a data
policy with a permanent rule on it) and ends with its tearDown, under the same names each time.

| cases of the suite | here, `test_...` |
|---|---|
| testPutBucket, testPutBucketUnicode, testGetService | a_bucket_is_in_the_service_once_made |
| testPutBucketBadInput | a_bucket_without_a_name_is_400_and_a_second_one_409 |
| testDeleteEmptyBucket, testDeleteBucketBadInput | an_empty_bucket_goes, which_buckets_cannot_go |
| testGetEmptyBucket | an_empty_listing_has_nulls_for_what_was_not_asked |
| testGetFilledBucket, testPutBulkUnicode | a_listing_names_each_object_and_its_size |
| testGetBucketBadInput | the_service_stands_where_a_bucket_without_a_name_is_listed |
| testPrefix, testPagination, testDelimiter | a_prefix_..., objects_of_an_open_job_..., a_delimiter_... |
| testHeadBucket, testHeadBucketBadInput | a_bucket_is_there, which_buckets_are_not_there |
| testGetJobs | a_job_leaves_the_list_when_it_is_cancelled |
| testGetObject, testGetAndPutObjectStream, testGetBigFile | an_object_of_a_job_..., a_naked_object_... |
| testGetObjectDetails | one_object_is_shown_by_its_name |
| testDeleteObject, testDeleteObjectUnicode, testDeleteObjectBadInput | an_object_goes, which_objects_cannot_go |
| testDeleteObjects, testDeleteObjectsUnicode | several_objects_go_in_one_request |
| testDeleteObjectsEmpty | an_empty_list_of_keys_deletes_nothing |
| testDeleteBadObjects, testDeleteObjectsBadBucket | keys_that_are_not_there_..., keys_of_no_bucket_are_404 |
| testGetPhysicalPlacement, ...Full | an_unknown_object_is_nowhere |
| testGetPhysicalPlacementBadInput, ...FullBadInput | a_placement_in_no_bucket_is_404 |
| testDeleteFolder, testDeleteFolderBadInput | a_folder_goes_with_all_in_it, which_folders_cannot_go |
| testGetObjects and its six variants | objects_are_listed_in_order_..., objects_come_in_two_halves |
| testGetObjectsWithFullDetails | full_details_have_an_entry_for_each_object |
| testGetBulkUnicode | a_chunk_is_read_by_the_id_of_its_job |
| testGetBulkWithMetadata | metadata_come_back_with_the_data |
| testHeadObject, testHeadObjectBadInput | metadata_come_back_in_lists, which_heads_are_no_failure |
| testGetSystemInformation, testVerifySystemHealth | the_system_tells_of_itself |
| testPutDeleteDataPolicy, ...EmptyStorageDomain, ...PoolPartition | a_record_is_made_... |
| testPutDeletePoolStorageDomainMember | a_pool_partition_is_a_member_of_a_storage_domain |
| testPutBucketWithDataPolicy | a_bucket_under_a_policy_of_its_own |
| testDuplicateObjectsVersioningKeepLatest, ...None | a_name_twice_with_..., a_name_twice_without_... |
| testObjectNameWithSpace, testObjectNameWithSpecialChars | odd_names_are_put_shown_and_got |
| testSpecialCharactersInQueryParam | a_marker_comes_back_as_it_was_asked |
| testCreateDeleteGroup, testDataPolicyForGroup | a_record_is_made_..., a_group_may_use_a_data_policy |
| testGroupGroupMember, testBucketAclForGroup | a_group_is_a_member_of_a_group, a_group_may_read_a_bucket |
| six registrations of notifications | a_registration_is_made_shown_and_deleted |
| testObjectPersistedRegistration | a_registration_for_one_job_outlives_its_transfer |

The helpers' cases are in test_python_helpers.py. Not asked of any appliance, so not here: testMismatchedRequest,
testGetServiceParsing, testPutObjectRequestWithMetadata, testEncodingQueryParamsWithSymbols,
testEncodingPathWithObjectNameWithPlus, testGetJobToReplicate, testGetBlobPersistence (the last two parse a made-up
reply).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ds3tool.simulator import Appliance
from tests.foreign import python_sdk
from tests.foreign.conftest import BIG_BOOK, BOOKS
from tests.foreign.python_sdk import Answer, PythonSdk, RequestFailedError, Result, Stream, bean, listed

BUCKET = "python_test_bucket"
RESOURCES = list(BOOKS)


@dataclass(frozen=True)
class Suite:
    """The SDK's client and the suite's own helpers, over a data policy of the test's."""

    sdk: PythonSdk
    policy: str

    def make_bucket(self, name: str = BUCKET, policy: str | None = None) -> Result:
        parameters = {"name": name, "data_policy_id": policy or self.policy}
        answer = self.sdk.send("POST", "/_rest_/bucket", parameters, expected=(201,))
        return answer.read(bean("CreationDate", "DataPolicyId", "Id", "Name", "UserId"))

    def start_put(self, sizes: Mapping[str, int], bucket: str = BUCKET, **parameters: object) -> Result:
        wanted = {"operation": "start_bulk_put", **parameters}
        answer = self.sdk.send("PUT", f"/_rest_/bucket/{bucket}", wanted, body=python_sdk.to_put(sizes))
        return answer.read(python_sdk.MASTER)

    def start_get(self, *names: str, bucket: str = BUCKET, **parameters: object) -> Result:
        wanted = {"operation": "start_bulk_get", **parameters}
        answer = self.sdk.send("PUT", f"/_rest_/bucket/{bucket}", wanted, body=python_sdk.to_get(*names))
        return answer.read(python_sdk.MASTER)

    def put(self, name: str, data: bytes, *, bucket: str = BUCKET, headers: Mapping[str, object] | None = None,
            **parameters: object) -> Answer:  # fmt: skip
        sent = {**{key: value for key, value in (headers or {}).items() if value}, "Content-Length": str(len(data))}
        return self.sdk.send("PUT", f"/{bucket}/{name}", parameters, body=Stream(data), headers=sent)

    def get(self, name: str, *, bucket: str = BUCKET, **parameters: object) -> Answer:
        return self.sdk.send("GET", f"/{bucket}/{name}", parameters, expected=(200, 206))

    def fill(self, contents: Mapping[str, bytes], job: Result, metadata: Mapping[str, object] | None = None,
             bucket: str = BUCKET) -> None:  # fmt: skip
        """Allocate chunk by chunk and put every blob."""
        for chunk in job["ObjectsList"]:
            path = f"/_rest_/job_chunk/{chunk['ChunkId']}"
            allocated = self.sdk.send("PUT", path, {"operation": "allocate"}).read(python_sdk.CHUNK)
            for blob in allocated["ObjectList"]:
                start = int(blob["Offset"])
                data = contents[blob["Name"]][start : start + int(blob["Length"])]
                self.put(blob["Name"], data, bucket=bucket, headers=metadata, job=job["JobId"], offset=start)

    def populate(self, names: list[str] | None = None, prefix: str = "", metadata: Mapping[str, object] | None = None,
                 bucket: str = BUCKET, *, create: bool = True) -> dict[str, bytes]:  # fmt: skip
        contents = {prefix + name: BOOKS[name] for name in names or RESOURCES}
        if create:
            self.make_bucket(bucket)
        self.fill(contents, self.start_put({n: len(d) for n, d in contents.items()}, bucket), metadata, bucket)
        return contents

    def listing(self, bucket: str = BUCKET, **parameters: object) -> Result:
        return self.sdk.send("GET", f"/{bucket}", parameters).read(python_sdk.LISTING)

    def keys(self, bucket: str = BUCKET) -> list[str]:
        return [entry["Key"] for entry in self.listing(bucket)["ContentsList"]]

    def clear(self, bucket: str = BUCKET) -> None:
        for key in self.keys(bucket):
            self.sdk.send("DELETE", f"/{bucket}/{key}", expected=(204,))
        self.sdk.send("DELETE", f"/{bucket}", expected=(204,))

    def create(self, resource: str, *elements: str, **parameters: object) -> Result:
        answer = self.sdk.send("POST", f"/_rest_/{resource}", parameters, expected=(201,))
        return answer.read(bean("Id", *elements))

    def remove(self, resource: str, name: str) -> None:
        self.sdk.send("DELETE", f"/_rest_/{resource}/{name}", expected=(204,))

    def make_member(self, domain: str, partition: str) -> dict[str, str]:
        made = {
            "storage_domain": self.create("storage_domain", "Name", name=domain)["Id"],
            "pool_partition": self.create("pool_partition", "Name", name=partition, type="ONLINE")["Id"],
        }
        member = self.create("storage_domain_member", pool_partition_id=partition, storage_domain_id=domain)["Id"]
        return {"storage_domain_member": member, **made}

    def make_rule(self, policy: str, domain: str, isolation: str = "STANDARD", kind: str = "PERMANENT") -> str:
        rule = self.create(
            "data_persistence_rule", data_policy_id=policy, isolation_level=isolation, storage_domain_id=domain,
            type=kind
        )  # fmt: skip
        return str(rule["Id"])


@pytest.fixture(scope="module")
def sdk(appliance: Appliance) -> PythonSdk:
    return PythonSdk(appliance.endpoint, appliance.access_key, appliance.secret_key)


@pytest.fixture
def suite(sdk: PythonSdk) -> Iterator[Suite]:
    """What setUp makes and tearDown takes away, as the suite does it."""
    bare = Suite(sdk, "")
    made = bare.make_member("PythonTestEnvDomain", "PythonTestEnvPoolPartition")
    policy = str(bare.create("data_policy", name="PythonTestEnvDataPolicy")["Id"])
    rule = bare.make_rule(policy, made["storage_domain"])
    yield Suite(sdk, policy)
    if sdk.send("HEAD", f"/{BUCKET}", expected=(200, 404)).status == 200:
        bare.clear()
    for resource, name in {"data_persistence_rule": rule, "data_policy": policy, **made}.items():
        bare.remove(resource, name)


def refused(call: Callable[[], object]) -> RequestFailedError:
    with pytest.raises(RequestFailedError) as caught:
        call()
    return caught.value


# Buckets.


def test_a_bucket_is_in_the_service_once_made(suite: Suite) -> None:
    """GET service names it after its POST and not before."""

    def names() -> set[str]:
        service = suite.sdk.send("GET", "/").read(python_sdk.SERVICE)
        assert service["Owner"]["ID"]
        return {entry["Name"] for entry in service["BucketList"]}

    assert BUCKET not in names()
    suite.make_bucket()
    assert BUCKET in names()


def test_a_bucket_without_a_name_is_400_and_a_second_one_409(suite: Suite) -> None:
    """PUT of the root is no bucket."""
    suite.make_bucket()
    assert refused(lambda: suite.sdk.send("PUT", "/")).http_error_code == 400
    assert refused(lambda: suite.sdk.send("PUT", f"/{BUCKET}")).http_error_code == 409


def test_an_empty_bucket_goes(suite: Suite) -> None:
    """It is in no service answer any more."""
    suite.make_bucket()
    suite.sdk.send("DELETE", f"/{BUCKET}", expected=(204,))
    service = suite.sdk.send("GET", "/").read(python_sdk.SERVICE)
    assert BUCKET not in [entry["Name"] for entry in service["BucketList"]]


def test_which_buckets_cannot_go(suite: Suite) -> None:
    """None without a name, none with objects, none that is not there."""
    suite.populate()
    for path, status in {"/": 400, f"/{BUCKET}": 409, "/not-here": 404}.items():
        assert refused(lambda path=path: suite.sdk.send("DELETE", path, expected=(204,))).http_error_code == status  # type: ignore[misc] # mypy does not infer a lambda's default


def test_an_empty_listing_has_nulls_for_what_was_not_asked(suite: Suite) -> None:
    """Marker, delimiter, prefix and next marker are empty elements, and 1000 is the page."""
    suite.make_bucket()
    listing = suite.listing()
    assert (listing["IsTruncated"], listing["MaxKeys"]) == ("false", "1000")
    assert [listing[name] for name in ("Marker", "Delimiter", "NextMarker", "Prefix")] == [None] * 4
    assert listing["CommonPrefixesList"] == listing["ContentsList"] == []


def test_a_listing_names_each_object_and_its_size(suite: Suite) -> None:
    """In the order of their names."""
    contents = suite.populate()
    listing = suite.listing()
    assert (listing["IsTruncated"], listing["NextMarker"], listing["CommonPrefixesList"]) == ("false", None, [])
    assert [(entry["Key"], entry["Size"]) for entry in listing["ContentsList"]] == [
        (name, str(len(data))) for name, data in contents.items()
    ]


def test_the_service_stands_where_a_bucket_without_a_name_is_listed(suite: Suite) -> None:
    """GET of the root has no contents to read, and is no failure."""
    listing = suite.sdk.send("GET", "/").read(python_sdk.LISTING)
    assert listing["ContentsList"] == []


def test_a_prefix_narrows_a_listing(suite: Suite) -> None:
    """Only the names that begin so."""
    suite.populate()
    assert [entry["Key"] for entry in suite.listing(prefix="beo")["ContentsList"]] == ["beowulf.txt"]


def test_objects_of_an_open_job_are_listed_page_by_page(suite: Suite) -> None:
    """Fifteen names in three pages; the last one has no next marker."""
    suite.make_bucket()
    suite.start_put({f"file{number}": 0 for number in range(15)})
    marker: dict[str, Any] = {}
    last: list[str] = []
    for truncated in ("true", "true", "false"):
        page = suite.listing(max_keys=5, **marker)
        assert (len(page["ContentsList"]), page["IsTruncated"]) == (5, truncated)
        last.append(page["ContentsList"][4]["Key"])
        marker = {"marker": page["NextMarker"]}
    assert last == ["file12", "file4", "file9"]
    assert marker == {"marker": None}


def test_a_delimiter_folds_what_is_below_it(suite: Suite) -> None:
    """Ten objects beside one common prefix."""
    suite.make_bucket()
    suite.start_put({f"{folder}file{number}": 0 for folder in ("dir/", "") for number in range(10)})
    listing = suite.listing(delimiter="/")
    assert len(listing["ContentsList"]) == 10
    assert listing["CommonPrefixesList"] == [{"Prefix": "dir/"}]


def test_a_bucket_is_there(suite: Suite) -> None:
    """HEAD is 200 without a body."""
    suite.make_bucket()
    assert suite.sdk.send("HEAD", f"/{BUCKET}", expected=(200, 403, 404)).status == 200


def test_which_buckets_are_not_there(suite: Suite) -> None:
    """An unknown one is 404; HEAD of the root 400, which the SDK takes for a failure."""
    assert suite.sdk.send("HEAD", "/not-here", expected=(200, 403, 404)).status == 404
    assert refused(lambda: suite.sdk.send("HEAD", "/", expected=(200, 403, 404))).http_error_code == 400


# Jobs.


def test_a_job_leaves_the_list_when_it_is_cancelled(suite: Suite) -> None:
    """At once, and its id was in it before."""
    suite.populate()
    job = suite.start_get(*suite.keys())["JobId"]

    def jobs() -> list[str]:
        return [entry["JobId"] for entry in suite.sdk.send("GET", "/_rest_/job").read(python_sdk.JOBS)["JobList"]]

    assert job in jobs()
    suite.sdk.send("DELETE", f"/_rest_/job/{job}", {"force": None}, expected=(204,))
    assert job not in jobs()


# Objects.


def test_an_object_of_a_job_is_got_without_one(suite: Suite) -> None:
    """All of its 294,059 bytes, while it waits for tape."""
    suite.populate(["beowulf.txt"])
    answer = suite.get("beowulf.txt")
    assert (answer.status, answer.body) == (200, BOOKS["beowulf.txt"])


def test_one_object_is_shown_by_its_name(suite: Suite) -> None:
    """With its type."""
    suite.populate(["beowulf.txt"])
    answer = suite.sdk.send("GET", "/_rest_/object/beowulf.txt", {"bucket_id": BUCKET})
    shown = answer.read(python_sdk.S3_OBJECT)
    assert (shown["Name"], shown["Type"]) == ("beowulf.txt", "DATA")


@pytest.mark.parametrize("data", [BOOKS["beowulf.txt"], BIG_BOOK], ids=["beowulf", "lesmis"])
def test_a_naked_object_is_put_and_got(suite: Suite, data: bytes) -> None:
    """Without a job either way."""
    suite.make_bucket()
    suite.put("book", data)
    answer = suite.get("book")
    assert (answer.status, answer.body) == (200, data)
    assert {value for name, value in answer.headers if name.lower() == "content-length"} == {str(len(data))}


def test_an_object_goes(suite: Suite) -> None:
    """It is listed no more, though its job has not come to its end."""
    suite.populate(["beowulf.txt"])
    suite.sdk.send("DELETE", f"/{BUCKET}/beowulf.txt", expected=(204,))
    assert suite.keys() == []


@pytest.mark.parametrize(
    ("path", "status"), [("//", 400), ("//badFile", 404), ("/not-here/", 404), ("/not-here/badFile", 404),
                         (f"/{BUCKET}/badFile", 404)]
)  # fmt: skip
def test_which_objects_cannot_go(suite: Suite, path: str, status: int) -> None:
    """Neither a bucket nor a name is 400, no bucket or no object 404."""
    suite.make_bucket()
    assert refused(lambda: suite.sdk.send("DELETE", path, expected=(204,))).http_error_code == status


def test_several_objects_go_in_one_request(suite: Suite) -> None:
    """A list of keys leaves none of them."""
    suite.populate()
    body = python_sdk.to_delete(*RESOURCES)
    answer = suite.sdk.send("POST", f"/{BUCKET}", {"delete": None}, body=body)
    model = python_sdk.Model(lists=(("Deleted", None, bean("Key")), ("Error", None, bean("Code", "Key"))))
    assert [entry["Key"] for entry in answer.read(model)["DeletedList"]] == RESOURCES
    assert suite.keys() == []


def test_an_empty_list_of_keys_deletes_nothing(suite: Suite) -> None:
    """It is 200 here; an appliance that refuses it has to say that a list is needed."""
    suite.make_bucket()
    answer = suite.sdk.send("POST", f"/{BUCKET}", {"delete": None}, body=python_sdk.to_delete())
    assert answer.read(listed("Deleted", bean("Key"))) == {"DeletedList": []}


def test_keys_that_are_not_there_are_errors_of_a_200(suite: Suite) -> None:
    """Unlike Amazon's."""
    suite.make_bucket()
    body = python_sdk.to_delete("not-here", "also-not-here")
    answer = suite.sdk.send("POST", f"/{BUCKET}", {"delete": None}, body=body)
    assert len(answer.read(listed("Error", bean("Code", "Key", "Message")))["ErrorList"]) == 2


def test_keys_of_no_bucket_are_404(suite: Suite) -> None:
    """The whole request fails."""
    body = python_sdk.to_delete("not-here")
    failure = refused(lambda: suite.sdk.send("POST", f"/{BUCKET}", {"delete": None}, body=body))
    assert failure.http_error_code == 404


@pytest.mark.parametrize("details", [False, True], ids=["media", "full details"])
def test_an_unknown_object_is_nowhere(suite: Suite, details: bool) -> None:
    """An empty answer with every wrapper, no failure."""
    suite.populate()
    parameters: dict[str, object] = {"operation": "get_physical_placement"}
    if details:
        parameters["full_details"] = None
    body = python_sdk.to_get("bogus.txt")
    answer = suite.sdk.send("PUT", f"/_rest_/bucket/{BUCKET}", parameters, body=body)
    model = python_sdk.BLOBS if details else python_sdk.PLACEMENT
    assert set(map(str, answer.read(model).values())) == {"[]"}


@pytest.mark.parametrize("details", [{}, {"full_details": None}], ids=["media", "full details"])
def test_a_placement_in_no_bucket_is_404(suite: Suite, details: Mapping[str, object]) -> None:
    """Whatever is asked of it."""
    parameters = {"operation": "get_physical_placement", **details}
    body = python_sdk.to_get("bogus.txt")
    failure = refused(lambda: suite.sdk.send("PUT", f"/_rest_/bucket/{BUCKET}", parameters, body=body))
    assert failure.http_error_code == 404


def test_a_folder_goes_with_all_in_it(suite: Suite) -> None:
    """By its name without a slash."""
    suite.populate(prefix="folder/")
    suite.sdk.send("DELETE", "/_rest_/folder/folder", {"bucket_id": BUCKET, "recursive": None}, expected=(204,))
    assert suite.keys() == []


@pytest.mark.parametrize(("bucket", "status"), [("", 500), ("fakeBucket", 404), (BUCKET, 404)])
def test_which_folders_cannot_go(suite: Suite, bucket: str, status: int) -> None:
    """An empty bucket id is 500, as the real one has it; no bucket and nothing below the folder are 404."""
    suite.make_bucket()
    parameters = {"bucket_id": bucket, "recursive": None}
    failure = refused(lambda: suite.sdk.send("DELETE", "/_rest_/folder/folder", parameters, expected=(204,)))
    assert failure.http_error_code == status


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, RESOURCES),
        ({"page_offset": 0}, RESOURCES),
        ({"name": "beowulf.txt"}, ["beowulf.txt"]),
        ({"type": "DATA"}, RESOURCES),
        ({"type": "FOLDER"}, []),
        ({"version": 1}, RESOURCES),
    ],
    ids=["all", "from the first", "one name", "data", "folders", "a parameter of older releases"],
)
def test_objects_are_listed_in_order_with_their_number(
    suite: Suite, parameters: Mapping[str, object], names: list[str]
) -> None:
    """Paging headers are there on every list, spelled in lower case."""
    suite.populate()
    answer = suite.sdk.send("GET", "/_rest_/object", {"bucket_id": BUCKET, **parameters})
    found = answer.read(python_sdk.S3_OBJECTS)["S3ObjectList"]
    assert [entry["Name"] for entry in found] == names
    assert {entry["Type"] for entry in found} <= {"DATA"}
    assert len({entry["BucketId"] for entry in found}) == min(1, len(names))
    assert (answer.number("page-truncated"), answer.number("total-result-count")) == (0, len(names))


def test_objects_come_in_two_halves(suite: Suite) -> None:
    """A page length and an offset make what one list would."""
    suite.populate()
    names: list[str] = []
    for start in ({}, {"page_offset": 2}):
        parameters = {"bucket_id": BUCKET, "page_length": 2, **start}
        page = suite.sdk.send("GET", "/_rest_/object", parameters).read(python_sdk.S3_OBJECTS)["S3ObjectList"]
        assert len(page) == 2
        names += [entry["Name"] for entry in page]
    assert names == RESOURCES


def test_full_details_have_an_entry_for_each_object(suite: Suite) -> None:
    """Void parameters with the value True, and blobs with their placement."""
    suite.populate()
    parameters = {"full_details": None, "bucket_id": BUCKET, "include_physical_placement": True}
    found = suite.sdk.send("GET", "/_rest_/object", parameters).read(python_sdk.DETAILED_OBJECTS)["ObjectList"]
    assert [entry["Name"] for entry in found] == RESOURCES
    assert {len(entry["Blobs"]["ObjectList"]) for entry in found} == {1}


def test_a_chunk_is_read_by_the_id_of_its_job(suite: Suite) -> None:
    """The suites of Python and Go ask for a chunk by the id of the job that it is the only one of."""
    suite.populate()
    job = suite.start_get(*suite.keys())
    for identifier in (job["JobId"], job["ObjectsList"][0]["ChunkId"]):
        chunk = suite.sdk.send("GET", f"/_rest_/job_chunk/{identifier}").read(python_sdk.CHUNK)
        assert chunk["ChunkId"] == job["ObjectsList"][0]["ChunkId"]
    assert len(chunk["ObjectList"]) == 4
    for blob in chunk["ObjectList"]:
        answer = suite.get(blob["Name"], job=job["JobId"], offset=int(blob["Offset"]))
        assert answer.body == BOOKS[blob["Name"]]


# Metadata.


METADATA: Mapping[str, object] = {"name1": ["value1"], "name2": "value2", "name3": "value3"}


def test_metadata_come_back_in_lists(suite: Suite) -> None:
    """HEAD has each of them in lower case, and nothing else under that prefix."""
    suite.populate(["beowulf.txt"], metadata=METADATA)
    answer = suite.sdk.send("HEAD", f"/{BUCKET}/beowulf.txt", expected=(200, 403, 404))
    assert answer.status == 200
    assert answer.metadata == {"name1": ["value1"], "name2": ["value2"], "name3": ["value3"]}
    assert answer.text("ds3-blob-checksum-type") == "MD5"
    digest = base64.b64encode(hashlib.md5(BOOKS["beowulf.txt"]).digest()).decode()
    assert answer.text("ds3-blob-checksum-offset-0") == digest


@pytest.mark.parametrize("path", ["/fakeBucket/", "/fakeBucket/badFile", f"/{BUCKET}/", f"/{BUCKET}/badFile", "//bad"])
def test_which_heads_are_no_failure(suite: Suite, path: str) -> None:
    """Whatever is missing in the path, HEAD of an object is 200, 403 or 404: any other status is one to the suite."""
    suite.make_bucket()
    answer = suite.sdk.send("HEAD", path, expected=(200, 403, 404))
    assert (answer.status == 200) == (path == f"/{BUCKET}/")


def test_metadata_come_back_with_the_data(suite: Suite) -> None:
    """As HEAD has them; the job has come to its end then."""
    suite.populate(["beowulf.txt"], metadata=METADATA)
    job = suite.start_get(*suite.keys())
    chunk = suite.sdk.send("GET", f"/_rest_/job_chunk/{job['JobId']}").read(python_sdk.CHUNK)
    for blob in chunk["ObjectList"]:
        answer = suite.get(blob["Name"], job=job["JobId"], offset=int(blob["Offset"]))
    assert answer.metadata == {"name1": ["value1"], "name2": ["value2"], "name3": ["value3"]}
    assert suite.sdk.send("GET", f"/_rest_/job/{job['JobId']}").read(python_sdk.MASTER)["Status"] == "COMPLETED"


# The system.


def test_the_system_tells_of_itself(suite: Suite) -> None:
    """Its version, serial number and health."""
    system = suite.sdk.send("GET", "/_rest_/system_information").read(bean("ApiVersion", "SerialNumber"))
    assert all(system.values())
    health = suite.sdk.send("GET", "/_rest_/system_health").read(bean("MsRequiredToVerifyDataPlannerHealth"))
    assert int(health["MsRequiredToVerifyDataPlannerHealth"]) >= 0


# Administration.


@pytest.mark.parametrize("resource", ["data_policy", "storage_domain", "pool_partition", "group"])
def test_a_record_is_made_shown_by_its_name_and_deleted(suite: Suite, resource: str) -> None:
    """201, 200, 204; after that the code is NotFound."""
    name = f"test_put_delete_{resource}"
    more = {"type": "ONLINE"} if resource == "pool_partition" else {}
    assert suite.create(resource, "Name", name=name, **more)["Name"] == name
    shown = suite.sdk.send("GET", f"/_rest_/{resource}/{name}").read(bean("Id", "Name"))
    assert shown["Name"] == name
    suite.remove(resource, name)
    failure = refused(lambda: suite.sdk.send("GET", f"/_rest_/{resource}/{name}"))
    assert (failure.code, failure.http_error_code) == ("NotFound", 404)


def test_a_pool_partition_is_a_member_of_a_storage_domain(suite: Suite) -> None:
    """The member names both by their ids, and is gone when it is deleted."""
    made = suite.make_member("member_domain", "member_pool")
    path = f"/_rest_/storage_domain_member/{made['storage_domain_member']}"
    shown = suite.sdk.send("GET", path).read(bean("PoolPartitionId", "StorageDomainId"))
    assert shown == {"PoolPartitionId": made["pool_partition"], "StorageDomainId": made["storage_domain"]}
    for resource, name in made.items():
        suite.remove(resource, name)
    assert refused(lambda: suite.sdk.send("GET", path)).code == "NotFound"


@pytest.fixture
def own_policy(suite: Suite, request: pytest.FixtureRequest) -> Iterator[str]:
    """A data policy with a member and a rule of its own, all deleted after the test; its parameter is a versioning."""
    made = suite.make_member("own_domain", "own_pool")
    versioning = {"versioning": request.param} if getattr(request, "param", None) else {}
    policy = suite.create("data_policy", name="own_policy", **versioning)["Id"]
    rule = suite.make_rule(policy, made["storage_domain"])
    yield policy
    suite.remove("data_persistence_rule", rule)
    suite.remove("data_policy", "own_policy")
    for resource, name in made.items():
        suite.remove(resource, name)


def test_a_bucket_under_a_policy_of_its_own(suite: Suite, own_policy: str) -> None:
    """Named by the policy's name, shown with its id."""
    bucket = "put_bucket_with_data_policy_bucket"
    made = suite.make_bucket(bucket, "own_policy")
    assert (made["Name"], made["DataPolicyId"]) == (bucket, own_policy)
    suite.remove("bucket", bucket)


@pytest.mark.parametrize("own_policy", ["KEEP_LATEST"], indirect=True)
def test_a_name_twice_with_the_latest_kept(suite: Suite, own_policy: str) -> None:
    """The second put of the same objects leaves as many."""
    suite.make_bucket("twice", own_policy)
    for _ in range(2):
        suite.populate(bucket="twice", create=False)
        assert suite.keys("twice") == RESOURCES
    suite.clear("twice")


@pytest.mark.parametrize("own_policy", ["NONE"], indirect=True)
def test_a_name_twice_without_versions_is_refused(suite: Suite, own_policy: str) -> None:
    """409, under the code that the suite looks for."""
    suite.make_bucket("twice", own_policy)
    suite.populate(bucket="twice", create=False)
    failure = refused(lambda: suite.populate(bucket="twice", create=False))
    assert (failure.http_error_code, failure.code) == (409, "OBJECT_ALREADY_EXISTS")
    suite.clear("twice")


@pytest.mark.parametrize("name", ["beowulf with spaces.txt", "object!@#$%^&*_-+=with()[]{}symbols"])
def test_odd_names_are_put_shown_and_got(suite: Suite, name: str) -> None:
    """Every character but the slash is escaped."""
    suite.make_bucket()
    suite.put(name, BOOKS["ulysses.txt"])
    shown = suite.sdk.send("GET", f"/_rest_/object/{name}", {"bucket_id": BUCKET}).read(python_sdk.S3_OBJECT)
    assert shown["Name"] == name
    assert suite.get(name).body == BOOKS["ulysses.txt"]


def test_a_marker_comes_back_as_it_was_asked(suite: Suite) -> None:
    """Symbols and two blanks in a query survive."""
    name = "object!@#$%^&*_-+=with()[]{}  symbols"
    suite.make_bucket()
    suite.put(name, BOOKS["ulysses.txt"])
    assert suite.listing(marker=name)["Marker"] == name
    assert suite.get(name).body == BOOKS["ulysses.txt"]


def test_a_group_may_use_a_data_policy(suite: Suite) -> None:
    """An entry for a group and a policy, both by name, is listed and deleted."""
    suite.create("group", "Name", name="policy_group")
    policy = suite.create("data_policy", "Name", name="group_policy")
    entry = suite.create("data_policy_acl", data_policy_id="group_policy", group_id="policy_group")
    parameters = {"data_policy_id": "group_policy", "group_id": "policy_group"}
    answer = suite.sdk.send("GET", "/_rest_/data_policy_acl", parameters)
    found = answer.read(listed("DataPolicyAcl", bean("DataPolicyId", "Id")))["DataPolicyAclList"]
    assert found == [{"DataPolicyId": policy["Id"], "Id": entry["Id"]}]
    suite.remove("data_policy_acl", found[0]["Id"])
    suite.remove("group", "policy_group")
    suite.remove("data_policy", "group_policy")


def test_a_group_is_a_member_of_a_group(suite: Suite) -> None:
    """The member names both, and deleting it leaves both."""
    parent, child = (suite.create("group", "Name", name=name)["Id"] for name in ("parent_group", "child_group"))
    member = suite.create("group_member", "GroupId", "MemberGroupId", group_id=parent, member_group_id=child)
    assert (member["GroupId"], member["MemberGroupId"]) == (parent, child)
    suite.remove("group_member", member["Id"])
    answer = suite.sdk.send("GET", "/_rest_/group_member", {"group_id": parent})
    assert answer.read(listed("GroupMember", bean("Id"))) == {"GroupMemberList": []}
    suite.remove("group", "child_group")
    suite.remove("group", "parent_group")


def test_a_group_may_read_a_bucket(suite: Suite) -> None:
    """An entry for a bucket and a group, both by name, is listed until it is deleted."""
    suite.make_bucket()
    suite.create("group", "Name", name="bucket_group")
    entry = suite.create("bucket_acl", bucket_id=BUCKET, group_id="bucket_group", permission="READ")

    def entries() -> list[Result]:
        answer = suite.sdk.send("GET", "/_rest_/bucket_acl", {"bucket_id": BUCKET, "group_id": "bucket_group"})
        found = answer.read(listed("BucketAcl", bean("Id", "Permission")))["BucketAclList"]
        assert isinstance(found, list)
        return found

    assert entries() == [{"Id": entry["Id"], "Permission": "READ"}]
    suite.remove("bucket_acl", entry["Id"])
    assert entries() == []
    suite.remove("group", "bucket_group")


# Notifications.


KINDS = ("object_cached", "job_completed", "job_created", "object_lost", "tape_partition_failure", "tape_failure")


@pytest.mark.parametrize("kind", KINDS)
def test_a_registration_is_made_shown_and_deleted(suite: Suite, kind: str) -> None:
    """Its end point is not looked at: it need be no URL."""
    resource = f"{kind}_notification_registration"
    made = suite.create(resource, notification_end_point="192.168.56.101/other")
    shown = suite.sdk.send("GET", f"/_rest_/{resource}/{made['Id']}").read(bean("Id", "NotificationEndPoint"))
    assert shown == {"Id": made["Id"], "NotificationEndPoint": "192.168.56.101/other"}
    suite.remove(resource, made["Id"])


def test_a_registration_for_one_job_outlives_its_transfer(suite: Suite) -> None:
    """It is shown with the job's id when all blobs are sent."""
    suite.make_bucket()
    job = suite.start_put({name: len(data) for name, data in BOOKS.items()})
    resource = "object_persisted_notification_registration"
    made = suite.create(resource, notification_end_point="192.168.56.101/other", job_id=job["JobId"])
    suite.fill(BOOKS, job)
    shown = suite.sdk.send("GET", f"/_rest_/{resource}/{made['Id']}").read(bean("JobId"))
    assert shown["JobId"] == job["JobId"]
    suite.remove(resource, made["Id"])
