"""What it means when Lotame does not answer as it should: a sentence, an exit code and a way out for each shape."""

from __future__ import annotations

import json
import re
from dataclasses import field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from ds3tool.errors import (
    ConfigError,
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideForbiddenError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    ProtocolError,
    ProxyRefusedError,
    TlsError,
)
from ds3tool.lazy_dataclass import dataclass
from ds3tool.lotame.model import bare_address
from ds3tool.lotame.settings import BASE_URL, LotameSettings

if TYPE_CHECKING:
    import urllib3

_REFUSED_BY_PROXY = re.compile(r"Tunnel connection failed: (\d+)")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff]+")
_LONGEST_QUOTE = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: header names in lower case; `asked`: when the question was sent, by this host's clock."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)
    asked: datetime

    @property
    def at(self) -> datetime:
        """When it was answered: by the far clock, or by ours where that is behind it."""
        told = _date(self.headers.get("date", ""))
        return self.asked if told is None else min(told, self.asked)

    @property
    def is_dated(self) -> bool:
        """Whether the far side tells when it answered."""
        return _date(self.headers.get("date", "")) is not None

    @property
    def is_web_page(self) -> bool:
        """Whether it is meant for a person's browser."""
        kind = self.headers.get("content-type", "").lower()
        return "html" in kind or self.body.lstrip()[:1] == b"<"


class TriedAgainError(Exception):
    """`error` came, and another try may mend it: after `after_seconds`, where the far side wished for that."""

    def __init__(self, error: Ds3Error, after_seconds: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_seconds = after_seconds


def document(reply: Reply, settings: LotameSettings) -> Any:  # noqa: ANN401  # JSON
    """Return the JSON of a reply; raises what the reply means, TriedAgainError where another try may mend it."""
    if reply.status != 200:
        raise _refusal(reply, settings)
    if reply.is_web_page:
        raise ProtocolError(
            f"{reply.url} answers with a web page and status 200",
            hint="is there a proxy that wants you to sign in? "
            f"or is the base URL wrong (from {settings.origins.get('base_url', 'the default')}, usually {BASE_URL})?",
        )
    try:
        return json.loads(reply.body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        what = "breaks off" if _breaks_off(reply.body) else "is no JSON"
        cause = ProtocolError(
            f"the answer of {reply.url} {what} ({len(reply.body)} bytes)",
            hint="try again; where that does not help, something on the way spoils what passes",
        )
        raise TriedAgainError(cause) from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _breaks_off(body: bytes) -> bool:
    return body.rstrip()[-1:] not in {b"}", b"]"}


def _refusal(reply: Reply, settings: LotameSettings) -> Exception:
    status, url = reply.status, reply.url
    said = _said(reply, settings)
    tail = f": {said}" if said else ""
    about: dict[str, Any] = {"status": status, "request_id": reply.headers.get("x-request-id")}
    if 300 <= status < 400:
        told = reply.headers.get("location", "")
        where = _joined(url, told) if told else "a place that it does not name"
        return FarSideError(
            f"{url} redirects ({status}) to {where}, which is not followed: the token would go there too",
            code="Redirected",
            hint="if that is where Lotame is now, set LOTAME_BASE_URL or base_url to it",
            **about,
        )
    if status == 401 or (status == 403 and not reply.is_web_page and reply.body.strip()):
        return FarSideDeniedError(
            f"Lotame does not take the token or its access key ({status}){tail}",
            code="TokenRefused",
            hint=f"user tokens last 7 days, client tokens a year: get a new one{_origin(settings)}",
            **about,
        )
    if status == 403:
        what = "with a web page" if reply.body.strip() else "without a word"
        return FarSideForbiddenError(
            f"{url} is refused ({status}) {what}: by a proxy or firewall on the way, or because client "
            f"{settings.client_id} has no right to DataStream",
            code="Forbidden",
            hint="does curl get through from here? if so, ask Lotame whether this client may read its feeds",
            **about,
        )
    if status == 407:
        return ProxyRefusedError(
            f"the proxy on the way to {url} does not let this through (407)", hint="its name and password: https_proxy"
        )
    if status == 404:
        return FarSideNotFoundError(
            f"{url} is not there (404){tail}",
            hint=f"the base URL is usually {BASE_URL}, and feeds are listed by: ds3tool lotame feeds",
            **about,
        )
    if status == 429:
        seconds = _retry_after(reply)
        wish = "" if seconds is None else f", and wants {seconds:.0f} seconds of rest"
        return TriedAgainError(
            FarSideUnreachableError(f"Lotame is asked too often (429){wish}", hint="try again later"), seconds
        )
    if status == 408 or status >= 500:
        error = FarSideUnreachableError(
            f"Lotame fails ({status}){tail}", hint="try again later; nothing that was archived is lost"
        )
        return TriedAgainError(error, _retry_after(reply))
    return FarSideError(f"{url} answers with status {status}{tail}", hint="`-v` tells more", **about)


def no_answer(url: str, error: urllib3.exceptions.HTTPError) -> Exception:
    """Return what it means that no complete answer came."""
    import urllib3.exceptions as kinds

    if isinstance(error, kinds.ProxyError):
        refused = _REFUSED_BY_PROXY.search(str(error.original_error))
        if refused is not None:
            return ProxyRefusedError(
                f"the proxy on the way to {url} does not let this through ({refused[1]})",
                hint="is it the right one? no_proxy names hosts to reach directly",
            )
        return _unreachable(url, "the proxy does not answer", "https_proxy and http_proxy name it")
    if isinstance(error, kinds.SSLError):
        return TlsError(f"{url}: {_plain(str(error))}", hint="SSL_CERT_FILE names other authorities to trust")
    if isinstance(error, kinds.LocationValueError):
        return ConfigError(f"{url} cannot be the address of an API", hint=f"it is usually {BASE_URL}")
    if isinstance(error, kinds.NameResolutionError):
        return _unreachable(url, "its name is not known here", "is it spelt right, and is there a network?")
    if isinstance(error, kinds.NewConnectionError):
        reason = str(error).rpartition(": ")[2]
        return _unreachable(url, f"no connection ({_plain(reason)})", "is there a network, and must a proxy be named?")
    if isinstance(error, kinds.TimeoutError):
        return _unreachable(url, "no answer in time", "try again later")
    if isinstance(error, kinds.DecodeError):
        return _unreachable(url, "its compressed answer is damaged", "something on the way spoils what passes")
    return _unreachable(url, "the connection broke off before the answer was whole", "try again")


def _joined(url: str, told: str) -> str:
    try:
        return _plain(bare_address(urljoin(url, told)))
    except ValueError:
        return "a place that is no address"


def _unreachable(url: str, what: str, hint: str) -> TriedAgainError:
    return TriedAgainError(FarSideUnreachableError(f"{url}: {what}", hint=hint))


def _said(reply: Reply, settings: LotameSettings) -> str:
    """Return what a refusal says for itself, short, printable, and without the secrets that it may repeat."""
    if reply.is_web_page:
        return ""
    try:
        told = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ""
    words = told if isinstance(told, str) else ""
    if isinstance(told, dict):
        words = next((told[key] for key in ("message", "errorMessage", "error") if isinstance(told.get(key), str)), "")
    for secret in (settings.token, settings.access):
        words = words.replace(secret, "...")
    return _plain(words)


def _plain(words: str) -> str:
    return _UNPRINTABLE.sub(" ", words).strip().rstrip(".")[:_LONGEST_QUOTE]


def _origin(settings: LotameSettings) -> str:
    return f" ({settings.who})" if settings.who else ""


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds that Retry-After wishes, None where it says nothing that can be understood."""
    told = reply.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit() and len(told) < 10:
        return float(told)
    when, now = _date(told), _date(reply.headers.get("date", ""))
    return None if when is None else max(0.0, (when - (now or reply.asked)).total_seconds())


def _date(told: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
