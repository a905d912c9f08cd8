"""Tests of `ds3tool.jobs`."""
