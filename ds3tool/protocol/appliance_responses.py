"""Parsers of what an appliance says of itself: its buckets, the copies it keeps, its cache, its health."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ds3tool.errors import ProtocolError
from ds3tool.protocol.appliance_model import (
    BucketSummary,
    CacheFilesystem,
    PersistenceRule,
    Service,
    SystemHealth,
    SystemInformation,
)
from ds3tool.protocol.messages import Response
from ds3tool.protocol.pages import Page, read_page
from ds3tool.protocol.responses import owner_of
from ds3tool.protocol.scalars import as_boolean, as_date, as_integer, as_size, required
from ds3tool.protocol.xmlcodec import PAGE_BYTES, Element, read_tree


def service(response: Response) -> Service:
    """Parse GET service."""
    root = read_tree(response.body, what="the list of buckets", root="ListAllMyBucketsResult", max_bytes=PAGE_BYTES)
    found: list[BucketSummary] = []
    for buckets in root.all("Buckets"):
        for one in buckets.all("Bucket"):
            name = required(one.value("Name"), "the name of a bucket")
            found.append(BucketSummary(name, as_date(one.value("CreationDate"), f"the date of bucket {name}")))
    return Service(owner_of(root), tuple(found))


def persistence_rules(response: Response) -> Page[PersistenceRule]:
    """Parse one page of the copies that data policies keep."""
    return read_page(response, {"DataPersistenceRule"}, _persistence_rule, "the list of persistence rules")


def _persistence_rule(element: Element) -> PersistenceRule:
    return PersistenceRule(
        id=element.value("Id") or "",
        data_policy_id=element.value("DataPolicyId") or "",
        storage_domain_id=element.value("StorageDomainId") or "",
        type=element.value("Type") or "",
        state=element.value("State") or "",
        isolation_level=element.value("IsolationLevel") or "",
        minimum_days_to_retain=as_integer(element.value("MinimumDaysToRetain"), "MinimumDaysToRetain of a rule"),
    )


def cache_state(response: Response) -> tuple[CacheFilesystem, ...]:
    """Parse the cache's file systems."""
    root = read_tree(response.body, what="the state of the cache", root="Data", max_bytes=PAGE_BYTES)
    return tuple(_cache_filesystem(one) for one in root.all("Filesystems"))


def _cache_filesystem(element: Element) -> CacheFilesystem:
    inner = element.child("CacheFilesystem")
    path = inner.value("Path") if inner is not None else None
    what = f"of the cache {path or ''}"
    return CacheFilesystem(
        id=(inner.value("Id") if inner is not None else None) or "",
        path=path,
        total_bytes=as_size(element.value("TotalCapacityInBytes"), f"TotalCapacityInBytes {what}"),
        available_bytes=as_size(element.value("AvailableCapacityInBytes"), f"AvailableCapacityInBytes {what}"),
        used_bytes=as_size(element.value("UsedCapacityInBytes"), f"UsedCapacityInBytes {what}"),
        unavailable_bytes=as_size(element.value("UnavailableCapacityInBytes"), f"UnavailableCapacityInBytes {what}"),
        locked_bytes=as_integer(element.value("JobLockedCacheInBytes"), f"JobLockedCacheInBytes {what}"),
        summary=element.value("Summary"),
    )


def system_information(response: Response) -> SystemInformation:
    """Parse what the appliance says of itself."""
    root = read_tree(response.body, what="the system information", root="Data")
    build = root.child("BuildInformation")
    milliseconds = as_integer(root.value("Now"), "Now of the system information")
    now = None
    if milliseconds is not None:
        try:
            now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
        except OverflowError as error_:
            raise ProtocolError(f"Now of the system information is {milliseconds}, which is no time") from error_
    return SystemInformation(
        version=build.value("Version") if build is not None else None,
        api_version=root.value("ApiVersion"),
        serial_number=root.value("SerialNumber"),
        instance_id=root.value("InstanceId"),
        backend_activated=as_boolean(root.value("BackendActivated"), "BackendActivated"),
        now=now,
        revision=build.value("Revision") if build is not None else None,
    )


def system_health(response: Response) -> SystemHealth:
    """Parse the appliance's health."""
    root = read_tree(response.body, what="the system's health", root="Data")
    name = "MsRequiredToVerifyDataPlannerHealth"
    return SystemHealth(as_integer(root.value(name), name), root.value("DatabaseFilesystemFreeSpace"))
