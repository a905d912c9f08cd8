"""Tests of `ds3tool.sinks`."""
