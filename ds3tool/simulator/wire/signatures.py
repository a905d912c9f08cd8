"""Checks the Authorization header (AWS signature version 2) against every form a published SDK makes of it.

Source: protocol, 2.1 to 2.4. The raw request target is what counts, never a re-encoding of it.
"""

from __future__ import annotations

import base64
import email.utils
import functools
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.refusals import denied
from ds3tool.simulator.wire.targets import decode

# The window is not documented; AWS has this one. Source: protocol, 2.4.
ALLOWED_SKEW_SECONDS = 15 * 60
_SUB_RESOURCES = ("delete", "uploads", "versioning", "versions")
# What AWS and the Go and .NET SDKs sign beyond those above.
_AWS_RESOURCES = frozenset(
    (
        *(
            "acl",
            "delete",
            "lifecycle",
            "location",
            "logging",
            "notification",
            "partNumber",
            "policy",
            "requestPayment",
        ),
        *("torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website", "cors", "tagging"),
        *("response-content-type", "response-content-language", "response-expires", "response-cache-control"),
        *("response-content-disposition", "response-content-encoding"),
    )
)
_ESCAPE = re.compile("%[0-9a-fA-F]{2}")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature covers. `path` and `query` are raw; `pairs` are the headers as sent, in order."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    pairs: Sequence[tuple[str, str]]


class SecretKey:
    """A secret, ready to sign: its padded form is hashed once."""

    __slots__ = ("_base",)

    def __init__(self, secret: str) -> None:
        self._base = hmac.new(secret.encode(), digestmod="sha1")

    def sign(self, text: str) -> str:
        """Return the signature of `text`, in base64."""
        mac = self._base.copy()
        try:
            mac.update(text.encode("latin-1"))  # heads are read as Latin-1, so these are the bytes that arrived
        except UnicodeEncodeError:
            mac.update(text.encode())
        return base64.b64encode(mac.digest()).decode("ascii")


def access_id(headers: dict[str, str]) -> tuple[str, str]:
    """Return access id and signature of the Authorization header, or raise a 403."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    key, colon, signature = rest.strip().rpartition(":")
    if scheme != "AWS" or not colon:
        raise denied("AccessDenied[403]: The request needs an Authorization header of AWS signature version 2.")
    return key, signature


def check_signature(request: SignedRequest, signature: str, key: SecretKey) -> None:
    """Return when any form of the string to sign gives `signature`; raise a 403 otherwise."""
    for text in strings_to_sign(request):
        if hmac.compare_digest(key.sign(text).encode(), signature.encode("utf-8", "replace")):
            return
    raise denied(
        "SignatureDoesNotMatch[403]: The signature is not that of the request and the user's secret key.",
        names.SIGNATURE_DOES_NOT_MATCH,
    )


def check_clock(headers: dict[str, str], now: float) -> None:
    """Raise a 403 when the request's date is missing, unreadable or more than 15 minutes from `now`."""
    text = headers.get("x-amz-date") or headers.get("date")
    sent = _parse_date(text) if text else None
    if sent is None:
        raise denied("AccessDenied[403]: The request needs a Date header.")
    skew = sent - now
    if abs(skew) > ALLOWED_SKEW_SECONDS:
        raise denied(
            f"{names.REQUEST_TIME_TOO_SKEWED}[403]: Client clock differs from the server's by {round(skew)} seconds, "
            f"more than the {ALLOWED_SKEW_SECONDS} allowed.",
            names.REQUEST_TIME_TOO_SKEWED,
        )


@functools.lru_cache(maxsize=256)
def _parse_date(text: str) -> float | None:
    try:
        parsed = email.utils.parsedate_tz(text)
        if parsed is not None:
            return float(email.utils.mktime_tz(parsed))
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def strings_to_sign(request: SignedRequest) -> Iterator[str]:
    """Yield every string that a client may have signed for `request`; the usual ones come first, none comes twice."""
    headers = request.headers
    kinds = _unique([headers.get("content-type", ""), ""])
    digests = _unique([*checksums.checksum_texts(headers), "", headers.get("range", "")])
    dates = [headers.get("date", "")]
    if "x-amz-date" in headers:
        dates = _unique(["", headers.get("date", ""), headers["x-amz-date"]])
    lines = _unique(_amz_forms(request.pairs))
    resources = _unique(_resources(request.path, request.query))
    seen: set[str] = set()
    for resource in resources:
        for amz in lines:
            for kind in kinds:
                for checksum in digests:
                    for date in dates:
                        text = f"{request.verb}\n{checksum}\n{kind}\n{date}\n{amz}{resource}"
                        if text not in seen:
                            seen.add(text)
                            yield text


def _amz_forms(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    relevant = [(name, value) for name, value in pairs if name.lower().startswith("x-amz-")]
    if not relevant:
        yield ""
        return
    metadata = [(name, value) for name, value in relevant if name.lower().startswith(names.METADATA)]
    yield _lines(_joined(metadata))
    yield _lines(_joined(relevant))
    yield "".join(sorted(f"{name}:{value}\n" for name, value in metadata))
    yield "".join(sorted(f"{name}:{value}\n" for name, value in relevant))
    yield _lines({name: " ".join(value.split()) for name, value in _joined(relevant).items()})
    yield ""


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        lower = name.lower()
        joined[lower] = f"{joined[lower]},{value}" if lower in joined else value
    return joined


def _lines(values: dict[str, str]) -> str:
    return "".join(f"{name}:{values[name]}\n" for name in sorted(values))


def _resources(path: str, query: str) -> Iterator[str]:
    yield from _with_sub_resources(path, query)
    if path.count("/") == 1 and len(path) > 1:
        yield from _with_sub_resources(path + "/", query)  # what boto3 signs for a bucket, whatever it sends
    upper = _ESCAPE.sub(lambda match: match[0].upper(), path)
    if upper != path:
        yield from _with_sub_resources(upper, query)
    lower = _ESCAPE.sub(lambda match: match[0].lower(), path)
    if lower not in (path, upper):
        yield from _with_sub_resources(lower, query)


def _with_sub_resources(path: str, query: str) -> Iterator[str]:
    pairs = [part.partition("=") for part in query.split("&")] if query else []
    signed = [(name, value) for name, _, value in pairs if name in _SUB_RESOURCES]
    aws = sorted((decode(name), value) for name, _, value in pairs if decode(name) in _AWS_RESOURCES)
    if signed:
        # Java drops the values of all but `versioning`; Python keeps those that were sent.
        yield path + "".join(
            f"?{name}={value}" if name == "versioning" and value else f"?{name}" for name, value in signed
        )
        yield path + "".join(f"?{name}={value}" if value else f"?{name}" for name, value in signed)
    if aws:
        yield path + "?" + "&".join(f"{name}={value}" if value else name for name, value in aws)
        yield path + "?" + "&".join(f"{name}={decode(value)}" if value else name for name, value in aws)
        c_style = [(name, value) for name, value in aws if name in ("delete", "versioning", "versions")]
        if c_style:
            yield path + "?" + "&".join(f"{name}={value}" if value else name for name, value in c_style)
    yield path


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
