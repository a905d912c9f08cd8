"""A sync whose far side is S3: a prefix there is made like one of the appliance's buckets, or the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace

from ds3tool.addresses import Ds3Address, S3Address
from ds3tool.aws import s3_listing
from ds3tool.aws.session import AwsSettings
from ds3tool.cli import surplus, transfer
from ds3tool.cli.dryrun import show_plan
from ds3tool.cli.dryrun_option import DryRun
from ds3tool.cli.get import get_objects
from ds3tool.cli.get_s3 import S3Asked
from ds3tool.cli.journalled import Doing
from ds3tool.cli.put import put_objects, with_leave_to_delete
from ds3tool.cli.put_s3 import S3Put, S3Root
from ds3tool.cli.selection import Selection
from ds3tool.cli.settings import Settings
from ds3tool.cli.surplus import Surplus
from ds3tool.cli.wanted import wanted_objects
from ds3tool.client import Ds3Client
from ds3tool.errors import UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.planfile import PlanHead, settings_mapping
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType
from ds3tool.renaming import Renaming


@dataclass(frozen=True, slots=True)
class S3Sync:
    """What a sync with S3 was asked for, whichever way it goes; both addresses are prefixes."""

    aws: AwsSettings
    place: S3Address
    far: Ds3Address
    delete: bool
    wanted: Filter
    wait: transfer.WaitFor
    trial: DryRun
    run_settings: RunSettings

    def put(self, client: Ds3Client, settings: Settings) -> tuple[RunResult, str | None] | None:
        """Make the appliance's prefix like that in S3; return what came of it and the command that goes on."""
        what = S3Put(self.aws, (S3Root(self.place, self.far.key),))
        what.look()
        too_much = tuple(self._surplus(client)) if self.delete else ()
        source = what.source(wanted=self.wanted)
        if self.trial.dry_run:
            run = PutRun(client, source, self.far.bucket, settings=replace(self.run_settings, may_delete=True))
            show_plan(run, self.trial, settings, head=PlanHead(JobType.PUT, self.far.bucket), surplus=too_much)
            return None
        surplus.agree_to_delete(too_much, str(self.far), settings)
        run_settings = with_leave_to_delete(client, self.far.bucket, self.run_settings, settings)
        kept = {**what.asked(), "settings": settings_mapping(run_settings), "delete": bool(too_much)}
        doing = Doing("sync", JobType.PUT, self.far.bucket, kept, self.wait.value)
        result, way_on = put_objects(client, nullcontext(source), doing, run_settings, settings, label="sync")

        def delete(agreed: Sequence[Surplus]) -> None:
            there = self._keys()  # once more: what has come back must not go
            left = surplus.without_returned(agreed, result, lambda one: one.name in there)
            surplus.delete_objects(client, self.far.bucket, left, result)

        surplus.delete_surplus(result, too_much, delete)
        return result, way_on

    def _surplus(self, client: Ds3Client) -> Iterator[Surplus]:
        """Yield the appliance's objects of which S3 has nothing; what `wanted` leaves out is none."""
        there = self._keys()
        for listed in client.list_objects(self.far.bucket, prefix=self.far.key):
            name = listed.key[len(self.far.key) :]
            if listed.last_modified is None or not name or listed.key in there:
                continue
            if self.wanted.accepts(name, size=listed.size, modified_ns=None):
                yield Surplus(listed.key, listed.size)

    def _keys(self) -> set[str]:
        """Return the keys on the appliance that stand for what S3 has, chosen or not. Memory: all of them."""
        found = s3_listing.listed(self.aws.client("s3"), self.place.bucket, self.place.key)
        return {self.far.key + one.key[len(self.place.key) :] for one in found}

    def get(self, client: Ds3Client, settings: Settings) -> tuple[RunResult, str | None] | None:
        """Make the prefix in S3 like the appliance's; return what came of it and the command that goes on."""
        if self.delete:
            raise UsageError(
                "--delete does not go to S3: nothing is deleted there",
                hint=f"see what is too much: ds3tool s3 ls -r {self.place}; delete it: ds3tool s3 rm",
            )
        if self.wait is not transfer.WaitFor.CACHE:
            raise UsageError("--wait is about what goes to tape, and this sync comes from there")
        where = S3Asked(self.aws, self.place.bucket, self.place.key)
        where.check()
        client.get_bucket(self.far.bucket)
        selection = Selection(self.far.bucket, self.far.key, text=str(self.far))
        wanted, name_of = wanted_objects(client, selection, self.wanted), Renaming(self.far.key)
        if self.trial.dry_run:
            with closing(where.sink(make=False)) as sink:
                run = GetRun(client, sink, self.far.bucket, wanted, name_of=name_of, settings=self.run_settings)
                show_plan(run, self.trial, settings, head=PlanHead(JobType.GET, self.far.bucket))
            return None
        doing = Doing("sync", JobType.GET, self.far.bucket)
        return get_objects(
            client,
            where,
            doing,
            wanted,
            name_of=name_of,
            run_settings=self.run_settings,
            settings=settings,
            label="sync",
        )
