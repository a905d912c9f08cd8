"""A bucket of S3 as a delivery stream has filled it."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.firehose.delivered import HIVE, Stream

# An hour of long ago, in which the objects are named; a server of S3 stores them now.
AT = datetime(2026, 1, 31, 22, tzinfo=UTC)
CLICKS = Stream("clicks", 2, "data/" + HIVE + "/", "errors/data/!{firehose:error-output-type}/" + HIVE + "/", ".gz")
