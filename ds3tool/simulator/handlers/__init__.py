"""One module a family of operations; importing this package fills the dispatch table."""

from ds3tool.simulator.handlers import (
    access,
    buckets,
    capacity,
    configured,
    degraded,
    domains,
    history,
    jobs,
    notifications,
    objects,
    placement,
    policies,
    pools,
    service,
    suspects,
    system,
    tapes,
    targets,
)

__all__ = [
    "access",
    "buckets",
    "capacity",
    "configured",
    "degraded",
    "domains",
    "history",
    "jobs",
    "notifications",
    "objects",
    "placement",
    "policies",
    "pools",
    "service",
    "suspects",
    "system",
    "tapes",
    "targets",
]

configured.register()
