"""One module a family of operations; importing this package fills the dispatch table."""

from ds3tool.simulator.handlers import (
    administration,
    buckets,
    history,
    jobs,
    objects,
    placement,
    service,
    suspects,
    system,
    tapes,
)

__all__ = [
    "administration",
    "buckets",
    "history",
    "jobs",
    "objects",
    "placement",
    "service",
    "suspects",
    "system",
    "tapes",
]
