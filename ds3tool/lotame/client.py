"""Lotame's API: the feeds of a client, and what is new in them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from ds3tool.clock import Clock
from ds3tool.errors import Ds3Error
from ds3tool.lotame.model import Feed, Updates
from ds3tool.lotame.settings import LotameSettings


class LotameClient:
    """Asks Lotame. Every method may be called from any thread.

    What is worth it (no answer, 429, 5xx, an answer that broke off) is asked again with growing waits, or after what
    Retry-After wishes, for `max_retry_seconds` in all; `stopped` ends a wait, and `on_wait` is told why and how long.
    Redirects are not followed. Proxies are those of the environment; loopback addresses are reached directly.

    ==================================  ====================================================  =========
    what came                           what is raised                                        exit code
    ==================================  ====================================================  =========
    401; 403 with JSON                  FarSideDeniedError: token or access key               6
    403 with a web page or nothing      FarSideForbiddenError: a proxy, or no right to data   6
    407                                 ProxyRefusedError                                     7
    a redirect                          FarSideError "Redirected", says where to              1
    404                                 FarSideNotFoundError                                  4
    429, 408, 5xx, no answer            FarSideUnreachableError, when the time is spent       7
    another status                      FarSideError                                          1
    200 with a web page, broken JSON,   ProtocolError                                         1
    no `feeds`, a field of a wrong type
    a certificate that is refused       TlsError                                              7
    ==================================  ====================================================  =========
    """

    def __init__(
        self,
        settings: LotameSettings,
        *,
        clock: Clock | None = None,
        stopped: threading.Event | None = None,
        max_retry_seconds: float = 300.0,
        on_wait: Callable[[Ds3Error, float], None] | None = None,
    ) -> None:
        self.settings = settings
        self._seams = (clock, stopped, max_retry_seconds, on_wait)

    def feeds(self) -> tuple[Feed, ...]:
        """Return all feeds of the client."""
        raise NotImplementedError

    def updates(self, feed_id: int | None = None, since: datetime | None = None) -> Updates:
        """Return what is new since `since` (with a time zone; sent in whole seconds, rounded down; None: not sent).

        `feed_id` None asks for all feeds in one answer, whose credentials then have to last for all of them.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give the connections back."""

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the connections back."""
        self.close()
