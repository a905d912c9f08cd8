"""Files of this host as the place where a get lands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds3tool.addresses import LocalAddress, parse_address
from ds3tool.cli.work_words import words_of
from ds3tool.errors import PathNotFoundError, UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sinks.leftovers import sweep
from ds3tool.sinks.links import Links
from ds3tool.sinks.local import LocalSink
from ds3tool.sinks.whole import RereadSink
from ds3tool.sources.attributes import Inodes

if TYPE_CHECKING:
    from ds3tool.jobs.work_head import WorkHead


@dataclass(frozen=True, slots=True)
class FilesAsked:
    """Where files of a get land, and how they are made.

    `verify`: whole blobs are fetched where a part is wanted, and whole files are read again before they appear, where
    a digest of the whole is kept with the object. `moved`: another folder than the one that was asked for.
    """

    folder: str
    preserve: bool = False
    links: Links = Links.INSIDE
    verify: bool = False
    inode: int = 0
    moved: bool = False

    @property
    def shown(self) -> str:
        """The folder."""
        return self.folder

    def sink(self, *, make: bool = True, work_id: str | None = None, state: Path | None = None) -> LocalSink:
        """Return the sink, which is the caller's to close; `make` False is for plans.

        `work_id` is the piece of work that receives, which finds again what it has left there.
        """
        del state  # what is unfinished stands beside its place, under the work's name
        kind = RereadSink if self.verify else LocalSink
        return kind(self.folder, preserve=self.preserve, links=self.links, make=make, token=work_id)

    def asked(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again, from wherever that is."""
        return {
            "folder": os.path.abspath(self.folder),
            "preserve": self.preserve,
            "links": self.links.value,
            "verify": self.verify,
        }

    def prepared(self) -> dict[str, Any]:
        """Return the same with what the folder is known by, which is made if need be. SinkError if it cannot be."""
        self.sink().close()
        return {**self.asked(), "folder_inode": _inode_of(self.folder)}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> FilesAsked:
        """Return what `asked` or `prepared` has kept; KeyError, TypeError or ValueError for what they have not."""
        return cls(
            str(kept["folder"]),
            kept["preserve"] is True,
            Links(kept["links"]),
            kept["verify"] is True,
            int(kept.get("folder_inode") or 0),
        )

    def check_there(self, head: WorkHead) -> None:
        """See that the folder is the one that was written to, and not what its disk was mounted over."""
        if self.moved:
            return
        hint = f"is its disk mounted? to go on in another folder: ds3tool resume {head.id} --target DIR"
        if not os.path.isdir(self.folder):
            raise PathNotFoundError(
                f"{self.folder} is not there, so nothing was done for work {head.id}, {words_of(head, [self.shown])}",
                hint=hint,
            )
        found = _inode_of(self.folder)
        if self.inode and found and self.inode != found and not os.listdir(self.folder):
            raise PathNotFoundError(
                f"{self.folder} is empty and another folder than before, so nothing was done for work {head.id}, "
                f"{words_of(head, [self.shown])}",
                hint=f"{hint}; that may be this one",
            )

    def moved_to(self, place: str) -> FilesAsked:
        """Return the same in another folder, which need not be there; UsageError for what is no path."""
        if not isinstance(parse_address(place), LocalAddress):
            raise UsageError(f"{place} is no folder of this host, where the work's files go")
        return replace(self, folder=os.path.abspath(place), inode=0, moved=True)

    def forget(self, work_id: str, names: Iterable[str], *, state: Path) -> int:
        """Remove the work's temporary files beside objects of these names; return how many there were."""
        del state
        return sweep(self.folder, work_id, names)


def _inode_of(folder: str) -> int:
    """Return what tells a folder from another that has its path, such as what a disk is mounted over; 0 without."""
    try:
        return Inodes().of(os.stat(folder))
    except OSError:
        return 0
