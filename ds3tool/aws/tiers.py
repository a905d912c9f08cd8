"""The tiers of restoring from the archive classes of S3."""

from __future__ import annotations

from enum import StrEnum


class Tier(StrEnum):
    """How soon, and at what price, objects are restored: minutes, hours, half a day."""

    EXPEDITED = "expedited"
    STANDARD = "standard"
    BULK = "bulk"

    @property
    def wire(self) -> str:
        """S3's word."""
        return self.value.capitalize()
