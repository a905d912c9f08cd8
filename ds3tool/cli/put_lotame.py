"""Feeds of Lotame's DataStream as what is put: as the command names them, and as plans and journals keep them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds3tool.addresses import Ds3Address, LotameAddress, parse_address
from ds3tool.aws.session import AwsSettings
from ds3tool.cli.lotame_reach import Reach
from ds3tool.errors import FarSideNotFoundError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import SourceObject
from ds3tool.jobs.plan import PlannedJob
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.cli.settings import Settings
    from ds3tool.jobs.planfile import SavedPlan
    from ds3tool.jobs.work_head import WorkHead
    from ds3tool.sources.lotame import LotameSource

_CREDENTIALS = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class LotamePut:
    """What one feed, or all, has for a destination that it lacks. No secret is in it.

    `destination` is what watermarks are kept by: the appliance's address and the prefix there. `state` is the folder
    they are kept in. `noting`: what Lotame answers counts as asked for.
    """

    address: LotameAddress
    prefix: str
    destination: str
    state: str
    reach: Reach
    aws: AwsSettings
    noting: bool = True

    @classmethod
    def below(
        cls,
        sources: Sequence[str],
        target: Ds3Address,
        reach: Reach,
        aws: AwsSettings,
        settings: Settings,
        *,
        dry_run: bool = False,
    ) -> LotamePut:
        """Return what `put lotame://FEED TARGET` means; UsageError for a target that is one key, or several feeds."""
        if len(sources) > 1:
            raise UsageError("one feed is put at a time, or all of them", hint="write lotame://all")
        address = parse_address(sources[0])
        if not isinstance(address, LotameAddress):
            raise UsageError(f"{sources[0]!r} is no feed of Lotame", hint="write lotame://FEED or lotame://all")
        if not target.is_prefix:
            raise UsageError(f"{target} is one key, and a feed has many files", hint=f"write {target}/")
        endpoint = _CREDENTIALS.sub("//", settings.resolve().connection.endpoint)
        return cls(
            address,
            target.key,
            f"{endpoint} {target}",
            str(Path(settings.state_path).absolute()),
            reach,
            aws,
            noting=not dry_run,
        )

    # -- a kind of what can be put ------------------------------------------------------------------------------

    @property
    def shown(self) -> list[str]:
        """The address."""
        return [str(self.address)]

    def source(self, *, wanted: Filter | None = None, listed: Iterable[bytes] | None = None) -> LotameSource:
        """Return what reads it; UsageError where some of it is to be left out, of which nobody would keep account."""
        if listed is not None or not (wanted is None or wanted.is_empty):
            raise UsageError("of a feed all is put that the target lacks: nothing of it can be chosen or left out")
        return self._source(None)

    def planned(self, plan: SavedPlan) -> LotameSource:
        """Return what reads those objects of it that a saved plan lists."""
        return self._source(plan.source_objects)

    def _source(self, planned: Callable[[], Iterator[SourceObject]] | None) -> LotameSource:
        from ds3tool.lotame.watermark import Watermarks
        from ds3tool.sources.lotame import LotamePlace, LotameSource

        place = LotamePlace(self.reach.client, lambda: Watermarks.open(self.state, self.destination), self.aws)
        return LotameSource(place, feed=self.address.feed, prefix=self.prefix, noting=self.noting, planned=planned)

    def asked(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again. Whose token is used is no part of it."""
        return {
            "lotame": {
                "feed": self.address.feed,
                "prefix": self.prefix,
                "destination": self.destination,
                "state": self.state,
                "reach": self.reach.mapping(),
                "aws": self.aws.mapping(),
            }
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> LotamePut:
        """Return what `asked` has kept; KeyError, TypeError or ValueError for what it has not."""
        feed = kept["feed"]
        return cls(
            LotameAddress(None if feed is None else int(feed)),
            str(kept["prefix"]),
            str(kept["destination"]),
            str(kept["state"]),
            Reach.of(kept["reach"]),
            AwsSettings.of(kept["aws"]),
        )

    def check_there(self, head: WorkHead) -> None:
        """See that Lotame knows who asks, and has the feed: else every file would seem to be gone."""
        with self.reach.client() as client:
            feeds = client.feeds()
        if self.address.feed is not None and all(one.id != self.address.feed for one in feeds):
            raise FarSideNotFoundError(
                f"Lotame has no feed {self.address.feed} any more, so nothing was done for work {head.id}",
                hint=f"if it is gone for good: ds3tool job forget {head.id}",
            )

    def moved_to(self, place: str) -> LotamePut:
        """Raise UsageError: Lotame's files are at Lotame."""
        raise UsageError(
            f"{place} cannot stand in for {self.address}: its files are at Lotame", hint="leave --source out"
        )

    def adopted(self, plan: PlannedJob) -> None:
        """Change nothing: it is where it was."""
