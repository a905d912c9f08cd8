"""`ds3tool s3`: what the S3 side of a job needs: buckets, objects, links, access."""

from __future__ import annotations

from ds3tool.cli import s3_access, s3_buckets, s3_cp, s3_ls, s3_rm, s3_stat
from ds3tool.cli.options import command, group

app = group("s3", "Look after the S3 side: make, list, copy, remove, link to. put and get move data to and from tape.")

command(app, "ls", examples=s3_ls.EXAMPLES)(s3_ls.list_entries)
command(app, "stat", examples=s3_stat.EXAMPLES)(s3_stat.show_status)
command(app, "mb", examples=s3_buckets.MB_EXAMPLES)(s3_buckets.make_bucket)
command(app, "rb", examples=s3_buckets.RB_EXAMPLES)(s3_buckets.remove_bucket)
command(app, "cp", examples=s3_cp.EXAMPLES)(s3_cp.copy)
command(app, "rm", examples=s3_rm.EXAMPLES)(s3_rm.remove)
command(app, "presign", examples=s3_access.PRESIGN_EXAMPLES)(s3_access.presign)
command(app, "acl", examples=s3_access.ACL_EXAMPLES)(s3_access.acl)
