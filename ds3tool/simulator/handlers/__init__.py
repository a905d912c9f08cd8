"""One module a family of operations; importing this package fills the dispatch table."""

from ds3tool.simulator.handlers import (
    access,
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
    "access",
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
