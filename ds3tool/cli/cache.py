"""`ds3tool cache`: the disk in front of the tapes."""

from __future__ import annotations

from ds3tool.cli import messages
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field
from ds3tool.cli.settings import Settings, connect
from ds3tool.protocol.model import CacheFilesystem
from ds3tool.sizes import format_size

app = group("cache", "Show the cache, and make room in it.")


def _used_share(cache: CacheFilesystem) -> float | None:
    return round(cache.used_bytes / cache.total_bytes, 4) if cache.total_bytes else None


FIELDS: list[Field[CacheFilesystem]] = [
    Field("path", lambda cache: cache.path),
    Field("total_bytes", lambda cache: cache.total_bytes, heading="size", text=format_size, right=True),
    Field("used_bytes", lambda cache: cache.used_bytes, heading="used", text=format_size, right=True),
    Field("used_share", _used_share, heading="use", text=lambda share: f"{share:.0%}", right=True),
    Field("available_bytes", lambda cache: cache.available_bytes, heading="available", text=format_size, right=True),
    Field("locked_bytes", lambda cache: cache.locked_bytes, heading="held by jobs", text=format_size, right=True),
    Field("unavailable_bytes", lambda cache: cache.unavailable_bytes, heading="lost", text=format_size, tabled=False),
    Field("id", lambda cache: cache.id, tabled=False),
    Field("summary", lambda cache: cache.summary, tabled=False),
]


@command(app, "show", examples=["ds3tool cache show", "ds3tool cache show -o json"])
def show_cache(*, settings: Settings) -> None:
    """Show how full the cache is, and how much of it jobs hold."""
    with connect(settings) as client:
        settings.results().records(client.get_cache_state(), FIELDS)


@command(app, "reclaim", examples=["ds3tool cache reclaim"])
def reclaim(*, settings: Settings) -> None:
    """Drop from the cache what is on tape and belongs to no job."""
    with connect(settings) as client:
        client.reclaim_cache()
        messages.note("the cache was asked to drop what is on tape", quiet=settings.quiet)
        settings.results().records(client.get_cache_state(), FIELDS)
