"""Bulk jobs: plan, create, loop on ready chunks, transfer, finish."""
