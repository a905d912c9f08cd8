"""Tests of `ds3tool.bench`: generated data, and what limits a transfer."""
