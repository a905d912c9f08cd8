"""How many files may be open at once: a share of what this process may have, which may be as little as 256."""

from __future__ import annotations

import resource

_SHARES = 8


def allowed(most: int, *, eighths: int) -> int:
    """Return `most`, or so many eighths of the soft limit on open files where that is less; 1 at least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, soft * eighths // _SHARES))
