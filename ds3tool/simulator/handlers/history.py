"""The history of buckets: which versions of objects came, went, and were the latest."""

from __future__ import annotations

from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.documents import data_list
from ds3tool.simulator.records.paging import headers, window
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.xmlout import bean


@rest("GetBucketHistory")
def get_bucket_history(call: Call) -> Reply:
    """List changes of one bucket or of all, from a sequence number on, in their order."""
    machine = call.machine
    history = machine.history
    with machine.store.lock:
        history.forget_old()
        asked = call.text("bucket_id")
        bucket = machine.buckets.find(asked).n if asked else None
        least = call.number("min_sequence_number") or 0
        total = history.count(bucket, least)
        start, end = window(call, total, lambda marker: history.position(bucket, least, marker))
        found = history.page(bucket, least, start=start, length=end - start)
        return data_list([bean("BucketHistoryEvent", each) for each in found], headers(total, end))
