"""URLs of the web, presigned or public, as what is put: from a list, or a single one; no signature is ever kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from ds3tool.addresses import Ds3Address
from ds3tool.cli.naming import NamesFrom, opened_list
from ds3tool.errors import PathNotFoundError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Source
from ds3tool.jobs.plan import PlannedJob
from ds3tool.lazy_dataclass import dataclass
from ds3tool.renaming import Renaming
from ds3tool.sources.planned import PlannedSource
from ds3tool.sources.url_list import BadLine, ListedUrl, bare, is_url, parse_line, read_list

if TYPE_CHECKING:
    from ds3tool.jobs.planfile import SavedPlan
    from ds3tool.jobs.work_head import WorkHead

_STDIN = "-"


@dataclass(frozen=True, slots=True)
class UrlsPut:
    """A list of URLs as a put takes it: the file that holds it, with what its keys begin with; or one URL with its key.

    Of a list that came on stdin `path` is `-`, and `lines` holds it. Of a single URL `shown_url` is what may be shown
    and kept; `url`, with its signature, is known only to the command that was given it.
    """

    prefix: str
    path: str | None = None
    names: Renaming = field(default_factory=Renaming)
    end: bytes = b"\n"
    lines: tuple[bytes, ...] | None = field(default=None, repr=False)
    key: str | None = None
    shown_url: str | None = None
    url: str | None = field(default=None, repr=False)

    @classmethod
    def below(cls, sources: Sequence[str], target: Ds3Address, names: Renaming, names_from: NamesFrom) -> UrlsPut:
        """Return what `put https:// TARGET --files-from FILE`, or `put URL TARGET`, means."""
        if len(sources) > 1:
            raise UsageError("several URLs are put from a list", hint="put https:// TARGET --files-from FILE")
        (source,) = sources
        is_list = not source.partition("://")[2]
        if not is_list:
            if names_from.files_from is not None:
                raise UsageError(
                    "--files-from holds whole URLs, and there is another one beside it",
                    hint="put https:// TARGET --files-from FILE",
                )
            return cls._single(source, target, names)
        path = names_from.files_from
        if path is None:
            raise UsageError(
                "https:// names no URL", hint="put https:// TARGET --files-from FILE, or put 'https://HOST/PATH' TARGET"
            )
        prefix = target.as_prefix().key if target.key else ""
        end = b"\0" if names_from.null else b"\n"
        if path == _STDIN:
            with opened_list(path) as stream:
                return cls(prefix, path, names, end, tuple(stream.read().split(end)))
        opened_list(path).close()
        return cls(prefix, path, names, end)

    @classmethod
    def _single(cls, source: str, target: Ds3Address, names: Renaming) -> UrlsPut:
        one = _parsed(source)
        key = target.key + names(one.path.rpartition("/")[2]) if target.is_prefix else target.key
        return cls("", key=key, shown_url=bare(source), url=source)

    # -- a kind of what can be put ------------------------------------------------------------------------------

    @property
    def shown(self) -> list[str]:
        """The list's name, or the URL without what may be secret in it."""
        if self.path is None:
            return [str(self.shown_url)]
        return ["the URLs on stdin" if self.path == _STDIN else f"the URLs in {self.path}"]

    def source(self, *, wanted: Filter | None = None, listed: Iterable[bytes] | None = None) -> Source:
        """Return what reads what is at the URLs; the list itself says which they are."""
        from ds3tool.sources.urls import UrlSource

        del listed
        return UrlSource(self._entries, prefix=self.prefix, key=self.key, names=self.names, wanted=wanted)

    def _entries(self) -> Iterator[ListedUrl | BadLine]:
        if self.path is None:
            yield _parsed(str(self.url))
            return
        origin = "stdin" if self.path == _STDIN else self.path
        if self.lines is not None:
            yield from read_list(self.lines, origin=origin)
            return
        with opened_list(self.path) as stream:
            # A line of a list is a URL and a key: such a list fits into memory, as its objects' plan has to.
            lines = iter(stream) if self.end == b"\n" else iter(stream.read().split(self.end))
            yield from read_list(lines, origin=origin)

    def planned(self, plan: SavedPlan) -> Source:
        """Return what a saved plan lists of the URLs; UsageError where these are not in a file."""
        if self.path is None or self.path == _STDIN:
            raise UsageError(
                "the plan knows its URLs without what is after their ?, which is a secret and kept nowhere",
                hint="write the URLs into a file, and plan that: plan put https:// TARGET --files-from FILE",
            )
        return PlannedSource(self.source(), plan.source_objects)

    def asked(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again. No query of a URL is in it."""
        path = None if self.path is None else self.path if self.path == _STDIN else os.path.abspath(self.path)
        return {
            "urls": {
                "list": path,
                "null": self.end == b"\0",
                "url": self.shown_url,
                "prefix": self.prefix,
                "key": self.key,
                "strip": self.names.strip,
                "names": dict(self.names.names),
            }
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> UrlsPut:
        """Return what `asked` has kept; KeyError, TypeError or ValueError for what it has not."""
        path, key, url = (None if kept[name] is None else str(kept[name]) for name in ("list", "key", "url"))
        return cls(
            str(kept["prefix"]),
            path,
            Renaming(str(kept["strip"]), {str(old): str(new) for old, new in kept["names"].items()}),
            b"\0" if kept["null"] is True else b"\n",
            key=key,
            shown_url=url,
        )

    def check_there(self, head: WorkHead) -> None:
        """Raise UsageError or PathNotFoundError when the URLs themselves, which nothing keeps, are not at hand."""
        way_on = f"ds3tool resume {head.id}"
        if self.path is None and self.url is None:
            raise UsageError(
                f"what is after the ? of {self.shown_url} was a secret, and is kept nowhere",
                hint=f"give the URL again: {way_on} --source URL",
            )
        if self.path == _STDIN and self.lines is None:
            raise UsageError(
                "the list of URLs came on stdin, and is kept nowhere", hint=f"{way_on} --source FILE, with the list"
            )
        if self.path is not None and self.lines is None:
            try:
                opened_list(self.path).close()
            except PathNotFoundError as error:
                error.hint = f"write the list there again, or name another: {way_on} --source FILE"
                raise

    def moved_to(self, place: str) -> UrlsPut:
        """Return the same with another list, which may be signed anew; of a single URL, with that URL signed anew."""
        if self.path is None:
            if not is_url(place) or bare(place) != self.shown_url:
                raise UsageError(f"the work is to put {self.shown_url}, and {bare(place)} is something else")
            _parsed(place)
            return replace(self, url=place)
        if is_url(place):
            raise UsageError("the work puts a list of URLs", hint="--source FILE, with the list")
        return replace(self, path=os.path.abspath(place), lines=None)

    def adopted(self, plan: PlannedJob) -> None:
        """Leave the plan as it is: which list a URL stands in plays no role."""


def _parsed(url: str) -> ListedUrl:
    """Return a URL of the command line; UsageError, which quotes nothing secret, for what is none."""
    from ds3tool.errors import SourceError

    try:
        return parse_line(url.encode("utf-8", "surrogateescape").replace(b"\t", b" "), 1, origin="the command line")
    except SourceError as error:
        raise UsageError(f"{bare(url)!r} is no URL that can be read", hint=error.hint) from error
