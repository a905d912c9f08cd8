"""`ds3tool firehose`: Kinesis Data Firehose, its delivery streams and what they have delivered."""

from __future__ import annotations

from ds3tool.cli import firehose_read, firehose_scan, firehose_send, firehose_stack, firehose_streams
from ds3tool.cli.options import group

app = group("firehose", "Kinesis Data Firehose: streams, what they have delivered, and which hours are closed.")

firehose_stack.add_to(app)
firehose_streams.add_to(app)
firehose_send.add_to(app)
firehose_scan.add_to(app)
firehose_read.add_to(app)
