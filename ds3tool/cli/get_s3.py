"""A bucket or a prefix of S3 as the place where a get lands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds3tool.addresses import S3Address, parse_address, parse_s3
from ds3tool.aws.session import AwsSettings
from ds3tool.cli.put_s3 import of_work, seen_bucket
from ds3tool.errors import FarSideForbiddenError, UsageError
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.jobs.work_head import WorkHead
    from ds3tool.sinks.s3 import S3Sink


@dataclass(frozen=True, slots=True)
class S3Asked:
    """Where objects of a get land in S3: below `prefix`, which is empty or ends in a slash, in `storage_class`.

    `verify`: whole blobs are fetched where a part is wanted. `seen`: whoever began it was let look at the bucket.
    """

    aws: AwsSettings
    bucket: str
    prefix: str = ""
    storage_class: str | None = None
    verify: bool = False
    seen: bool = False

    @property
    def shown(self) -> str:
        """The address."""
        return str(S3Address(self.bucket, self.prefix))

    def sink(self, *, make: bool = True, work_id: str | None = None, state: Path | None = None) -> S3Sink:
        """Return the sink, which is the caller's to close.

        `work_id` is the piece of work that receives; what it uploads in parts is remembered in the folder `state`.
        """
        from ds3tool.sinks.s3 import S3Sink

        del make  # nothing is made of a bucket before something goes into it
        return S3Sink(self.aws, self.bucket, self.prefix, token=work_id, state=state, storage_class=self.storage_class)

    def asked(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again. Whose credentials are used is no part of it."""
        return {
            "s3": {
                "aws": self.aws.mapping(),
                "target": self.shown,
                "storage_class": self.storage_class,
                "verify": self.verify,
                "seen": self.seen,
            }
        }

    def prepared(self) -> dict[str, Any]:
        """See that the bucket is there and that S3 knows who asks; return what a journal keeps."""
        return replace(self, seen=self.check()).asked()

    def check(self) -> bool:
        """Whether the bucket may be looked at; raises a FarSideError unless it is there and S3 knows who asks."""
        return seen_bucket(self.aws.client("s3"), self.bucket)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> S3Asked:
        """Return what `asked` has kept; KeyError, TypeError or ValueError for what it has not."""
        address = parse_s3(str(kept["target"]))
        storage_class = kept["storage_class"]
        return cls(
            AwsSettings.of(kept["aws"]),
            address.bucket,
            address.key,
            None if storage_class is None else str(storage_class),
            kept["verify"] is True,
            kept["seen"] is True,
        )

    def check_there(self, head: WorkHead) -> None:
        """See that the bucket is there, and that who asks may look at it, if whoever began it might."""
        elsewhere = f"to go on in another place: ds3tool resume {head.id} --target ADDRESS"
        address = S3Address(self.bucket, self.prefix)
        with of_work(address, head, elsewhere):
            if not self.check() and self.seen:
                raise FarSideForbiddenError(f"{address} may not be looked at any more", status=403)

    def moved_to(self, place: str) -> S3Asked:
        """Return the same in another bucket or below another prefix; UsageError for what is not in S3."""
        address = parse_address(place)
        if not isinstance(address, S3Address):
            raise UsageError(f"{place} is not in S3, where the work's objects go", hint="write s3://BUCKET/PREFIX/")
        prefix = address.as_prefix().key if address.key else ""
        return replace(self, bucket=address.bucket, prefix=prefix, seen=False)

    def forget(self, work_id: str, names: Iterable[str], *, state: Path) -> int:
        """Abort what the work has left of uploads in parts; return how many there were."""
        from ds3tool.sinks.s3_uploads import abort_uploads

        del names  # the state folder knows them
        return abort_uploads(state, work_id)
