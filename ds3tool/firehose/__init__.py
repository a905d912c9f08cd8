"""Kinesis Data Firehose: delivery streams, and what they deliver."""
