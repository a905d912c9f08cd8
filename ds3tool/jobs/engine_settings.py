"""How many blobs an engine has on their way at once."""

from __future__ import annotations

from ds3tool.lazy_dataclass import dataclass

# On a loopback or in one room so many connections reach what the wire can do. Source: measured.
DEFAULT_TRANSFERS = 4
MOST_TRANSFERS = 16
DEFAULT_LANES = 16
MOST_LANES = 64


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How many blobs may be on their way at once: large ones by threads, small ones by connections of one loop.

    Beyond `transfers` more threads are tried, up to `most` of them, as long as they make it faster; and beyond `lanes`
    more connections, up to `most_lanes`.
    """

    transfers: int = DEFAULT_TRANSFERS
    lanes: int = DEFAULT_LANES
    most: int = 0
    most_lanes: int = 0

    @classmethod
    def of(cls, transfers: int | None) -> EngineSettings:
        """Return the settings that `--transfers N` means: N of either kind; without it what turns out to be best."""
        return cls(most=MOST_TRANSFERS, most_lanes=MOST_LANES) if transfers is None else cls(transfers, transfers)

    @property
    def for_distant(self) -> EngineSettings:
        """The same for what lies on another host: small blobs are threads' work there, and wait for that host."""
        return EngineSettings(max(self.transfers, self.lanes), self.lanes)
