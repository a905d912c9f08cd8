"""`ds3tool lotame`: Lotame's DataStream: its feeds, what is new in them, its files here and as tables."""

from __future__ import annotations

from ds3tool.cli import lotame_convert, lotame_feeds, lotame_pull
from ds3tool.cli.options import command, group

app = group(
    "lotame",
    "Lotame's DataStream: feeds, what is new in them, their files here or as a table. To archive them: ds3tool put "
    "lotame://all ds3://BUCKET/lotame/",
)

command(app, "feeds", examples=lotame_feeds.FEEDS_EXAMPLES)(lotame_feeds.feeds)
command(app, "updates", examples=lotame_feeds.UPDATES_EXAMPLES)(lotame_feeds.updates)
command(app, "pull", examples=lotame_pull.EXAMPLES)(lotame_pull.pull)
command(app, "convert", examples=lotame_convert.EXAMPLES)(lotame_convert.convert)
