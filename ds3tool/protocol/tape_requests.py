"""Builders of the calls about tapes: each returns the `Request` of one call."""

from __future__ import annotations

from ds3tool.errors import UsageError
from ds3tool.protocol import names
from ds3tool.protocol.messages import Request
from ds3tool.protocol.targets import option, page, query_of, rest


def list_tapes(
    *,
    bar_code: str | None = None,
    state: str | None = None,
    bucket: str | None = None,
    storage_domain: str | None = None,
    tape_type: str | None = None,
    assigned_to_storage_domain: bool | None = None,
    full_of_data: bool | None = None,
    page_length: int = 1000,
    page_offset: int = 0,
) -> Request:
    """One page of the tapes that match everything given."""
    query = query_of(
        {
            "assigned_to_storage_domain": option(assigned_to_storage_domain),
            "bar_code": bar_code,
            "bucket_id": bucket,
            "full_of_data": option(full_of_data),
            "state": state,
            "storage_domain": storage_domain,
            "type": tape_type,
            **page(page_length, page_offset),
        }
    )
    return Request("GET", rest("tape"), query)


def get_tape(bar_code_or_id: str) -> Request:
    """One tape."""
    return Request("GET", rest("tape", bar_code_or_id))


def eject_tape(bar_code_or_id: str, *, label: str | None = None, location: str | None = None) -> Request:
    """Eject one tape; `label` and `location` are noted with it."""
    query = query_of({"operation": names.EJECT, "eject_label": label, "eject_location": location})
    return Request("PUT", rest("tape", bar_code_or_id), query)


def eject_all_tapes(
    *,
    label: str | None = None,
    location: str | None = None,
    storage_domain: str | None = None,
    bucket: str | None = None,
) -> Request:
    """Eject every tape, or those of one storage domain, or of one bucket in it."""
    if bucket is not None and storage_domain is None:
        # Without the storage domain the appliance would not see a bucket's eject and might take out all tapes.
        raise UsageError("ejecting a bucket's tapes needs the storage domain they are in")
    query = query_of(
        {
            "operation": names.EJECT,
            "bucket_id": bucket,
            "eject_label": label,
            "eject_location": location,
            "storage_domain": storage_domain,
        }
    )
    return Request("PUT", rest("tape"), query)


def tape_operation(operation: str, bar_code_or_id: str | None = None) -> Request:
    """One of the operations without parameters (`names.ONLINE`, `CANCEL_EJECT`, `CANCEL_ONLINE`); on all if None."""
    return Request("PUT", rest("tape", bar_code_or_id), query_of({"operation": operation}))
