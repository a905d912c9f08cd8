"""What this host has sent, for commands that hold what comes back against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds3tool.cli.settings import Settings
from ds3tool.client import Ds3Client
from ds3tool.jobs.sent_digests import SentDigests

if TYPE_CHECKING:
    from ds3tool.jobs.verification import Ledger


def sent_digests(client: Ds3Client, bucket: str, settings: Settings, *, always: bool) -> SentDigests:
    """Return what this host's journals know of the objects in a bucket; `always`: also beside the appliance's word."""

    def open_ledger() -> Ledger:
        from ds3tool.jobs.ledger import BucketLedger

        return BucketLedger(settings.state_path, client.get_bucket(bucket).id)

    return SentDigests(open_ledger, always=always)
