"""Lotame's API: the feeds of a client, and what is new in them."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from ds3tool.clock import Clock, RealClock
from ds3tool.errors import Ds3Error, ProtocolError
from ds3tool.lotame.answers import read_feeds, read_updates
from ds3tool.lotame.connections import connections_to, is_loopback
from ds3tool.lotame.model import Feed, Updates
from ds3tool.lotame.refusals import Reply, TriedAgainError, document, no_answer
from ds3tool.lotame.settings import LotameSettings

if TYPE_CHECKING:
    import tenacity
    import urllib3

_log = logging.getLogger(__name__)

# So many may ask at once, each transfer that finds its credentials over, without a word of urllib3 about it.
_CONNECTIONS = 64
# An answer is a list of names: a year of hourly files of a hundred feeds is below a third of this.
_LARGEST_ANSWER = 128 << 20
_LONGEST_BACKOFF_SECONDS = 30.0


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
        self._clock = clock or RealClock()
        self._stopped = stopped or threading.Event()
        self._max_retry_seconds = max_retry_seconds
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None
        if settings.base_url.startswith("http://") and not is_loopback(settings.base_url):
            _log.warning("%s is not encrypted: whoever listens learns Lotame's token", settings.base_url)

    def feeds(self) -> tuple[Feed, ...]:
        """Return all feeds of the client."""
        answer, _ = self._ask("/firehose/feeds", {})
        return read_feeds(answer)

    def updates(self, feed_id: int | None = None, since: datetime | None = None) -> Updates:
        """Return what is new since `since` (with a time zone; sent in whole seconds, rounded down; None: not sent).

        `feed_id` None asks for all feeds in one answer, whose credentials then have to last for all of them.
        """
        if since is not None and since.tzinfo is None:
            raise ValueError("a moment without its time zone is not a moment")
        asked = None if since is None else int(since.timestamp() // 1)
        query = {}
        if feed_id is not None:
            query["feed_id"] = str(feed_id)
        if asked is not None:
            query["since"] = str(asked)
        answer, reply = self._ask("/firehose/updates", query)
        sent = None if asked is None else datetime.fromtimestamp(asked, UTC)
        updates = read_updates(answer, since=sent, at=reply.at, obtained=reply.asked)
        if not reply.is_dated:
            _log.warning("Lotame's answer does not tell its time: what is new is reckoned from its files' times")
            updates = replace(updates, is_dated=False)
        if feed_id is not None and {feed.feed_id for feed in updates.feeds} - {feed_id}:
            raise ProtocolError(
                f"Lotame was asked for feed {feed_id}, and tells of another", hint="is feed_id lost on the way?"
            )
        return updates

    # -- one question ----------------------------------------------------------------------------------------------

    def _ask(self, path: str, query: Mapping[str, str]) -> tuple[Any, Reply]:
        """Return an answer's JSON and the reply that it came in."""
        url = f"{self.settings.base_url}{path}"
        target = f"{url}?{urlencode({'client_id': self.settings.client_id, **query})}"

        def once() -> tuple[Any, Reply]:
            reply = self._send(url, target)
            return document(reply, self.settings), reply

        return self._repeated(once)

    def _send(self, url: str, target: str) -> Reply:
        import urllib3

        asked = datetime.fromtimestamp(self._clock.time(), UTC)
        headers = {
            "x-lotame-token": self.settings.token,
            "x-lotame-access": self.settings.access,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "ds3tool",
        }
        try:
            response = self._connections().request(
                "GET", target, headers=headers, redirect=False, retries=False, preload_content=False
            )
            try:
                body = response.read(_LARGEST_ANSWER + 1, decode_content=True)
            except BaseException:
                response.close()
                raise
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(url, error) from error
        if len(body) > _LARGEST_ANSWER:
            response.close()
            raise ProtocolError(f"{url} answers with more than {_LARGEST_ANSWER >> 20} MiB")
        response.release_conn()
        shown = {name.lower(): value for name, value in response.headers.items()}
        return Reply(url, response.status, shown, body, asked)

    def _connections(self) -> urllib3.PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = connections_to(self.settings.base_url, kept=_CONNECTIONS)
            return self._pool

    # -- again -----------------------------------------------------------------------------------------------------

    def _repeated(self, call: Callable[[], tuple[Any, Reply]]) -> tuple[Any, Reply]:
        import tenacity

        started = self._clock.monotonic()
        last: TriedAgainError | None = None

        def wait(state: tenacity.RetryCallState) -> float:
            wish = _failure(state).after_seconds
            backoff = min(_LONGEST_BACKOFF_SECONDS, 2.0 ** min(state.attempt_number - 1, 8))
            # A wish of 0 is kept once; after that it is what a broken server says, and nobody may ask in a circle.
            if wish is None or (wish == 0 and state.attempt_number > 1):
                return backoff * (0.5 + random.random() / 2)  # noqa: S311  # no secrecy
            return wish

        def is_spent(state: tenacity.RetryCallState) -> bool:
            passed = self._clock.monotonic() - started
            return self._stopped.is_set() or passed + state.upcoming_sleep > self._max_retry_seconds

        def tell(state: tenacity.RetryCallState) -> None:
            nonlocal last
            last = _failure(state)
            _log.info("again in %.1f s (failure %d): %s", state.upcoming_sleep, state.attempt_number, last)
            if self._on_wait is not None:
                self._on_wait(last.error, state.upcoming_sleep)

        def rest(seconds: float) -> None:
            if self._clock.wait(self._stopped, seconds) and last is not None:
                raise last

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TriedAgainError),
            wait=wait,
            stop=is_spent,
            sleep=rest,
            before_sleep=tell,
            reraise=True,
        )
        try:
            return retrying(call)
        except TriedAgainError as error:
            raise error.error from error.__cause__

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._pool is not None:
                self._pool.clear()
                self._pool = None

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the connections back."""
        self.close()


def _failure(state: tenacity.RetryCallState) -> TriedAgainError:
    error = None if state.outcome is None else state.outcome.exception()
    assert isinstance(error, TriedAgainError)
    return error
