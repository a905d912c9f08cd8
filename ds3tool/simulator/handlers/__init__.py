"""One module a family of operations; importing this package fills the dispatch table."""

from ds3tool.simulator.handlers import (
    administration,
    buckets,
    configured,
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
    "configured",
    "history",
    "jobs",
    "objects",
    "placement",
    "service",
    "suspects",
    "system",
    "tapes",
]

configured.register()
