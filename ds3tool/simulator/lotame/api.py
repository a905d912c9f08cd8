"""The face of a simulated Lotame: the calls that list feeds and updates, and every way of not answering them."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable

from ds3tool.simulator.lotame.credentials import CredentialDesk
from ds3tool.simulator.lotame.faults import LotameFault, LotameFaults
from ds3tool.simulator.lotame.feeds import FeedStore, SimulatedFeed
from ds3tool.simulator.lotame.replies import Record, cut_in_body, slowly
from ds3tool.simulator.wire.messages import Cut, Reply, Request
from ds3tool.simulator.wire.refusals import Refusal

ROOT = "/2"
WEB_MAPPING = "/static/behaviors.json.gz"
_JSON = "application/json"
_HTML = "text/html; charset=utf-8"
_FIREWALL = b"<html><head><title>403 Forbidden</title></head><body><h1>Access blocked by policy</h1></body></html>\n"
_SIGN_IN = b"<!DOCTYPE html>\n<html><body><form action='/login'>Please sign in to the network</form></body></html>\n"
_FAILURE = b"<html><body><h1>500 Internal Server Error</h1></body></html>\n"


class LotameApi:
    """Answers questions for feeds and updates. Every method may be called from any thread."""

    def __init__(
        self,
        store: FeedStore,
        desk: CredentialDesk,
        faults: LotameFaults,
        record: Record,
        now: Callable[[], float],
        *,
        token: str,
        access: str,
        client_id: str,
        retry_after: int,
        slow_seconds: float,
        closing: threading.Event,
        web: Callable[[], str],
    ) -> None:
        """`web` returns the address that mapping files on the web lie below."""
        self._store = store
        self._desk = desk
        self._faults = faults
        self._record = record
        self._now = now
        self._token = token
        self._access = access
        self._client_id = client_id
        self._retry_after = retry_after
        self._slow_seconds = slow_seconds
        self._closing = closing
        self._web = web

    def handle(self, request: Request) -> Reply:
        """Return the answer to a request, and note it."""
        if request.target.path == WEB_MAPPING:
            return self._record.answered("web", request, self._mapping)
        return self._record.answered("api", request, self._answer)

    def refuse(self, refusal: Refusal, path: str) -> Reply:  # noqa: ARG002 - the message says it where it matters
        """Return a refusal as the API tells it."""
        return _json({"status": refusal.status, "code": refusal.code, "message": refusal.message}, refusal.status)

    def _mapping(self, request: Request) -> Reply:
        found = self._store.object(self._store.mapping_key(self._store.feeds()[0].id), self._now())
        if found is None or request.verb not in {"GET", "HEAD"}:
            raise Refusal(404, "NotFound", "There is nothing here.")
        headers = (("ETag", f'"{found.etag}"'),)
        if request.verb == "HEAD":
            return Reply(200, headers, b"", "application/gzip", head_length=len(found.data))
        return Reply(200, headers, found.data, "application/gzip")

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Reply:
        path = request.target.path
        if (instead := self._instead(path)) is not None:
            return instead
        self._check(request)
        if request.verb != "GET":
            raise Refusal(405, "MethodNotAllowed", f"{request.verb} is not allowed here.")
        if path == f"{ROOT}/firehose/feeds":
            told = self._feeds()
        elif path == f"{ROOT}/firehose/updates":
            told = self._updates(request)
        else:
            raise Refusal(404, "NotFound", "There is no such resource.")
        return self._spoilt(path, told)

    def _instead(self, path: str) -> Reply | None:
        """Return what is answered in place of the answer, where a fault strikes."""
        strikes = self._faults.strike
        if strikes(LotameFault.API_NO_ANSWER, path):
            raise Cut(reset=True)
        if strikes(LotameFault.API_401, path):
            raise Refusal(401, "Unauthorized", "The token has expired.")
        if strikes(LotameFault.API_403_JSON, path):
            raise Refusal(403, "Forbidden", "The access key is not valid.")
        if strikes(LotameFault.API_403_HTML, path):
            return Reply(403, (), _FIREWALL, _HTML)
        if strikes(LotameFault.API_REDIRECT, path):
            where = "https://login.example.invalid/sso?ticket=SECRET-TICKET"
            return Reply(302, (("Location", where),), b"", _HTML)
        if strikes(LotameFault.API_429, path):
            headers = (("Retry-After", str(self._retry_after)),)
            return Reply(429, headers, b'{"message": "Rate limit exceeded"}', _JSON)
        if strikes(LotameFault.API_500, path):
            return Reply(500, (), _FAILURE, _HTML)
        if strikes(LotameFault.API_NO_FEEDS, path):
            return _json({"message": "The service is in maintenance."})
        if strikes(LotameFault.API_HTML_200, path):
            return Reply(200, (), _SIGN_IN, _HTML)
        return None

    def _spoilt(self, path: str, told: dict[str, object]) -> Reply:
        if self._faults.strike(LotameFault.API_WRONG_TYPES, path):
            return _json({**told, "feeds": "none today"})
        reply = _json(told)
        assert isinstance(reply.body, bytes)
        if self._faults.strike(LotameFault.API_TRUNCATED, path):
            return Reply(200, (), reply.body[: len(reply.body) // 2], _JSON)
        if self._faults.strike(LotameFault.API_CUT, path):
            return cut_in_body(reply)
        if self._faults.strike(LotameFault.API_SLOW, path):
            return slowly(reply, self._slow_seconds, self._closing)
        return reply

    def _check(self, request: Request) -> None:
        for name, right in (("x-lotame-token", self._token), ("x-lotame-access", self._access)):
            told = request.headers.get(name)
            if told is None:
                raise Refusal(401, "Unauthorized", f"The header {name} is missing.")
            if not hmac.compare_digest(told.encode(), right.encode()):
                raise Refusal(403, "Forbidden", f"The value {told} of {name} is not valid.")
        client_id = request.target.parameters.get("client_id")
        if client_id is None:
            raise Refusal(400, "BadRequest", "client_id is missing.")
        if client_id != self._client_id:
            raise Refusal(403, "Forbidden", "This token has no right to that client.")

    # -- answers ---------------------------------------------------------------------------------------------------

    def _feeds(self) -> dict[str, object]:
        return {
            "feeds": [
                {
                    "id": feed.id,
                    "clientId": int(self._client_id) if self._client_id.isdigit() else None,
                    "type": feed.type,
                    "profileType": feed.profile_type,
                    **({} if feed.mapping is None else {"metadataFile": self._mapping_place(feed)}),
                }
                for feed in self._store.feeds()
            ]
        }

    def _updates(self, request: Request) -> dict[str, object]:
        asked = request.target.parameters
        since = _whole(asked, "since")
        number = _whole(asked, "feed_id")
        feeds = [feed for feed in self._store.feeds() if number in {None, feed.id}]
        if not feeds:
            raise Refusal(404, "NotFound", f"There is no feed {number}.")
        now = self._now()
        prefixes = {f"{self._store.location(feed.id)}/" for feed in feeds}
        prefixes |= {self._store.mapping_key(feed.id) for feed in feeds if feed.mapping is not None}
        return {
            "feeds": [self._news(feed, since, now) for feed in feeds],
            "s3creds": self._desk.issue(now, tuple(sorted(prefixes))).told(),
        }

    def _news(self, feed: SimulatedFeed, since: int | None, now: float) -> dict[str, object]:
        files = [one.name for one in self._store.files(feed.id, since=since, now=now)]
        told: dict[str, object] = {"id": feed.id, "files": files}
        if files:  # a feed without news has no location
            told["location"] = f"s3://{self._store.bucket}/{self._store.location(feed.id)}"
        if feed.mapping is not None:
            told["metaDataFile"] = self._mapping_place(feed)
        return told

    def _mapping_place(self, feed: SimulatedFeed) -> str:
        if feed.mapping == "http":
            return f"{self._web()}{WEB_MAPPING}"
        return f"s3://{self._store.bucket}/{self._store.mapping_key(feed.id)}"


def _whole(asked: dict[str, str], name: str) -> int | None:
    told = asked.get(name)
    if told is None:
        return None
    if not told.isascii() or not told.lstrip("-").isdigit():
        raise Refusal(400, "BadRequest", f"{name} is not a number.")
    return int(told)


def _json(told: dict[str, object], status: int = 200) -> Reply:
    return Reply(status, (("Cache-Control", "no-store"),), json.dumps(told).encode(), _JSON)
