"""The credentials of one feed's files: asked for just before use, and again before they expire.

Several threads may use them at once: one asks, the others wait for what it gets, and none asks twice for one need.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ds3tool.aws.session import AwsSettings
from ds3tool.clock import Clock, RealClock
from ds3tool.lotame.model import S3Credentials

_log = logging.getLogger(__name__)

# They are asked for again when so much of their life has passed. Source: issue 5.
SHARE_OF_LIFE = 0.8
# What S3 says of credentials that are over, or that it does not know (any more).
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"})
# A request whose credentials were over is sent again with new ones so often.
_MOST_RENEWALS = 2
_METHOD = "lotame"
_RENEWALS = "ds3tool_renewals"


class FeedCredentials:
    """Credentials that are always fresh when they are asked for. Every method may be called from any thread.

    `ask` gets new ones from Lotame (`LotameClient.updates(feed, since).credentials`) and may raise what that raises;
    None means that the answer held none. `first` are those of an answer that came just now.
    """

    def __init__(
        self,
        ask: Callable[[], S3Credentials | None],
        *,
        first: S3Credentials | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._ask = ask
        self._clock = clock or RealClock()
        self._held = first
        self._lock = threading.Lock()
        self.asked = 0

    def current(self) -> S3Credentials:
        """Return credentials of whose life less than 80 % has passed; asks Lotame for new ones where need be.

        When the new ones cannot be had and the old ones still live, the old ones are returned. FarSideDeniedError
        when Lotame gives none, or such as are over already by this host's clock.
        """
        raise NotImplementedError

    def renew(self, failed: S3Credentials) -> S3Credentials:
        """Return others than `failed`, which S3 did not take: those that another thread has by now, or new ones."""
        raise NotImplementedError

    def client(self, aws: AwsSettings, *, connections: int = 10) -> Any:  # noqa: ANN401  # boto3 makes its types
        """Return a boto3 S3 client with these credentials; it renews them by itself, also on `ExpiredToken`."""
        raise NotImplementedError
