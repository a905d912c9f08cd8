"""The option `--lotame-properties`, for every command that reaches Lotame."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli.options import option_group
from ds3tool.cli.settings import Settings
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.cli.lotame_reach import Reach


@option_group("Lotame")
@dataclass(frozen=True, slots=True)
class LotameOptions:
    """What `--lotame-properties` was given."""

    lotame_properties: Annotated[
        Path | None,
        typer.Option(
            "--lotame-properties",
            metavar="FILE",
            help="File with token, access and client_id; else LOTAME_TOKEN, ..., the profile, ~/lotame.properties.",
        ),
    ] = None

    def reach(self, settings: Settings) -> "Reach":
        """Return how Lotame is reached, for a command and for the journal of its work."""
        from ds3tool.cli.lotame_reach import Reach

        config = settings.config_path
        return Reach(
            None if self.lotame_properties is None else str(self.lotame_properties.absolute()),
            None if config is None else str(config.absolute()),
            settings.profile,
            settings.max_retry_seconds,
        )
