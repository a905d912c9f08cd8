"""Whether the objects of a put are in the bucket, by one listing; for when the appliance has forgotten their job."""

from __future__ import annotations

import os
from collections.abc import Callable

from ds3tool.client import Ds3Client
from ds3tool.jobs.plan import PlannedJob


def count_missing(client: Ds3Client, plan: PlannedJob, version_of: Callable[[int], str | None]) -> int:
    """Return how many objects of `plan` the bucket does not hold complete, of their size, as the job's own version.

    `version_of` tells the version that the job makes of an object, None where the appliance does not say. Memory
    holds the plan's keys once more, and one page of the listing.
    """
    wanted = {key: number for number, key in enumerate(plan.keys)}
    common = os.path.commonprefix(list(plan.keys))  # noqa: RUF071 - keys are texts, and so is their prefix
    for listed in client.list_objects(plan.bucket, prefix=common):
        number = wanted.get(listed.key)
        if number is None or listed.last_modified is None or listed.size != plan.sizes[number]:
            continue
        version = version_of(number)
        if version is None or listed.version_id in {None, version}:
            del wanted[listed.key]
            if not wanted:
                break
    return len(wanted)
