"""Registrations for notifications: fifteen kinds of records, each created, listed, shown and deleted in the same way.

An end point may be any text but none at all. A notice is sent by POST or PUT; the other verbs of the contract's type
are refused, since nothing could be sent by them. A registration for a job that has ended is a 404: it would never hear.
"""

from __future__ import annotations

from ds3tool.simulator.dispatch import Call
from ds3tool.simulator.notifications import KINDS
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.engine import making
from ds3tool.simulator.wire.refusals import bad_request

_METHODS = ("POST", "PUT")
_RECORDS = tuple(kind.record for kind in KINDS)


@making(*_RECORDS)
def _check(call: Call, values: Fields) -> None:
    if not values["NotificationEndPoint"]:
        raise bad_request("The parameter notification_end_point is empty.")
    if values["NotificationHttpMethod"] not in _METHODS:
        raise bad_request(f"A notification is sent by POST or PUT, not {values['NotificationHttpMethod']}.")
    if values.get("JobId") is not None:
        call.machine.jobs.find_active(values["JobId"])


@making(*(kind.record for kind in KINDS if kind.scope == "BucketId"))
def _begin_now(call: Call, values: Fields) -> None:
    values.update(call.machine.notifications.begin_now())
