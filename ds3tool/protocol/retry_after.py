"""How long a reply asks to wait: Retry-After, which stands beside refusals and beside the chunks of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC

from ds3tool.protocol import names

# Who asks for more than this (a year, by a slip or in malice) is asked again after it: no night's work may stop without
# a word, and a job of which nobody is heard for 24 hours is given up. The appliance's own default is a minute.
LONGEST_WAIT_SECONDS = 3600.0


def retry_after_seconds(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Return the wait that Retry-After asks for, in seconds, at most an hour; None when it is absent or makes no sense.

    The appliance sends whole seconds. A date, which proxies may send, is measured against the reply's own Date,
    or else against `now`.
    """
    text = headers.get(names.RETRY_AFTER)
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return min(float(text), LONGEST_WAIT_SECONDS)
    until = http_date_seconds(text)
    if until is None:
        return None
    since = http_date_seconds(headers.get(names.DATE))
    since = now if since is None else since
    return None if since is None else min(max(0.0, until - since), LONGEST_WAIT_SECONDS)


def http_date_seconds(text: str | None) -> float | None:
    """Return the seconds since 1970 that a date of HTTP means; None for what is none."""
    if not text or len(text) > 100:
        return None
    from email.utils import parsedate_to_datetime  # heavy, and rarely needed

    try:
        at = parsedate_to_datetime(text)
        # A zone of -0000 comes back without one, and means UTC all the same.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
