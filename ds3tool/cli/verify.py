"""`ds3tool verify`: whether what was archived is still what it should be."""

from __future__ import annotations

from ds3tool.cli import verify_job, verify_objects, verify_sample
from ds3tool.cli.options import command, group

app = group("verify", "Check what is archived: without mounting a tape, or by reading it back.")

command(app, "objects", examples=verify_objects.EXAMPLES)(verify_objects.objects)
command(app, "sample", examples=verify_sample.EXAMPLES)(verify_sample.sample)
command(app, "job", examples=verify_job.EXAMPLES)(verify_job.job)
