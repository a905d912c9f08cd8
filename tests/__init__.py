"""Tests of ds3tool."""
