"""The client: one typed method per call of the appliance. Each builds a request, sends it, parses the reply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from ds3tool.errors import BusyError, ConfigError, NotFoundError, ProtocolError, RetryLaterError
from ds3tool.protocol import names, requests, responses, tape_requests
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.model import (
    AllocatedChunk,
    BucketDetails,
    CacheFilesystem,
    ChecksumType,
    Chunk,
    DataPolicy,
    DeleteResult,
    Job,
    JobDetails,
    JobRecord,
    ListedObject,
    ListingPage,
    ObjectHead,
    ObjectRecord,
    ObjectToGet,
    ObjectToPut,
    PersistenceRule,
    PlacedBlob,
    Placement,
    Priority,
    ProcessingOrder,
    PutResult,
    ReadyChunks,
    Service,
    SystemHealth,
    SystemInformation,
    Tape,
    TapeFailure,
    TapeState,
    Versioning,
)
from ds3tool.protocol.ranges import ByteRange
from ds3tool.protocol.responses import Page
from ds3tool.transport.settings import ConnectionSettings

if TYPE_CHECKING:
    from ds3tool.transport.bodies import OutgoingBody

T = TypeVar("T")

_PAGE = names.MAX_KEYS_PER_REQUEST


class Exchange(Protocol):
    """Sends one request and returns what `parse` makes of the successful reply.

    It signs, sends, and sends again where that may help; raises `responses.error(...)` for a refusal and
    TransportError when no complete answer came. `parse` runs while the connection is held, and from the start
    again when its reply broke off. `body` is an object's bytes, beside the request. `retry_busy` False hands 307
    and 503 to the caller at once, for whom waiting is an answer. Called from any number of threads.
    """

    def exchange(
        self,
        request: Request,
        parse: Callable[[Response], T],
        *,
        body: OutgoingBody | None = None,
        retry_busy: bool = True,
    ) -> T:
        """Send and parse."""
        ...


class Ds3Client:
    """Calls one appliance. Every method may raise an ApplianceError, TransportError or ProtocolError.

    UsageError means that nothing was sent. Safe to share between threads; `close`, or leaving the `with` block,
    closes its connections.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        from ds3tool.transport.pool import Transport

        transport = Transport(settings)
        self._exchange: Exchange = transport
        self._close: Callable[[], None] = transport.close

    # -- making one -------------------------------------------------------------------------------------------------

    @classmethod
    def over(cls, exchange: Exchange, *, close: Callable[[], None] | None = None) -> Self:
        """Return a client that sends through `exchange`, which stays the caller's unless `close` is given."""
        client = cls.__new__(cls)
        client._exchange = exchange
        client._close = close or _nothing
        return client

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return a client for DS3_ENDPOINT with DS3_ACCESS_KEY and DS3_SECRET_KEY, through http_proxy if set.

        The proxy variables are read as `profiles.resolve` reads them. ConfigError names what is missing.
        """
        from ds3tool.profiles import environment_profile, resolve

        return cls(resolve([environment_profile(environ)], environ=environ).connection)

    @classmethod
    def from_profile(cls, name: str | None = None, path: Path | None = None) -> Self:
        """Return a client for a profile of the configuration file at `path`, by default the user's default one.

        ConfigError when the file does not hold it.
        """
        from ds3tool.profiles import load_connection

        return cls(load_connection(name, path))

    @classmethod
    def from_sdk(cls, client: object) -> Self:
        """Return a client with the endpoint, credentials and proxy of a vendor `ds3` client object."""
        return cls(settings_from_sdk(client))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; twice is harmless."""
        self._close()

    @property
    def exchange(self) -> Exchange:
        """What this client sends through; for whoever needs more than the methods here."""
        return self._exchange

    def _send(self, request: Request, parse: Callable[[Response], T]) -> T:
        return self._exchange.exchange(request, parse)

    def _all(self, build: Callable[[int], Request], parse: Callable[[Response], Page[T]]) -> Iterator[T]:
        """Yield the items of every page; one page is held at a time."""
        offset = 0
        while True:
            page = self._send(build(offset), parse)
            yield from page.items
            offset += len(page.items)
            if not page.items or page.remaining == 0:
                return
            if page.total is not None:
                if offset >= page.total:
                    return
            elif page.remaining is None and len(page.items) < _PAGE:
                return

    # -- service, buckets -------------------------------------------------------------------------------------------

    def get_service(self) -> Service:
        """Return the caller and the buckets it may see."""
        return self._send(requests.get_service(), responses.service)

    def create_bucket(self, name: str, *, data_policy: str | None = None) -> None:
        """Create a bucket under the caller's default data policy, or the one named; ConflictError if it exists."""
        self._send(requests.create_bucket(name, data_policy=data_policy), responses.nothing)

    def bucket_exists(self, name: str) -> bool:
        """Return whether a bucket is there; AccessDeniedError when it is and this user may not see it."""
        try:
            self._send(requests.head_bucket(name), responses.nothing)
        except NotFoundError:
            return False
        return True

    def delete_bucket(self, name: str, *, force: bool = False) -> None:
        """Delete an empty bucket, or with `force` a bucket and every object in it."""
        self._send(requests.delete_bucket(name, force=force), responses.nothing)

    def get_bucket(self, name: str) -> BucketDetails:
        """Return a bucket's details; `name` may be its id."""
        return self._send(requests.get_bucket(name), responses.bucket)

    def listing_pages(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        versions: bool = False,
        start_after: str = "",
        page_size: int = _PAGE,
    ) -> Iterator[ListingPage]:
        """Yield the pages of a listing, in the appliance's order; the next one is asked for when it is wanted.

        With `versions`, a page that ends amid the versions of one key goes on after that key: the protocol has no
        marker for versions, so the rest of them may be missing. A larger page makes this rarer.
        """
        marker = start_after
        while True:
            request = requests.list_bucket(
                bucket, prefix=prefix, delimiter=delimiter, marker=marker, max_keys=page_size, versions=versions
            )
            page = self._send(request, responses.listing)
            yield page
            if not page.truncated:
                return
            if page.next_marker in {"", marker}:
                raise ProtocolError(
                    f"the listing of {bucket} does not move on: after {marker!a} it says to go on with "
                    f"{page.next_marker!a}"
                )
            marker = page.next_marker

    def list_objects(
        self, bucket: str, *, prefix: str = "", versions: bool = False, start_after: str = "", page_size: int = _PAGE
    ) -> Iterator[ListedObject]:
        """Yield the objects of a bucket, or all their versions; one page is held at a time."""
        for page in self.listing_pages(
            bucket, prefix=prefix, versions=versions, start_after=start_after, page_size=page_size
        ):
            yield from page.objects

    # -- data policies ----------------------------------------------------------------------------------------------

    def get_data_policy(self, name_or_id: str) -> DataPolicy:
        """Return one data policy."""
        return self._send(requests.get_data_policy(name_or_id), responses.data_policy)

    def list_data_policies(self) -> Iterator[DataPolicy]:
        """Yield all data policies."""
        return self._all(lambda offset: requests.list_data_policies(page_offset=offset), responses.data_policies)

    def modify_data_policy(
        self,
        name_or_id: str,
        *,
        name: str | None = None,
        checksum_type: ChecksumType | None = None,
        versioning: Versioning | None = None,
        end_to_end_crc_required: bool | None = None,
        blobbing_enabled: bool | None = None,
        default_blob_size: int | None = None,
        default_put_priority: Priority | None = None,
        default_get_priority: Priority | None = None,
        default_verify_priority: Priority | None = None,
        max_versions_to_keep: int | None = None,
    ) -> DataPolicy:
        """Change what is given and return the data policy; a `default_blob_size` of 0 sets it back to none."""
        request = requests.modify_data_policy(
            name_or_id,
            name=name,
            checksum_type=checksum_type,
            versioning=versioning,
            end_to_end_crc_required=end_to_end_crc_required,
            blobbing_enabled=blobbing_enabled,
            default_blob_size=default_blob_size,
            default_put_priority=default_put_priority,
            default_get_priority=default_get_priority,
            default_verify_priority=default_verify_priority,
            max_versions_to_keep=max_versions_to_keep,
        )
        return self._send(request, responses.data_policy)

    def list_persistence_rules(self, data_policy_id: str) -> Iterator[PersistenceRule]:
        """Yield the copies that a data policy keeps."""
        return self._all(
            lambda offset: requests.list_persistence_rules(data_policy_id, page_offset=offset),
            responses.persistence_rules,
        )

    # -- objects ----------------------------------------------------------------------------------------------------

    def put_object(
        self,
        bucket: str,
        key: str,
        body: OutgoingBody,
        *,
        job_id: str | None = None,
        offset: int | None = None,
        metadata: Mapping[str, str] | None = None,
        checksum: tuple[ChecksumType, str] | None = None,
    ) -> PutResult:
        """Send a blob of a job, or without `job_id` a whole object; return what the appliance says of it.

        `checksum` is kind and digest in base64 of exactly the bytes of `body`.
        """
        request = requests.put_object(bucket, key, job_id=job_id, offset=offset, metadata=metadata, checksum=checksum)
        return self._exchange.exchange(request, responses.object_put, body=body)

    def get_object(
        self,
        bucket: str,
        key: str,
        receive: Callable[[Response], T],
        *,
        job_id: str | None = None,
        offset: int | None = None,
        ranges: Sequence[ByteRange] = (),
        version_id: str | None = None,
    ) -> T:
        """Fetch a blob of a job, or a whole object; return what `receive` makes of the reply.

        Several `ranges` come as their plain concatenation, in the order asked. The checksum header is that of the
        whole blob, also beside ranges.
        """
        request = requests.get_object(bucket, key, job_id=job_id, offset=offset, ranges=ranges, version_id=version_id)
        return self._send(request, receive)

    def head_object(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectHead:
        """Return an object's size, metadata and digests."""
        return self._send(requests.head_object(bucket, key, version_id=version_id), responses.object_head(key))

    def delete_object(self, bucket: str, key: str, *, version_id: str | None = None) -> None:
        """Delete one object, or one version of it; NotFoundError when it is not there."""
        self._send(requests.delete_object(bucket, key, version_id=version_id), responses.done)

    def delete_objects(self, bucket: str, keys: Iterable[str]) -> Iterator[DeleteResult]:
        """Delete many objects; yield the outcome of each thousand. Nothing is sent until it is asked for."""
        return self.delete_versions(bucket, ((key, None) for key in keys))

    def delete_versions(self, bucket: str, keys: Iterable[tuple[str, str | None]]) -> Iterator[DeleteResult]:
        """Delete many objects or versions, given as pairs of key and version id; yield as `delete_objects` does."""
        batch: list[tuple[str, str | None]] = []
        for one in keys:
            batch.append(one)
            if len(batch) == _PAGE:
                yield self._send(requests.delete_objects(bucket, batch), responses.deleted)
                batch = []
        if batch:
            yield self._send(requests.delete_objects(bucket, batch), responses.deleted)

    def delete_folder(self, bucket: str, prefix: str) -> None:
        """Delete every object whose key begins with `prefix` and a slash; NotFoundError when there is none."""
        self._send(requests.delete_folder(bucket, prefix), responses.nothing)

    # -- jobs -------------------------------------------------------------------------------------------------------

    def create_put_job(
        self,
        bucket: str,
        objects: Sequence[ObjectToPut],
        *,
        name: str | None = None,
        priority: Priority | None = None,
        max_upload_size: int | None = None,
        ignore_naming_conflicts: bool = False,
        force: bool = False,
        aggregating: bool | None = None,
        minimize_spanning_across_media: bool | None = None,
        pre_allocate_job_space: bool = False,
        verify_after_write: bool | None = None,
        implicit_job_id_resolution: bool | None = None,
        dead_job_cleanup_allowed: bool | None = None,
        protected: bool | None = None,
    ) -> JobDetails:
        """Declare up to 500,000 objects to put and return the job with its chunks.

        ConflictError when a name exists and the data policy keeps no versions, unless `ignore_naming_conflicts`,
        which leaves such objects out. `max_upload_size` bounds the blobs, in bytes.
        """
        request = requests.create_put_job(
            bucket,
            objects,
            name=name,
            priority=priority,
            max_upload_size=max_upload_size,
            ignore_naming_conflicts=ignore_naming_conflicts,
            force=force,
            aggregating=aggregating,
            minimize_spanning_across_media=minimize_spanning_across_media,
            pre_allocate_job_space=pre_allocate_job_space,
            verify_after_write=verify_after_write,
            implicit_job_id_resolution=implicit_job_id_resolution,
            dead_job_cleanup_allowed=dead_job_cleanup_allowed,
            protected=protected,
        )
        return self._send(request, responses.job)

    def create_get_job(
        self,
        bucket: str,
        objects: Sequence[ObjectToGet],
        *,
        name: str | None = None,
        priority: Priority | None = None,
        processing_order: ProcessingOrder = ProcessingOrder.NONE,
        aggregating: bool | None = None,
        implicit_job_id_resolution: bool | None = None,
        dead_job_cleanup_allowed: bool | None = None,
        protected: bool | None = None,
        retry_busy: bool = True,
    ) -> JobDetails:
        """Ask for up to 500,000 objects or ranges and return the job, whose blobs are whole and cover them.

        MediaOfflineError when tapes have to be loaded first. `retry_busy` False hands 503 over at once.
        """
        request = requests.create_get_job(
            bucket,
            objects,
            name=name,
            priority=priority,
            processing_order=processing_order,
            aggregating=aggregating,
            implicit_job_id_resolution=implicit_job_id_resolution,
            dead_job_cleanup_allowed=dead_job_cleanup_allowed,
            protected=protected,
        )
        return self._exchange.exchange(request, responses.job, retry_busy=retry_busy)

    def create_verify_job(
        self,
        bucket: str,
        objects: Sequence[ObjectToGet],
        *,
        name: str | None = None,
        priority: Priority | None = None,
        aggregating: bool | None = None,
    ) -> JobDetails:
        """Have objects read back from their media and checked; no bytes come here."""
        request = requests.create_verify_job(bucket, objects, name=name, priority=priority, aggregating=aggregating)
        return self._send(request, responses.job)

    def get_ready_chunks(
        self, job_id: str, *, preferred_number: int | None = None, chunk_id: str | None = None
    ) -> ReadyChunks:
        """Return the chunks that can be worked on now; when there are none, when to ask again.

        NotFoundError when the job is finished or gone: GET job tells which.
        """
        request = requests.get_ready_chunks(job_id, preferred_number=preferred_number, chunk_id=chunk_id)
        return self._send(request, responses.ready_chunks)

    def allocate_chunk(self, chunk_id: str) -> AllocatedChunk:
        """Ask for room for one chunk of a put job; having to wait is an answer, not an error."""
        try:
            chunk = self._exchange.exchange(requests.allocate_chunk(chunk_id), responses.chunk, retry_busy=False)
        except (BusyError, RetryLaterError) as busy:
            seconds = busy.retry_after_seconds
            return AllocatedChunk(None, None if seconds is None else timedelta(seconds=seconds))
        return AllocatedChunk(chunk)

    def get_chunk(self, chunk_id: str) -> Chunk:
        """Return one chunk as it stands."""
        return self._send(requests.get_chunk(chunk_id), responses.chunk)

    def get_job(self, job_id: str) -> JobDetails:
        """Return a job, running or ended; an ended one has no chunks, a running get those still to be read."""
        return self._send(requests.get_job(job_id), responses.job)

    def list_jobs(self, *, bucket: str | None = None) -> tuple[Job, ...]:
        """Return the appliance's list of jobs, without their chunks. Ended ones may be missing: see the other lists."""
        return self._send(requests.list_jobs(bucket=bucket), responses.jobs)

    def modify_job(self, job_id: str, *, priority: Priority | None = None, name: str | None = None) -> JobDetails:
        """Change a job; with nothing to change, only tell the appliance that somebody still works on it."""
        return self._send(requests.modify_job(job_id, priority=priority, name=name), responses.job)

    def cancel_job(self, job_id: str) -> None:
        """Give a job up, with every object of it that is not on media completely."""
        self._send(requests.cancel_job(job_id), responses.done)

    def truncate_job(self, job_id: str) -> None:
        """End a job with the objects that the appliance has completely; the rest is given up."""
        self._send(requests.truncate_job(job_id), responses.done)

    def list_active_jobs(self, *, bucket: str | None = None) -> Iterator[JobRecord]:
        """Yield the running jobs."""
        return self._job_records("active_job", bucket)

    def list_completed_jobs(self, *, bucket: str | None = None) -> Iterator[JobRecord]:
        """Yield the completed jobs of the last weeks."""
        return self._job_records("completed_job", bucket)

    def list_canceled_jobs(self, *, bucket: str | None = None) -> Iterator[JobRecord]:
        """Yield the cancelled jobs of the last weeks."""
        return self._job_records("canceled_job", bucket)

    def _job_records(self, resource: str, bucket: str | None) -> Iterator[JobRecord]:
        return self._all(
            lambda offset: requests.list_job_records(resource, bucket=bucket, page_offset=offset),
            responses.job_records,
        )

    # -- placement and records --------------------------------------------------------------------------------------

    def get_placement(
        self,
        bucket: str,
        objects: Sequence[ObjectToGet],
        *,
        verify: bool = False,
        storage_domain: str | None = None,
    ) -> Placement:
        """Return the media that hold any of `objects`; with `verify`, NotFoundError when something is on none."""
        request = requests.get_placement(bucket, objects, verify=verify, storage_domain=storage_domain)
        return self._send(request, responses.placement)

    def get_blob_placement(
        self,
        bucket: str,
        objects: Sequence[ObjectToGet],
        *,
        verify: bool = False,
        storage_domain: str | None = None,
    ) -> tuple[PlacedBlob, ...]:
        """Return each blob of `objects` and the media that hold it; unknown names are simply not there."""
        request = requests.get_placement(
            bucket, objects, full_details=True, verify=verify, storage_domain=storage_domain
        )
        return self._send(request, responses.blob_placement)

    def list_object_details(
        self,
        bucket: str,
        *,
        name: str | None = None,
        full: bool = False,
        placement: bool = False,
        latest: bool | None = None,
    ) -> Iterator[ObjectRecord]:
        """Yield the records of a bucket's objects, all versions unless `latest`; full details cost the appliance."""
        return self._all(
            lambda offset: requests.list_object_details(
                bucket, name=name, full=full, placement=placement, latest=latest, page_offset=offset
            ),
            responses.object_details,
        )

    def get_object_details(self, bucket: str, name: str) -> ObjectRecord:
        """Return one object's record; `name` may be its id."""
        return self._send(requests.get_object_details(bucket, name), responses.object_record)

    def undelete_object(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectRecord:
        """Make the newest version of an object, or the one named, the latest again; return its record.

        NotFoundError when there is none.
        """
        return self._send(requests.undelete_object(bucket, key, version_id=version_id), responses.object_record)

    def list_suspect_blobs(self, bucket: str) -> tuple[PlacedBlob, ...]:
        """Return the blobs of a bucket of which the appliance doubts a copy."""
        return self._send(requests.list_suspect_blobs(bucket), responses.blob_placement)

    # -- tapes ------------------------------------------------------------------------------------------------------

    def list_tapes(
        self,
        *,
        bar_code: str | None = None,
        state: TapeState | None = None,
        bucket: str | None = None,
        storage_domain: str | None = None,
        tape_type: str | None = None,
        assigned_to_storage_domain: bool | None = None,
        full_of_data: bool | None = None,
    ) -> Iterator[Tape]:
        """Yield the tapes that match everything given."""
        return self._all(
            lambda offset: tape_requests.list_tapes(
                bar_code=bar_code,
                state=state,
                bucket=bucket,
                storage_domain=storage_domain,
                tape_type=tape_type,
                assigned_to_storage_domain=assigned_to_storage_domain,
                full_of_data=full_of_data,
                page_offset=offset,
            ),
            responses.tapes,
        )

    def get_tape(self, bar_code_or_id: str) -> Tape:
        """Return one tape."""
        return self._send(tape_requests.get_tape(bar_code_or_id), responses.tape)

    def eject_tape(self, bar_code: str, *, label: str | None = None, location: str | None = None) -> Tape:
        """Have one tape moved to the library's door; `label` and `location` are kept with it."""
        return self._send(tape_requests.eject_tape(bar_code, label=label, location=location), responses.tape)

    def eject_all_tapes(self, *, label: str | None = None, location: str | None = None) -> tuple[TapeFailure, ...]:
        """Eject every tape; return those that could not be."""
        return self._send(tape_requests.eject_all_tapes(label=label, location=location), responses.tape_failures)

    def eject_storage_domain(
        self,
        storage_domain: str,
        *,
        bucket: str | None = None,
        label: str | None = None,
        location: str | None = None,
    ) -> tuple[TapeFailure, ...]:
        """Eject the tapes of a storage domain, or of one bucket in it; return those that could not be."""
        request = tape_requests.eject_all_tapes(
            label=label, location=location, storage_domain=storage_domain, bucket=bucket
        )
        return self._send(request, responses.tape_failures)

    def cancel_eject_tape(self, bar_code: str) -> Tape:
        """Take an eject back that has not happened yet."""
        return self._send(tape_requests.tape_operation(names.CANCEL_EJECT, bar_code), responses.tape)

    def online_tape(self, bar_code: str) -> Tape:
        """Bring one tape that was put back into the library online."""
        return self._send(tape_requests.tape_operation(names.ONLINE, bar_code), responses.tape)

    def online_all_tapes(self) -> tuple[TapeFailure, ...]:
        """Bring every offline tape online; return those that could not be."""
        return self._send(tape_requests.tape_operation(names.ONLINE), responses.tape_failures)

    # -- cache and system -------------------------------------------------------------------------------------------

    def get_cache_state(self) -> tuple[CacheFilesystem, ...]:
        """Return the cache's file systems and how full they are."""
        return self._send(requests.get_cache_state(), responses.cache_state)

    def reclaim_cache(self) -> None:
        """Empty the cache of everything that need not stay."""
        self._send(requests.reclaim_cache(), responses.nothing)

    def get_system_information(self) -> SystemInformation:
        """Return the appliance's release, serial number and clock."""
        return self._send(requests.get_system_information(), responses.system_information)

    def get_system_health(self) -> SystemHealth:
        """Return whether the data planner answers; BusyError when it does not."""
        return self._send(requests.get_system_health(), responses.system_health)


def _nothing() -> None:
    return None


def settings_from_sdk(client: object) -> ConnectionSettings:
    """Return the settings that a vendor `ds3` client object holds.

    Reads attributes only: nothing of the vendor's is imported. Its proxy is always used with CONNECT.
    """
    net = getattr(client, "net_client", None)
    connection = getattr(net, "networkconnection", None)
    credentials = getattr(net, "credentials", None)
    endpoint = getattr(connection, "endpoint", None)
    access_key, secret_key = getattr(credentials, "accessId", None), getattr(credentials, "key", None)
    if not (isinstance(endpoint, str) and isinstance(access_key, str) and isinstance(secret_key, str)):
        raise ConfigError(
            f"a {type(client).__name__} object is no client of the vendor's SDK: it has no endpoint and credentials",
            hint="hand over a ds3.ds3.Client, or use Ds3Client(ConnectionSettings(...))",
        )
    scheme = "https" if getattr(net, "secure", False) else "http"
    proxy = getattr(net, "proxy", None)
    return ConnectionSettings(
        endpoint=f"{scheme}://{endpoint}",
        access_key=access_key,
        secret_key=secret_key,
        proxy=None if not proxy else f"http://{proxy}",
        tunnel=bool(proxy),
    )
