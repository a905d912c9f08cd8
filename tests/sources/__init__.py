"""Tests of `ds3tool.sources`."""
