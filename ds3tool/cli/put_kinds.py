"""What can be put, whatever kind of place it is in: what a put, a plan, a sync and `resume` ask of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ds3tool.filters import Filter
from ds3tool.jobs.ends import Source
from ds3tool.jobs.plan import PlannedJob

if TYPE_CHECKING:
    from ds3tool.jobs.planfile import SavedPlan
    from ds3tool.jobs.work_head import WorkHead


class Puttable(Protocol):
    """Something to put, as a command was told it and as a plan or a journal keeps it; no secret is in it."""

    @property
    def shown(self) -> list[str]:
        """Where it is: paths or addresses, for a sentence. Never empty, and nothing in them is a secret."""
        ...

    def source(self, *, wanted: Filter | None = None, listed: Iterable[bytes] | None = None) -> Source:
        """Return what reads it: what of it is `wanted`, and where names are `listed` only what these name."""
        ...

    def planned(self, plan: SavedPlan) -> Source:
        """Return what reads those objects of it that a saved plan lists."""
        ...

    def asked(self) -> dict[str, Any]:
        """Return what a plan or a journal keeps of it: one name, that of its kind, with what JSON can hold."""
        ...

    def check_there(self, head: WorkHead) -> None:
        """Raise a Ds3Error unless it can be reached, before an unfinished work goes on that would miss all of it."""
        ...

    def moved_to(self, place: str) -> Puttable:
        """Return the same at another place, as `resume --source` names one; UsageError where that cannot be."""
        ...

    def adopted(self, plan: PlannedJob) -> None:
        """Let a plan that was made before this was moved hold for what is there now; nothing where it was not."""
        ...


# Kinds by the name that plans and journals keep them under; each is imported when it is needed.
_Maker = Callable[[Mapping[str, Any]], Puttable]


def _files(kept: Mapping[str, Any]) -> Puttable:
    from ds3tool.cli.put_sources import FilesPut

    return FilesPut.of(kept)


def _s3(kept: Mapping[str, Any]) -> Puttable:
    from ds3tool.cli.put_s3 import S3Put

    return S3Put.of(kept)


def _urls(kept: Mapping[str, Any]) -> Puttable:
    from ds3tool.cli.put_urls import UrlsPut

    return UrlsPut.of(kept)


def _firehose(kept: Mapping[str, Any]) -> Puttable:
    from ds3tool.cli.put_layout import FirehosePut

    return FirehosePut.of(kept)


def _lotame(kept: Mapping[str, Any]) -> Puttable:
    from ds3tool.cli.put_lotame import LotamePut

    return LotamePut.of(kept)


KINDS: dict[str, _Maker] = {"lotame": _lotame, "files": _files, "s3": _s3, "firehose": _firehose, "urls": _urls}


def puttable_of(asked: Mapping[str, Any]) -> Puttable:
    """Return what a plan or a journal says that it puts.

    KeyError, TypeError or ValueError where it says nothing that this release knows.
    """
    for kind, made in KINDS.items():
        if kind in asked:
            return made(asked[kind])
    raise KeyError(" or ".join(KINDS))
