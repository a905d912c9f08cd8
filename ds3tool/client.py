"""The client: one typed method per call of the appliance. Each builds a request, sends it, parses the reply."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from ds3tool.calls.exchange import Exchange
from ds3tool.calls.jobs import JobCalls
from ds3tool.calls.tapes import TapeCalls
from ds3tool.errors import NotFoundError, ProtocolError
from ds3tool.protocol import names, object_requests, requests, responses
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.model import (
    BucketDetails,
    ChecksumType,
    DataPolicy,
    DeleteFailure,
    DeleteResult,
    ListedObject,
    ListingPage,
    ObjectHead,
    ObjectToGet,
    Priority,
    PutResult,
    Versioning,
)
from ds3tool.protocol.ranges import ByteRange
from ds3tool.transport.settings import ConnectionSettings

if TYPE_CHECKING:
    from ds3tool.protocol.appliance_model import (
        CacheFilesystem,
        PersistenceRule,
        Service,
        SystemHealth,
        SystemInformation,
    )
    from ds3tool.protocol.media_model import ObjectRecord, PlacedBlob, Placement
    from ds3tool.transport.bodies import OutgoingBody

T = TypeVar("T")

_PAGE = names.MAX_KEYS_PER_REQUEST


class Ds3Client(JobCalls, TapeCalls):
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
        """Return a client with the endpoint, credentials and proxy of a `ds3.ds3.Client`, the vendor's Python SDK's.

        UsageError when it is an object of another kind. Nothing is taken from it but these: both may be used on.
        """
        from ds3tool.sdk_settings import settings_from_sdk

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

        The protocol has no marker for versions: after a page that ends amid those of one key, the next one begins
        with another key. So with `versions` the last key of a page is asked for once more, which completes the page.
        """
        marker = start_after
        while True:
            request = requests.list_bucket(
                bucket, prefix=prefix, delimiter=delimiter, marker=marker, max_keys=page_size, versions=versions
            )
            page = self._send(request, responses.listing)
            yield self._with_all_versions(bucket, page) if versions else page
            if not page.truncated:
                return
            if page.next_marker in {"", marker}:
                raise ProtocolError(
                    f"the listing of {bucket} does not move on: after {marker!a} it says to go on with "
                    f"{page.next_marker!a}"
                )
            marker = page.next_marker

    def _with_all_versions(self, bucket: str, page: ListingPage) -> ListingPage:
        """Return the page with every version of its last key, of which it may hold the first ones only."""
        if not page.truncated or not page.objects or page.next_marker != page.objects[-1].key:
            return page
        key = page.next_marker
        # The shortest of all keys that begin so comes first. No policy keeps more versions than a page has room for.
        again = self._send(requests.list_bucket(bucket, prefix=key, versions=True), responses.listing)
        versions = tuple(one for one in again.objects if one.key == key)
        others = tuple(one for one in page.objects if one.key != key)
        if len(others) + len(versions) < len(page.objects):
            return page  # some were removed meanwhile: what was listed, was there
        return replace(page, objects=others + versions)

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
        ask: Callable[[], PutResult | None] | None = None,
    ) -> PutResult:
        """Send a blob of a job, or without `job_id` a whole object; return what the appliance says of it.

        `checksum` is kind and digest in base64 of exactly the bytes of `body`. `ask` is called before it is sent again
        when the reply to it was lost: it returns what the appliance has of it, or None when that is nothing.
        """
        request = requests.put_object(bucket, key, job_id=job_id, offset=offset, metadata=metadata, checksum=checksum)
        return self._exchange.exchange(request, responses.object_put, body=body, ask=ask)

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
        again: Callable[[], Sequence[ByteRange]] | None = None,
        retry_busy: bool = True,
        cached_only: bool = False,
    ) -> T:
        """Fetch a blob of a job, or a whole object; return what `receive` makes of the reply.

        Several `ranges` come as their plain concatenation, in the order asked. The checksum header is that of the
        whole blob, also beside ranges. Where the request is repeated, because it or its reply broke off, `again` says
        which ranges to ask for then. `retry_busy` False hands 307 and 503 over at once. `cached_only`: what is not in
        the cache is not loaded for this, but NotFoundError, where the release knows how.
        """

        def request(ranges: Sequence[ByteRange]) -> Request:
            return requests.get_object(
                bucket,
                key,
                job_id=job_id,
                offset=offset,
                ranges=ranges,
                version_id=version_id,
                cached_only=cached_only,
            )

        if again is None:
            return self._exchange.exchange(request(ranges), receive, retry_busy=retry_busy)
        return self._exchange.exchange(request(ranges), receive, retry_busy=retry_busy, again=lambda: request(again()))

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
        """Delete many objects or versions, given as pairs of key and version id; yield as `delete_objects` does.

        A key of which the appliance does not say what became of it is a failure.
        """
        wanted = iter(keys)
        while batch := list(itertools.islice(wanted, _PAGE)):
            result = self._send(requests.delete_objects(bucket, batch), responses.deleted)
            told = {*result.deleted, *(failure.key for failure in result.failures)}
            untold = dict.fromkeys(key for key, _ in batch if key not in told)
            message = "the appliance does not say what became of it"
            yield replace(
                result, failures=(*result.failures, *(DeleteFailure(key, "Untold", message) for key in untold))
            )

    def delete_folder(self, bucket: str, prefix: str) -> None:
        """Delete every object whose key begins with `prefix` and a slash; NotFoundError when there is none."""
        self._send(requests.delete_folder(bucket, prefix), responses.nothing)

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
            lambda offset: object_requests.list_object_details(
                bucket, name=name, full=full, placement=placement, latest=latest, page_offset=offset
            ),
            responses.object_details,
        )

    def get_object_details(self, bucket: str, name: str) -> ObjectRecord:
        """Return one object's record; `name` may be its id."""
        return self._send(object_requests.get_object_details(bucket, name), responses.object_record)

    def undelete_object(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectRecord:
        """Make the newest version of an object, or the one named, the latest again; return its record.

        NotFoundError when there is none.
        """
        return self._send(object_requests.undelete_object(bucket, key, version_id=version_id), responses.object_record)

    def list_suspect_blobs(self, bucket: str) -> tuple[PlacedBlob, ...]:
        """Return the blobs of a bucket of which the appliance doubts a copy."""
        return self._send(object_requests.list_suspect_blobs(bucket), responses.blob_placement)

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
