"""The credentials of one feed's files: asked for just before use, and again before they expire.

Several threads may use them at once: one asks, the others wait for what it gets, and none asks twice for one need.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from ds3tool.aws.session import AwsSettings
from ds3tool.clock import Clock, RealClock
from ds3tool.errors import Ds3Error, FarSideDeniedError
from ds3tool.lotame.model import S3Credentials

_log = logging.getLogger(__name__)

# They are asked for again when so much of their life has passed. Source: issue 5.
SHARE_OF_LIFE = 0.8
# After Lotame could not be asked, credentials that still live are used for so long before it is asked again.
_PAUSE = timedelta(minutes=1)
# What S3 says of credentials that are over, or that it does not know (any more).
EXPIRED_CODES = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"}
)
# A request that S3 refuses because its credentials are over is sent again with others. It is given up once those were
# refused too that it had asked for itself, so often; or after so many tries, where others used up all that there was.
_MOST_RENEWALS = 4
_MOST_TRIES = 20
_RENEWALS = "ds3tool_renewals"
_TRIES = "ds3tool_tries"
_REGION_HEADER = "x-amz-bucket-region"
_SIGNED_WITH = "ds3tool_signed_with"


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
        self._failure: Ds3Error | None = None
        self._failures = 0
        self._not_before = datetime.min.replace(tzinfo=UTC)

    def current(self) -> S3Credentials:
        """Return credentials of whose life less than 80 % has passed; asks Lotame for new ones where need be.

        When new ones cannot be had and the old ones still live, the old ones are returned. FarSideDeniedError when
        Lotame gives none, or such as are over already by this host's clock.
        """
        with self._turn() as failure:
            held, now = self._held, self._now()
            lives = held is not None and now < held.expires
            if held is not None and (held.is_fresh(now, share=SHARE_OF_LIFE) or (lives and now < self._not_before)):
                return held
            try:
                if failure is not None:
                    raise failure
                return self._get(now)
            except Ds3Error as error:
                now = self._now()
                if held is None or now >= held.expires:
                    raise
                _log.warning("the old credentials are used while they live: %s", error)
                self._not_before = now + _PAUSE
                return held

    def renew(self, failed: S3Credentials) -> S3Credentials:
        """Return others than `failed`, which S3 did not take: those that another thread has by now, or new ones."""
        return self._renewed(failed)[0]

    def _renewed(self, failed: S3Credentials) -> tuple[S3Credentials, bool]:
        """Return what `renew` does, and whether Lotame was asked for them just now."""
        with self._turn() as failure:
            if self._held is not None and self._held != failed:
                return self._held, False
            self._held = None
            if failure is not None:
                raise failure
            return self._get(self._now()), True

    @contextmanager
    def _turn(self) -> Iterator[Ds3Error | None]:
        """Hold the lock. Whoever waited while another asked in vain is given that failure, and need not ask as well."""
        failures = self._failures
        with self._lock:
            yield self._failure if self._failures > failures else None

    def _get(self, now: datetime) -> S3Credentials:
        try:
            got = self._asked(now)
        except Ds3Error as error:
            self._failure, self._failures = error, self._failures + 1
            raise
        self._held, self._failure = got, None
        _log.info("new credentials for S3, good until %s", got.expires.isoformat())
        return got

    def _asked(self, now: datetime) -> S3Credentials:
        got = self._ask()
        if got is None:
            raise FarSideDeniedError(
                "Lotame gives no credentials for this feed's files", hint="ask Lotame whether the feed is still yours"
            )
        if got.expires <= now:
            raise FarSideDeniedError(
                f"the credentials that Lotame gives are over since {got.expires:%Y-%m-%d %H:%M:%S} UTC",
                hint="is this host's clock right?",
            )
        return got

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def client(self, aws: AwsSettings, *, connections: int = 10, **others: Any) -> Any:  # noqa: ANN401  # botocore's
        """Return a boto3 S3 client with these credentials; it renews them by itself, also on `ExpiredToken`.

        Each request is signed with what `current` returns then, whatever that raises. One that S3 refuses because its
        credentials are over is sent again with new ones, a few times. Endpoint and region are those of `aws`, and
        `others` are what its clients take beside.
        """
        client = aws.client("s3", connections=connections, provider=_NobodyElse(), **others)
        # Ahead of botocore's own: what that does about a refusal is then signed with the new ones.
        client.meta.events.register("before-sign.s3", self._before_signing)
        client.meta.events.register_first("needs-retry.s3", self._after_answer)
        return client

    def _before_signing(self, request: Any, **_: Any) -> None:  # noqa: ANN401  # botocore's own
        import botocore.credentials

        now = self.current()
        frozen = botocore.credentials.Credentials(now.access_key_id, now.secret_access_key, now.session_token)
        request.context["signing"] = {**request.context.get("signing", {}), "request_credentials": frozen}
        request.context[_SIGNED_WITH] = now

    def _after_answer(self, response: Any, request_dict: Any, **_: Any) -> int | None:  # noqa: ANN401  # botocore's own
        """Return 0 (send it again, now) when the credentials were over and others are here; else None."""
        context = request_dict["context"]
        used: S3Credentials | None = context.get(_SIGNED_WITH)
        if used is None or response is None:
            return None
        error = response[1].get("Error", {})
        # The answer to a HEAD has no body that could tell why, only a bare 400: that is what credentials that are over
        # get, and a wrong region, which botocore itself looks into (by a request more, whose failure would be this
        # one's). It is let do that once new credentials have not helped, or where the answer names the region.
        is_bare = error.get("Code") == "400"
        tries = context.get(_TRIES, 0)
        headers = response[1].get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if is_bare and tries != 1 and _REGION_HEADER not in headers:
            error["Code"], error["Message"] = "ExpiredToken", "the credentials for it are over, it seems"
        if not is_bare and error.get("Code") not in EXPIRED_CODES:
            return None
        context[_TRIES] = tries + 1
        if context.get(_RENEWALS, 0) >= _MOST_RENEWALS or tries >= _MOST_TRIES:
            return None
        asked = self._renewed(used)[1]
        context[_RENEWALS] = context.get(_RENEWALS, 0) + int(asked)
        return 0


class _NobodyElse:
    """A provider without credentials: each request is signed with those that are right for it then."""

    METHOD = "lotame"

    def load(self) -> None:
        """Return none."""
