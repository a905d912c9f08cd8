"""`ds3tool lotame feeds` and `ds3tool lotame updates`: what Lotame has, and what of it is new."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from ds3tool.cli.lotame_options import LotameOptions
from ds3tool.cli.lotame_reach import Feed, SinceOptions, feed_of
from ds3tool.cli.output import Field
from ds3tool.cli.settings import Settings
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.model import Feed as KnownFeed
from ds3tool.lotame.model import FeedUpdates

if TYPE_CHECKING:
    from ds3tool.lotame.client import LotameClient

FEEDS_EXAMPLES = ("ds3tool lotame feeds", "ds3tool lotame feeds -o json")
UPDATES_EXAMPLES = (
    "ds3tool lotame updates --hours 6",
    "ds3tool lotame updates --feed 9001 --since 2024-01-31 -o ndjson",
)

_FEED_FIELDS: list[Field[KnownFeed]] = [
    Field("id", lambda feed: feed.id, right=True),
    Field("client_id", lambda feed: feed.client_id, heading="client", right=True),
    Field("type", lambda feed: feed.type),
    Field("profile_type", lambda feed: feed.profile_type, heading="profiles"),
    Field("mapping", lambda feed: None if feed.mapping is None else str(feed.mapping)),
]


@dataclass(frozen=True, slots=True)
class _NewFile:
    """A file that Lotame lists; of a feed without news, one line without a file."""

    feed: FeedUpdates
    name: str | None
    at: datetime

    @property
    def place(self) -> str | None:
        return None if self.name is None else str(self.feed.where(self.name))


_FILE_FIELDS: list[Field[_NewFile]] = [
    Field("feed", lambda one: one.feed.feed_id, right=True),
    Field("region", lambda one: one.feed.region),
    Field("profile_type", lambda one: one.feed.profile_type, heading="profiles"),
    Field("file", lambda one: one.name, tabled=False),
    Field("mapping", lambda one: None if one.feed.mapping is None else str(one.feed.mapping), tabled=False),
    Field("answered", lambda one: one.at, tabled=False),
    Field("place", lambda one: one.place),
]


def feeds(*, lotame: LotameOptions, settings: Settings) -> None:
    """List the client's feeds: their numbers, what kind of profiles is in them, and where their mapping file is."""
    with lotame.reach(settings).client() as client:
        found = client.feeds()
    settings.results().records(sorted(found, key=lambda feed: feed.id), _FEED_FIELDS)


def updates(
    *,
    feed: Feed = "all",
    when: SinceOptions,
    lotame: LotameOptions,
    settings: Settings,
) -> None:
    """List the files that are new in a feed, or in all: what Lotame lists, whether or not it was archived before.

    Without --since or --hours everything is listed that Lotame still tells of. A feed without news has one line
    without a place. The credentials that Lotame sends along are never shown; nothing is remembered.
    """
    since, wanted = when.moment(), feed_of(feed)
    with lotame.reach(settings).client() as client:
        settings.results().records(_news(client, wanted, since), _FILE_FIELDS)


def _news(client: LotameClient, wanted: int | None, since: datetime | None) -> Iterator[_NewFile]:
    numbers = [wanted] if wanted is not None else sorted(one.id for one in client.feeds())
    for number in numbers:
        answer = client.updates(number, since)
        found = answer.feed(number) or FeedUpdates(number)
        for name in found.files or (None,):
            yield _NewFile(found, name, answer.at)
