"""The bucket that Lotame's files lie in, as much of S3 as reading it needs: lists, HEAD, GET with ranges and If-Match.

Not imitated: everything that writes, versions, presigned URLs, buckets in host names, several ranges in one request,
the skew of clocks (the simulation's clock may be moved, and that of who signs not).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import quote

from ds3tool.simulator.lotame.credentials import REGION, WRONG_REGION, CredentialDesk
from ds3tool.simulator.lotame.faults import LotameFault, LotameFaults
from ds3tool.simulator.lotame.feeds import FeedStore, StoredObject
from ds3tool.simulator.lotame.replies import Record, cut_in_body, slowly
from ds3tool.simulator.wire.messages import Cut, Reply, Request
from ds3tool.simulator.wire.refusals import Refusal
from ds3tool.simulator.wire.xmlout import escape

_XML = "application/xml"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PAGE_KEYS = 1000
# Credentials that Lotame issues are for reading files, and nothing else that S3 keeps with them.
_ABOUT_OBJECTS = frozenset({"acl", "attributes", "tagging", "torrent", "legal-hold", "retention"})


class Bucket:
    """Answers what is asked of the bucket. Every method may be called from any thread."""

    def __init__(
        self,
        store: FeedStore,
        desk: CredentialDesk,
        faults: LotameFaults,
        record: Record,
        now: Callable[[], float],
        *,
        slow_seconds: float,
        closing: threading.Event,
    ) -> None:
        self._store = store
        self._desk = desk
        self._faults = faults
        self._record = record
        self._now = now
        self._slow_seconds = slow_seconds
        self._closing = closing

    def handle(self, request: Request) -> Reply:
        """Return the answer to a request, and note it."""
        return self._record.answered("s3", request, self._answer)

    def refuse(self, refusal: Refusal, path: str) -> Reply:
        """Return a refusal as S3 tells it."""
        region = f"<Region>{REGION}</Region>" if refusal.code == WRONG_REGION else ""
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(refusal.code)}</Code>'
            f"<Message>{escape(refusal.message)}</Message>{region}<Resource>{escape(path)}</Resource></Error>"
        )
        return Reply(refusal.status, refusal.headers, text.encode(), _XML)

    def _answer(self, request: Request) -> Reply:
        name, key = request.target.bucket_and_name()
        path = request.target.path
        if self._faults.strike(LotameFault.S3_RESET, path):
            raise Cut(reset=True)
        if self._faults.strike(LotameFault.S3_SLOW_DOWN, path):
            raise Refusal(503, "SlowDown", "Please reduce your request rate.")
        strike = self._faults.strike(LotameFault.S3_EXPIRED, path)
        self._desk.check(request, key, self._now(), strike=strike)
        if request.verb not in {"GET", "HEAD"}:
            raise Refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        if name != self._store.bucket:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        if _ABOUT_OBJECTS.intersection(request.target.parameters):
            raise Refusal(403, "AccessDenied", "Access Denied")
        if key is None:
            if request.verb == "HEAD":
                return Reply(200, (("x-amz-bucket-region", REGION),))
            return self._list(request)
        stored = self._store.object(key, self._now())
        if stored is None or self._faults.strike(LotameFault.S3_MISSING, path):
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        return self._object(request, stored)

    # -- one object ------------------------------------------------------------------------------------------------

    def _object(self, request: Request, stored: StoredObject) -> Reply:
        data, etag = stored.data, f'"{stored.etag}"'
        # AWS takes an ETag without its quotes as well.
        wanted = [one.strip() for one in request.headers.get("if-match", "*").split(",")]
        if not {"*", etag, stored.etag}.intersection(wanted):
            raise Refusal(412, "PreconditionFailed", "At least one of the preconditions you specified did not hold")
        first, past = self._range(request, len(data))
        headers = [
            ("ETag", etag),
            ("Last-Modified", formatdate(stored.modified, usegmt=True)),
            ("Accept-Ranges", "bytes"),
        ]
        status = 200
        if (first, past) != (0, len(data)) or "range" in request.headers:
            status = 206
            headers.append(("Content-Range", f"bytes {first}-{past - 1}/{len(data)}"))
        body = data[first:past]
        if request.verb == "HEAD":
            return Reply(status, tuple(headers), b"", "binary/octet-stream", head_length=len(body))
        reply = Reply(status, tuple(headers), body, "binary/octet-stream")
        if len(body) > 1 and self._faults.strike(LotameFault.S3_CUT, request.target.path):
            return cut_in_body(reply)
        if body and self._faults.strike(LotameFault.S3_SLOW, request.target.path):
            return slowly(reply, self._slow_seconds, self._closing)
        return reply

    def _range(self, request: Request, size: int) -> tuple[int, int]:
        """Return the bytes that are wanted as (first, past the last); one that is no range counts for nothing."""
        found = _RANGE.fullmatch(request.headers.get("range", "").strip())
        if found is None or not (found[1] or found[2]):
            return 0, size
        if found[1]:
            first, past = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        else:
            first, past = max(0, size - int(found[2])), size
        if first >= size or first >= past:
            raise Refusal(416, "InvalidRange", "The requested range is not satisfiable")
        return first, past

    # -- a list ----------------------------------------------------------------------------------------------------

    def _list(self, request: Request) -> Reply:
        asked = request.target.parameters
        if asked.get("list-type") != "2":
            raise Refusal(501, "NotImplemented", "A header or query you provided implies functionality not implemented")
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        after = asked.get("continuation-token") or asked.get("start-after") or ""
        most = min(_PAGE_KEYS, int(asked.get("max-keys") or _PAGE_KEYS))
        encode = (lambda text: quote(text, safe="/")) if asked.get("encoding-type") == "url" else escape
        entries: list[tuple[str, str]] = []
        for stored in self._store.objects(self._now()):
            if not stored.key.startswith(prefix):
                continue
            below, _, _ = stored.key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            folder = f"{prefix}{below}{delimiter}" if delimiter and delimiter in stored.key[len(prefix) :] else None
            name = folder or stored.key
            if name > after and (not entries or entries[-1][0] != name):
                part = (
                    f"<CommonPrefixes><Prefix>{encode(name)}</Prefix></CommonPrefixes>"
                    if folder
                    else _content(stored, encode)
                )
                entries.append((name, part))
        page, cut = entries[:most], len(entries) > most
        parts = [
            f"<Name>{escape(self._store.bucket)}</Name><Prefix>{encode(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>",
            f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(cut).lower()}</IsTruncated>",
        ]
        if "encoding-type" in asked:
            parts.append("<EncodingType>url</EncodingType>")
        if cut and page:
            parts.append(f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>")
        text = "".join([*parts, *(part for _, part in page)])
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_NAMESPACE}">{text}</ListBucketResult>'
        )
        return Reply(200, (), body.encode(), _XML)


def _content(stored: StoredObject, encode: Callable[[str], str]) -> str:
    modified = datetime.fromtimestamp(int(stored.modified), UTC)
    return (
        f"<Contents><Key>{encode(stored.key)}</Key><LastModified>{modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
        f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{len(stored.data)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )
