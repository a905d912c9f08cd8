"""Where a get can land, whatever kind of place it is: what a get, a plan, a sync and `resume` ask of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ds3tool.jobs.ends import Sink

if TYPE_CHECKING:
    from ds3tool.jobs.work_head import WorkHead


class Receiving(Protocol):
    """A place that receives, as a command was told it and as a plan or a journal keeps it; no secret is in it."""

    @property
    def shown(self) -> str:
        """Where it is: a path or an address, for a sentence."""
        ...

    @property
    def verify(self) -> bool:
        """Whether whole blobs are fetched where a part is wanted, and digests of this host's journals are compared."""
        ...

    def sink(self, *, make: bool = True, work_id: str | None = None, state: Path | None = None) -> Sink:
        """Return the sink, which is the caller's to close; `make` False is for plans.

        `work_id` is the piece of work that receives, which finds again what it has left there; `state` the folder
        where this host keeps what it must remember of that.
        """
        ...

    def asked(self) -> dict[str, Any]:
        """Return what a plan keeps of it, as JSON can hold it."""
        ...

    def prepared(self) -> dict[str, Any]:
        """See that the place is there, made where that can be; return what a journal keeps of it. SinkError if not."""
        ...

    def check_there(self, head: WorkHead) -> None:
        """Raise a Ds3Error unless this is the place that an unfinished work was writing to, and can be reached."""
        ...

    def moved_to(self, place: str) -> Receiving:
        """Return the same at another place, as `resume --target` names one; UsageError where that cannot be."""
        ...

    def forget(self, work_id: str, names: Iterable[str], *, state: Path) -> int:
        """Remove what an unfinished work has left at the place; return how many unfinished objects that were.

        `names` are those of its objects, `state` is as for `sink`.
        """
        ...


def receiving_of(asked: Mapping[str, Any]) -> Receiving:
    """Return where a plan or a journal says that its objects go.

    KeyError, TypeError or ValueError where it says nothing that this release knows.
    """
    if "s3" in asked:
        from ds3tool.cli.get_s3 import S3Asked

        return S3Asked.of(asked["s3"])
    from ds3tool.cli.get_files import FilesAsked

    return FilesAsked.of(asked)
