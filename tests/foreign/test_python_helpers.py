"""The cases of the suite for the helpers of the vendor's Python SDK: files put and got through jobs, five at a time.

The helper keeps a set of the blobs of the first list, polls `job_chunk` until it has sent each of them, and takes no
notice of InCache or Retry-After: it sleeps a fixed minute when a list is empty. So here an empty list is a failure.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from ds3tool.simulator import Appliance
from tests.foreign import python_sdk
from tests.foreign.python_sdk import PythonSdk, Result, Stream, bean, listed

FILES = {f"file-{number}.txt": f"I am file number {number}".encode() for number in range(10)}
TREE = {
    f"{folder}{name}": data
    for folder in ("", "dir-0/", "dir-0/sub-dir-0/", "dir-0/sub-dir-1/", "dir-1/", "dir-1/sub-dir-0/")
    for name, data in {"": b"", "empty-dir/": b"", **dict(list(FILES.items())[:3])}.items()
    if folder + name
}


def crc_32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


CHECKSUMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "MD5": ("Content-MD5", lambda data: hashlib.md5(data).digest()),
    "CRC_32": ("Content-CRC32", crc_32),
    "SHA_256": ("Content-SHA256", lambda data: hashlib.sha256(data).digest()),
    "SHA_512": ("Content-SHA512", lambda data: hashlib.sha512(data).digest()),
}
Move = Callable[[str, str, int, int], None]


@dataclass(frozen=True)
class Helper:
    """Jobs over one bucket, as the SDK's helper runs them."""

    sdk: PythonSdk
    bucket: str

    def run(self, operation: str, body: bytes, name: str | None, move: Move) -> str:
        """Start a job and move each of its blobs with `move(job, name, offset, length)`; return the job's id."""
        parameters = {"operation": operation, **({"name": name} if name else {})}
        answer = self.sdk.send("PUT", f"/_rest_/bucket/{self.bucket}", parameters, body=body)
        master = answer.read(python_sdk.MASTER)
        job = str(master["JobId"])
        left = {blob for chunk in master["ObjectsList"] for blob in _blobs(chunk)}
        while left:
            answer = self.sdk.send("GET", "/_rest_/job_chunk", {"job": job})
            chunks = answer.read(python_sdk.MASTER)["ObjectsList"]
            assert chunks, "the helper would sleep for a minute now"
            found = {blob for chunk in chunks for blob in _blobs(chunk)} & left
            assert found, "the helper would ask again at once, for ever"
            left -= found
            with ThreadPoolExecutor(max_workers=5) as threads:
                list(threads.map(lambda blob: move(job, *blob), found))
        return job

    def put(self, contents: Mapping[str, bytes], name: str | None = None) -> str:
        kind = self.checksum_type()

        def move(job: str, key: str, offset: int, length: int) -> None:
            data = contents[key][offset : offset + length]
            headers: dict[str, object] = {}
            if kind is not None:
                header, digest = CHECKSUMS[kind]
                headers[header] = base64.b64encode(digest(data)).decode()
            headers["Content-Length"] = length
            parameters = {"job": job, "offset": offset}
            self.sdk.send("PUT", f"/{self.bucket}/{key}", parameters, body=Stream(data), headers=headers)

        sizes = {key: len(data) for key, data in contents.items()}
        return self.run("start_bulk_put", python_sdk.to_put(sizes), name, move)

    def checksum_type(self) -> str | None:
        """Return the type that a bucket's policy demands; None when it demands none."""
        bucket = self.sdk.send("GET", f"/_rest_/bucket/{self.bucket}").read(bean("DataPolicyId"))
        path = f"/_rest_/data_policy/{bucket['DataPolicyId']}"
        policy = self.sdk.send("GET", path).read(bean("ChecksumType", "EndToEndCrcRequired"))
        return str(policy["ChecksumType"]) if policy["EndToEndCrcRequired"] == "true" else None

    def get(self, keys: list[str], name: str | None = None) -> tuple[str, dict[str, bytes]]:
        got: dict[str, bytes] = {}

        def move(job: str, key: str, offset: int, length: int) -> None:
            answer = self.sdk.send("GET", f"/{self.bucket}/{key}", {"job": job, "offset": offset}, expected=(200, 206))
            assert len(answer.body) == length
            got[key] = answer.body

        return self.run("start_bulk_get", python_sdk.to_get(*keys), name, move), got

    def pages(self, size: int) -> list[list[str]]:
        """Return the keys of the bucket, page by page: with the void `versions`, whose False means yes."""
        pages: list[list[str]] = []
        marker: object = ""
        truncated = "true"
        while truncated == "true":
            parameters = {"marker": marker, "max_keys": size, "versions": False}
            listing = self.sdk.send("GET", f"/{self.bucket}", parameters).read(python_sdk.LISTING)
            entries = listing["ContentsList"] + listing["VersionList"]
            pages.append([entry["Key"] for entry in entries if entry["IsLatest"].lower() == "true"])
            truncated, marker = listing["IsTruncated"], listing["NextMarker"]
        return pages

    def is_there(self, key: str) -> bool:
        return self.sdk.send("HEAD", f"/{self.bucket}/{key}", expected=(200, 403, 404)).status == 200

    def job_name(self, job: str) -> str:
        return str(self.sdk.send("GET", f"/_rest_/job/{job}").read(python_sdk.MASTER)["Name"])

    def remove(self) -> None:
        self.sdk.send("DELETE", f"/_rest_/bucket/{self.bucket}", {"force": True}, expected=(204,))


def _blobs(chunk: Result) -> list[tuple[str, int, int]]:
    return [(blob["Name"], int(blob["Offset"]), int(blob["Length"])) for blob in chunk["ObjectList"]]


@pytest.fixture
def helper(appliance: Appliance, bucket_name: str) -> Helper:
    return Helper(PythonSdk(appliance.endpoint, appliance.access_key, appliance.secret_key), bucket_name)


def test_files_come_back_through_named_jobs(helper: Helper) -> None:
    """Ten files; both jobs show their name when they are done."""
    helper.sdk.send("POST", "/_rest_/bucket", {"name": helper.bucket}, expected=(201,))
    put = helper.put(FILES, "python test job")
    assert not helper.is_there("does-not-exist")
    assert all(helper.is_there(key) for key in FILES)
    assert helper.job_name(put) == "python test job"
    got, contents = helper.get(list(FILES), "python test job")
    assert contents == FILES
    assert helper.job_name(got) == "python test job"
    helper.remove()
    assert helper.sdk.send("HEAD", f"/{helper.bucket}", expected=(200, 403, 404)).status == 404


def test_a_tree_of_files_and_empty_folders_comes_back(helper: Helper) -> None:
    """Ten objects a job, folders among them; listed ten a page, by several jobs."""
    helper.sdk.send("PUT", f"/{helper.bucket}")
    names = list(TREE)
    for start in range(0, len(names), 10):
        helper.put({name: TREE[name] for name in names[start : start + 10]})
    assert all(helper.is_there(key) for key in TREE)
    pages = helper.pages(10)
    assert len(pages) == -(-len(TREE) // 10)
    assert sorted(TREE, key=str.encode) == [key for page in pages for key in page]
    got: dict[str, bytes] = {}
    for page in pages:
        got.update(helper.get([key for key in page if not key.endswith("/")])[1])
    assert got == {name: data for name, data in TREE.items() if not name.endswith("/")}
    helper.remove()


@pytest.mark.parametrize("kind", sorted(CHECKSUMS))
def test_a_policy_that_demands_checksums_gets_them(helper: Helper, kind: str) -> None:
    """Of each kind that the helper can compute, of empty folders too; words of enumerations in lower case."""
    sdk = helper.sdk
    parameters = {"name": f"sdk-test-{kind}", "checksum_type": kind, "end_to_end_crc_required": True}
    policy = sdk.send("POST", "/_rest_/data_policy", parameters, expected=(201,)).read(bean("Id"))["Id"]
    domains = sdk.send("GET", "/_rest_/storage_domain").read(listed("StorageDomain", bean("Id")))["StorageDomainList"]
    parameters = {
        "data_policy_id": policy,
        "isolation_level": "standard",
        "storage_domain_id": domains[0]["Id"],
        "type": "permanent",
    }
    rule = sdk.send("POST", "/_rest_/data_persistence_rule", parameters, expected=(201,)).read(bean("Id"))["Id"]
    sdk.send("POST", "/_rest_/bucket", {"name": helper.bucket, "data_policy_id": policy}, expected=(201,))
    contents = {"empty-dir/": b"", **FILES}
    helper.put(contents)
    assert all(helper.is_there(key) for key in contents)
    helper.remove()
    sdk.send("DELETE", f"/_rest_/data_persistence_rule/{rule}", expected=(204,))
    sdk.send("DELETE", f"/_rest_/data_policy/{policy}", expected=(204,))
