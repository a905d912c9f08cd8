"""One set of calls, made by our client, by the vendor's Python SDK, and by what we know that SDK to send.

Each side says what an appliance answers in the same plain facts, so that they can be compared.
"""

from __future__ import annotations

import importlib
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from ds3tool.client import Ds3Client
from ds3tool.errors import ApplianceError, NotFoundError
from ds3tool.protocol.model import ObjectToGet, ObjectToPut
from ds3tool.transport.bodies import BytesBody
from tests.foreign import python_sdk
from tests.foreign.python_sdk import PythonSdk, RequestFailedError, Result, Stream

DISTRIBUTION = "ds3-sdk"


@dataclass(frozen=True)
class Listing:
    """One listing, page after page: keys with sizes and bare ETags, prefixes, and how many pages it took."""

    objects: list[tuple[str, int, str]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    pages: int = 0


@dataclass(frozen=True)
class Head:
    """What HEAD says of an object: metadata, kind of checksum, digest by offset."""

    metadata: dict[str, str]
    checksum_type: str
    checksums: dict[int, str]


@dataclass(frozen=True)
class JobFacts:
    """What GET job says."""

    type: str
    status: str
    name: str
    bucket: str
    bytes: tuple[int, int, int]


class Side(ABC):
    """Everyday calls, and facts for answers."""

    @abstractmethod
    def buckets(self) -> tuple[str, set[str]]:
        """Return the caller's name, and the buckets."""

    @abstractmethod
    def make_bucket(self, name: str) -> None: ...

    @abstractmethod
    def listing(self, bucket: str, page: int, prefix: str = "", delimiter: str = "") -> Listing: ...

    @abstractmethod
    def head(self, bucket: str, key: str) -> Head | None:
        """Return what is known of an object; None when it is not there."""

    @abstractmethod
    def put(self, bucket: str, contents: Mapping[str, bytes], name: str, tags: Mapping[str, str]) -> str:
        """Put objects through a job of that name; return its id."""

    @abstractmethod
    def get(self, bucket: str, keys: list[str], name: str) -> tuple[str, dict[str, bytes]]:
        """Get objects through a job; return its id and their bytes."""

    @abstractmethod
    def job(self, identifier: str) -> JobFacts: ...

    @abstractmethod
    def placement(self, bucket: str, keys: list[str]) -> set[tuple[str, int, int, str]]:
        """Return key, offset, length and bar code of each copy on tape."""

    @abstractmethod
    def delete_folder(self, bucket: str, folder: str) -> None: ...

    @abstractmethod
    def delete(self, bucket: str, key: str) -> None: ...

    @abstractmethod
    def failure(self, call: Callable[[Side], object]) -> tuple[int, str]:
        """Return status and code of a call that the appliance refuses."""


class Ours(Side):
    """ds3tool's client."""

    def __init__(self, client: Ds3Client) -> None:
        self._client = client

    def buckets(self) -> tuple[str, set[str]]:
        service = self._client.get_service()
        assert service.owner is not None
        return service.owner.display_name, {each.name for each in service.buckets}

    def make_bucket(self, name: str) -> None:
        self._client.create_bucket(name)

    def listing(self, bucket: str, page: int, prefix: str = "", delimiter: str = "") -> Listing:
        pages = list(self._client.listing_pages(bucket, prefix=prefix, delimiter=delimiter, page_size=page))
        return Listing(
            [(each.key, each.size, (each.etag or "").strip('"')) for one in pages for each in one.objects],
            [prefix for one in pages for prefix in one.prefixes],
            len(pages),
        )

    def head(self, bucket: str, key: str) -> Head | None:
        try:
            head = self._client.head_object(bucket, key)
        except NotFoundError:
            return None
        assert head.checksum_type is not None
        return Head(dict(head.metadata), head.checksum_type.value, dict(head.checksums))

    def put(self, bucket: str, contents: Mapping[str, bytes], name: str, tags: Mapping[str, str]) -> str:
        objects = [ObjectToPut(key, len(data)) for key, data in contents.items()]
        job = self._client.create_put_job(bucket, objects, name=name).job.id
        for chunk in self._client.get_ready_chunks(job).chunks:
            for blob in chunk.blobs:
                data = contents[blob.key][blob.offset : blob.offset + blob.length]
                self._client.put_object(
                    bucket, blob.key, BytesBody(data), job_id=job, offset=blob.offset, metadata=tags
                )
        return job

    def get(self, bucket: str, keys: list[str], name: str) -> tuple[str, dict[str, bytes]]:
        job = self._client.create_get_job(bucket, [ObjectToGet(key) for key in keys], name=name).job.id
        got: dict[str, bytes] = {}
        for chunk in self._client.get_ready_chunks(job).chunks:
            for blob in chunk.blobs:
                got[blob.key] = self._client.get_object(
                    bucket, blob.key, lambda reply: b"".join(reply.body), job_id=job, offset=blob.offset
                )
        return job, got

    def job(self, identifier: str) -> JobFacts:
        job = self._client.get_job(identifier).job
        sizes = (job.original_bytes, job.cached_bytes, job.completed_bytes)
        return JobFacts(job.type.value, job.status.value, job.name or "", job.bucket or "", sizes)

    def placement(self, bucket: str, keys: list[str]) -> set[tuple[str, int, int, str]]:
        found = self._client.get_blob_placement(bucket, [ObjectToGet(key) for key in keys])
        return {
            (each.blob.key, each.blob.offset, each.blob.length, tape.bar_code)
            for each in found
            for tape in each.placement.tapes
        }

    def delete_folder(self, bucket: str, folder: str) -> None:
        self._client.delete_folder(bucket, folder)

    def delete(self, bucket: str, key: str) -> None:
        self._client.delete_object(bucket, key)

    def failure(self, call: Callable[[Side], object]) -> tuple[int, str]:
        try:
            call(self)
        except ApplianceError as error:
            return error.status, error.code
        raise AssertionError("the appliance did not refuse it")


class Dictionaries(Side):
    """What both the SDK and its likeness make facts of: the dictionaries that the SDK reads answers into."""

    def buckets(self) -> tuple[str, set[str]]:
        service = self.service()
        return service["Owner"]["DisplayName"], {each["Name"] for each in service["BucketList"]}

    def listing(self, bucket: str, page: int, prefix: str = "", delimiter: str = "") -> Listing:
        objects: list[tuple[str, int, str]] = []
        prefixes: list[str] = []
        parameters: dict[str, Any] = {"max_keys": page}
        parameters.update({"prefix": prefix} if prefix else {}, **({"delimiter": delimiter} if delimiter else {}))
        for pages in range(1, 1000):
            result = self.contents(bucket, parameters)
            objects += [(each["Key"], int(each["Size"]), each["ETag"].strip('"')) for each in result["ContentsList"]]
            prefixes += [each["Prefix"] for each in result["CommonPrefixesList"]]
            if result["IsTruncated"] == "false":
                return Listing(objects, prefixes, pages)
            parameters["marker"] = result["NextMarker"]
        raise AssertionError("the listing does not end")

    def put(self, bucket: str, contents: Mapping[str, bytes], name: str, tags: Mapping[str, str]) -> str:
        master = self.start_put(bucket, {key: len(data) for key, data in contents.items()}, name)
        for chunk in self.ready(master["JobId"])["ObjectsList"]:
            for blob in chunk["ObjectList"]:
                start = int(blob["Offset"])
                data = contents[blob["Name"]][start : start + int(blob["Length"])]
                self.put_blob(bucket, blob["Name"], data, master["JobId"], start, tags)
        return str(master["JobId"])

    def get(self, bucket: str, keys: list[str], name: str) -> tuple[str, dict[str, bytes]]:
        master = self.start_get(bucket, keys, name)
        got = {
            blob["Name"]: self.get_blob(bucket, blob["Name"], master["JobId"], int(blob["Offset"]))
            for chunk in self.ready(master["JobId"])["ObjectsList"]
            for blob in chunk["ObjectList"]
        }
        return str(master["JobId"]), got

    def job(self, identifier: str) -> JobFacts:
        job = self.job_shown(identifier)
        sizes = tuple(int(job[f"{which}SizeInBytes"]) for which in ("Original", "Cached", "Completed"))
        original, cached, completed = sizes
        facts = (job["RequestType"], job["Status"], job["Name"], job["BucketName"])
        return JobFacts(*facts, (original, cached, completed))

    def placement(self, bucket: str, keys: list[str]) -> set[tuple[str, int, int, str]]:
        return {
            (blob["Name"], int(blob["Offset"]), int(blob["Length"]), tape["BarCode"])
            for blob in self.placed(bucket, keys)["ObjectList"]
            for tape in blob["PhysicalPlacement"]["TapeList"]
        }

    # What the two send.

    @abstractmethod
    def service(self) -> Result: ...

    @abstractmethod
    def contents(self, bucket: str, parameters: Mapping[str, Any]) -> Result: ...

    @abstractmethod
    def start_put(self, bucket: str, sizes: Mapping[str, int], name: str) -> Result: ...

    @abstractmethod
    def start_get(self, bucket: str, keys: list[str], name: str) -> Result: ...

    @abstractmethod
    def ready(self, job: str) -> Result: ...

    @abstractmethod
    def put_blob(self, bucket: str, key: str, data: bytes, job: str, offset: int, tags: Mapping[str, str]) -> None: ...

    @abstractmethod
    def get_blob(self, bucket: str, key: str, job: str, offset: int) -> bytes: ...

    @abstractmethod
    def job_shown(self, identifier: str) -> Result: ...

    @abstractmethod
    def placed(self, bucket: str, keys: list[str]) -> Result: ...


class Likeness(Dictionaries):
    """The requests that the SDK is known to send."""

    def __init__(self, sdk: PythonSdk) -> None:
        self._sdk = sdk

    def service(self) -> Result:
        return self._sdk.send("GET", "/").read(python_sdk.SERVICE)

    def make_bucket(self, name: str) -> None:
        self._sdk.send("PUT", f"/{name}")

    def contents(self, bucket: str, parameters: Mapping[str, Any]) -> Result:
        return self._sdk.send("GET", f"/{bucket}", dict(sorted(parameters.items()))).read(python_sdk.LISTING)

    def head(self, bucket: str, key: str) -> Head | None:
        answer = self._sdk.send("HEAD", f"/{bucket}/{key}", expected=(200, 403, 404))
        prefix = "ds3-blob-checksum-offset-"
        checksums = {int(name.removeprefix(prefix)): v for name, v in answer.headers if name.startswith(prefix)}
        tags = {name: values[0] for name, values in answer.metadata.items()}
        return Head(tags, answer.text("ds3-blob-checksum-type") or "", checksums) if answer.status == 200 else None

    def start_put(self, bucket: str, sizes: Mapping[str, int], name: str) -> Result:
        return self._bulk("start_bulk_put", bucket, python_sdk.to_put(sizes), name)

    def start_get(self, bucket: str, keys: list[str], name: str) -> Result:
        return self._bulk("start_bulk_get", bucket, python_sdk.to_get(*keys), name)

    def _bulk(self, operation: str, bucket: str, body: bytes, name: str) -> Result:
        parameters = {"operation": operation, "name": name}
        answer = self._sdk.send("PUT", f"/_rest_/bucket/{bucket}", parameters, body=body)
        return answer.read(python_sdk.MASTER)

    def ready(self, job: str) -> Result:
        return self._sdk.send("GET", "/_rest_/job_chunk", {"job": job}).read(python_sdk.MASTER)

    def put_blob(self, bucket: str, key: str, data: bytes, job: str, offset: int, tags: Mapping[str, str]) -> None:
        headers: dict[str, object] = {**tags, "Content-Length": len(data)}
        parameters = {"job": job, "offset": offset}
        self._sdk.send("PUT", f"/{bucket}/{key}", parameters, body=Stream(data), headers=headers)

    def get_blob(self, bucket: str, key: str, job: str, offset: int) -> bytes:
        parameters = {"job": job, "offset": offset}
        return self._sdk.send("GET", f"/{bucket}/{key}", parameters, expected=(200, 206)).body

    def job_shown(self, identifier: str) -> Result:
        return self._sdk.send("GET", f"/_rest_/job/{identifier}").read(python_sdk.MASTER)

    def placed(self, bucket: str, keys: list[str]) -> Result:
        parameters = {"operation": "get_physical_placement", "full_details": None}
        body = python_sdk.to_get(*keys)
        return self._sdk.send("PUT", f"/_rest_/bucket/{bucket}", parameters, body=body).read(python_sdk.BLOBS)

    def delete_folder(self, bucket: str, folder: str) -> None:
        parameters = {"bucket_id": bucket, "recursive": None}
        self._sdk.send("DELETE", f"/_rest_/folder/{folder}", parameters, expected=(204,))

    def delete(self, bucket: str, key: str) -> None:
        self._sdk.send("DELETE", f"/{bucket}/{key}", expected=(204,))

    def failure(self, call: Callable[[Side], object]) -> tuple[int, str]:
        try:
            call(self)
        except RequestFailedError as error:
            return error.http_error_code, error.code
        raise AssertionError("the appliance did not refuse it")


class _Kept(io.BytesIO):
    """A stream that the SDK may close, once or twice: what was written stays."""

    kept = b""

    def close(self) -> None:
        if not self.closed:
            self.kept = self.getvalue()
        super().close()


def installed() -> bool:
    """Tell whether the vendor's distribution is here; an import of that name alone could be anybody's."""
    try:
        metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return False
    return True


class Vendor(Dictionaries):
    """The SDK itself, over a client object of its own."""

    def __init__(self, client: Any, ds3: Any) -> None:  # noqa: ANN401 - the SDK has no types
        self._client, self._ds3 = client, ds3

    @staticmethod
    def module() -> Any:  # noqa: ANN401 - the SDK has no types
        """Return the SDK's module; its source compares texts with `is`, of which Python warns."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("ds3.ds3")

    def service(self) -> Result:
        result: Result = self._client.get_service(self._ds3.GetServiceRequest()).result
        return result

    def make_bucket(self, name: str) -> None:
        self._client.put_bucket(self._ds3.PutBucketRequest(name))

    def contents(self, bucket: str, parameters: Mapping[str, Any]) -> Result:
        result: Result = self._client.get_bucket(self._ds3.GetBucketRequest(bucket, **parameters)).result
        return result

    def head(self, bucket: str, key: str) -> Head | None:
        answer = self._client.head_object(self._ds3.HeadObjectRequest(bucket, key))
        if answer.result != "EXISTS":
            return None
        tags = {name: values[0] for name, values in (answer.meta_data or {}).items()}
        return Head(tags, answer.blob_checksum_type, answer.blob_checksums)

    def start_put(self, bucket: str, sizes: Mapping[str, int], name: str) -> Result:
        objects = [self._ds3.Ds3PutObject(key, size) for key, size in sizes.items()]
        request = self._ds3.PutBulkJobSpectraS3Request(bucket, objects, name=name)
        result: Result = self._client.put_bulk_job_spectra_s3(request).result
        return result

    def start_get(self, bucket: str, keys: list[str], name: str) -> Result:
        objects = [self._ds3.Ds3GetObject(key) for key in keys]
        request = self._ds3.GetBulkJobSpectraS3Request(bucket, objects, name=name)
        result: Result = self._client.get_bulk_job_spectra_s3(request).result
        return result

    def ready(self, job: str) -> Result:
        request = self._ds3.GetJobChunksReadyForClientProcessingSpectraS3Request(job)
        result: Result = self._client.get_job_chunks_ready_for_client_processing_spectra_s3(request).result
        return result

    def put_blob(self, bucket: str, key: str, data: bytes, job: str, offset: int, tags: Mapping[str, str]) -> None:
        stream = io.BytesIO(data)
        request = self._ds3.PutObjectRequest(bucket, key, len(data), stream, headers=dict(tags), job=job, offset=offset)
        self._client.put_object(request)

    def get_blob(self, bucket: str, key: str, job: str, offset: int) -> bytes:
        stream = _Kept()
        self._client.get_object(self._ds3.GetObjectRequest(bucket, key, stream, job=job, offset=offset))
        stream.close()
        return stream.kept

    def job_shown(self, identifier: str) -> Result:
        result: Result = self._client.get_job_spectra_s3(self._ds3.GetJobSpectraS3Request(identifier)).result
        return result

    def placed(self, bucket: str, keys: list[str]) -> Result:
        objects = [self._ds3.Ds3GetObject(key) for key in keys]
        request = self._ds3.GetPhysicalPlacementForObjectsWithFullDetailsSpectraS3Request(bucket, objects)
        answer = self._client.get_physical_placement_for_objects_with_full_details_spectra_s3(request)
        result: Result = answer.result
        return result

    def delete_folder(self, bucket: str, folder: str) -> None:
        request = self._ds3.DeleteFolderRecursivelySpectraS3Request(bucket, folder)
        self._client.delete_folder_recursively_spectra_s3(request)

    def delete(self, bucket: str, key: str) -> None:
        self._client.delete_object(self._ds3.DeleteObjectRequest(bucket, key))

    def failure(self, call: Callable[[Side], object]) -> tuple[int, str]:
        try:
            call(self)
        except self._ds3.RequestFailed as error:
            return error.http_error_code, error.code
        raise AssertionError("the appliance did not refuse it")


__all__ = ["Side", "Ours", "Likeness", "Vendor", "Listing", "Head", "JobFacts", "installed"]
