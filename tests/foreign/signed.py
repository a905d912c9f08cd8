"""The signature that all SDKs make, over strings that each puts together in its own way."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    access_id: str
    secret: str

    def authorization(self, *lines: str) -> str:
        """Return the header's value for a string to sign, given as its lines."""
        digest = hmac.new(self.secret.encode(), "\n".join(lines).encode("latin-1"), hashlib.sha1).digest()
        return f"AWS {self.access_id}:{base64.b64encode(digest).decode()}"
