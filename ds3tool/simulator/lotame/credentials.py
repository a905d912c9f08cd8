"""The temporary credentials that a simulated Lotame issues with each answer, and how its bucket knows them again."""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import string
import threading
from urllib.parse import quote, unquote

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.wire.messages import Request
from ds3tool.simulator.wire.refusals import Refusal

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/s3/aws4_request, *SignedHeaders=([a-z0-9;-]+), *"
    r"Signature=([0-9a-f]{64})"
)
REGION = "us-east-1"
WRONG_REGION = "AuthorizationHeaderMalformed"
_LETTERS = string.ascii_letters + string.digits


@dataclass(slots=True)
class Issued:
    """One set of credentials: good for the keys below `prefixes`, until `expires` (seconds since 1970).

    `left`: so many requests more, None for no limit.
    """

    access_key_id: str
    secret: str
    token: str
    expires: float
    prefixes: tuple[str, ...]
    left: int | None

    def told(self) -> dict[str, object]:
        """Return it as an answer has it."""
        return {
            "accessKeyId": self.access_key_id,
            "secretAccessKey": self.secret,
            "sessionToken": self.token,
            "expiration": round(self.expires * 1000),
        }


class CredentialDesk:
    """Issues credentials and checks requests against them. Every method may be called from any thread."""

    def __init__(self, *, seed: int, life_seconds: float, requests: int | None) -> None:
        """Issue such as live so long, and serve so many `requests` at most."""
        self.life_seconds = life_seconds
        self.requests = requests
        self._random = random.Random(f"{seed} credentials")  # noqa: S311 - they open nothing but a simulation
        self._lock = threading.Lock()
        self._issued: dict[str, Issued] = {}

    def issue(self, now: float, prefixes: tuple[str, ...]) -> Issued:
        """Return new ones."""
        with self._lock:
            one = Issued(
                "ASIA" + "".join(self._random.choices(string.ascii_uppercase + string.digits, k=16)),
                "".join(self._random.choices(_LETTERS, k=40)),
                "".join(self._random.choices(_LETTERS + "+/", k=300)) + "==",
                now + self.life_seconds,
                prefixes,
                self.requests,
            )
            self._issued[one.access_key_id] = one
            return one

    @property
    def issued(self) -> int:
        """How many were issued so far."""
        with self._lock:
            return len(self._issued)

    def expire_all(self) -> None:
        """Let all that were issued so far be over."""
        with self._lock:
            for one in self._issued.values():
                one.left = 0

    def check(self, request: Request, key: str | None, now: float, *, strike: bool) -> None:
        """Refuse a request whose credentials are not known, over, wrong, or not for `key` (None: for a listing).

        So is one that is signed for another region.

        `strike`: they are over from now on, whatever was said.
        """
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            raise Refusal(403, "AccessDenied", "Access Denied")
        if found[3] != REGION:
            message = f"The authorization header is malformed; the region '{found[3]}' is wrong; expecting '{REGION}'"
            raise Refusal(400, WRONG_REGION, message, headers=(("x-amz-bucket-region", REGION),))
        with self._lock:
            one = self._issued.get(found[1])
            if one is None:
                raise Refusal(
                    403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
                )
            if request.headers.get("x-amz-security-token") != one.token:
                raise Refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
            if strike:
                one.left = 0
            if now >= one.expires or one.left == 0:
                raise Refusal(400, "ExpiredToken", "The provided token has expired.")
            if not hmac.compare_digest(_signature(request, one.secret, *found.group(2, 3, 4)), found[5]):
                raise Refusal(
                    403,
                    "SignatureDoesNotMatch",
                    "The request signature we calculated does not match the signature you provided.",
                )
            if one.left is not None:
                one.left -= 1
        if key is not None and not any(key.startswith(prefix) for prefix in one.prefixes):
            raise Refusal(403, "AccessDenied", "Access Denied")


def _signature(request: Request, secret: str, day: str, region: str, signed: str) -> str:
    """Return the signature of a request, AWS version 4, over the raw path and the headers that it names."""
    headers = request.headers
    pairs = sorted(
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~"))
        for name, _, value in (part.partition("=") for part in request.target.query.split("&") if part)
    )
    canonical = "\n".join(
        (
            request.verb,
            request.target.path,
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed.split(";")),
            "",
            signed,
            headers.get("x-amz-content-sha256", ""),
        )
    )
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", headers.get("x-amz-date", ""), scope, digest))
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
