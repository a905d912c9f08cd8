"""How commands reach Lotame: whose token, which S3 its files lie in, since when is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds3tool.addresses import LotameAddress, parse_address
from ds3tool.cli import logs, messages
from ds3tool.cli.options import option_group
from ds3tool.cli.settings import Settings
from ds3tool.errors import UsageError
from ds3tool.filters import parse_moment
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.aws.session import AwsSettings
    from ds3tool.cli.aws_options import AwsOptions
    from ds3tool.lotame.client import LotameClient

# As an appliance is waited for, unless --max-retry-time says otherwise.
_PATIENCE_SECONDS = 900.0
# Source: the cookbook's downloader.
_REGION = "us-east-1"

Feed = Annotated[str, typer.Option("--feed", metavar="ID", help="One feed, by its number; else all of them.")]


@dataclass(frozen=True, slots=True)
class Reach:
    """Where Lotame's settings are found; a journal may keep it, for no secret is in it.

    `properties` is the file that was named, `config` the configuration file that was, `profile` the profile in use;
    `patience` is how long one question is repeated, in seconds, which no journal keeps.
    """

    properties: str | None = None
    config: str | None = None
    profile: str | None = None
    patience: float = _PATIENCE_SECONDS

    def client(self, stopped: threading.Event | None = None) -> LotameClient:
        """Return a client of Lotame, which is the caller's to close; ConfigError where a token lacks.

        `stopped` ends its waiting.
        """
        from ds3tool.lotame.client import LotameClient
        from ds3tool.lotame.settings import find_settings

        settings = Settings(config_path=None if self.config is None else Path(self.config), profile=self.profile)
        found = find_settings(file=self.properties, profile=settings.profile_table("lotame"))
        for secret in (found.token, found.access):
            logs.hide(secret)
        notes = messages.RetryNotes(max_retry_seconds=self.patience)
        return LotameClient(found, max_retry_seconds=self.patience, on_wait=notes, stopped=stopped)

    def mapping(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again."""
        return {"properties": self.properties, "config": self.config, "profile": self.profile}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Reach:
        """Return what `mapping` has kept; KeyError for what it has not."""
        properties, config, profile = (
            None if kept[name] is None else str(kept[name]) for name in ("properties", "config", "profile")
        )
        return cls(properties, config, profile)


@option_group("Since when")
@dataclass(frozen=True, slots=True)
class SinceOptions:
    """What `--since` and `--hours` were given."""

    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="What is new since: an age (2d, 6h) or a date (2024-01-31, UTC)."),
    ] = None
    hours: Annotated[
        float | None, typer.Option("--hours", metavar="N", help="What is new since so many hours ago.")
    ] = None

    def moment(self) -> datetime | None:
        """Return since when is to be asked, None where nothing was given; UsageError for what is no such time."""
        if self.since is not None and self.hours is not None:
            raise UsageError("--since and --hours say the same thing twice", hint="give one of them")
        now = time.time_ns()
        if self.since is not None:
            moment = datetime.fromtimestamp(parse_moment(self.since, now_ns=now) // 1_000_000_000, UTC)
            if moment > datetime.now(UTC):
                raise UsageError(f"nothing is new since {self.since}, which is yet to come")
            return moment
        if self.hours is None:
            return None
        if not 0 < self.hours <= 24 * 3660:
            raise UsageError(f"--hours {self.hours:g} is no number of hours", hint="a number above zero, such as 24")
        return datetime.now(UTC) - timedelta(hours=self.hours)


def files_of(aws: AwsOptions) -> AwsSettings:
    """Return where Lotame's files lie: in its own buckets, of which ours say nothing."""
    return replace(aws.not_ours(), region=aws.s3_region or _REGION)


def feed_of(text: str) -> int | None:
    """Return the feed that `--feed` names, None for all; UsageError for what is no feed's number."""
    address = parse_address(f"lotame://{text}")
    assert isinstance(address, LotameAddress)
    return address.feed
