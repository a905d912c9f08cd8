"""How to reach one appliance, resolved and frozen before the first connection."""

from __future__ import annotations

from dataclasses import field

from ds3tool.lazy_dataclass import dataclass

# Without any answer for this long, retrying ends. Waits that the appliance asked for do not count.
DEFAULT_MAX_RETRY_SECONDS = 15 * 60.0
# Without a byte for this long, a connection is given up.
IO_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Address, keys, and how to get there.

    `endpoint` is `http://host[:port]`, `https://host[:port]` or `host[:port]` (http, as the vendor's clients read it).
    `proxy` is `http://host:port` or None; `tunnel` sends CONNECT even for plain http, else plain requests go to the
    proxy in absolute form. `verify_tls` False accepts any certificate. Timeouts are seconds without a byte moving.
    `continue_wait_seconds`: how long a large body waits for `100 Continue` from a server that may not know it.
    """

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    ca_bundle: str | None = None
    verify_tls: bool = True
    proxy: str | None = field(default=None, repr=False)  # its address may hold a password
    tunnel: bool = False
    connect_timeout_seconds: float = 30.0
    io_timeout_seconds: float = IO_TIMEOUT_SECONDS
    max_retry_seconds: float = DEFAULT_MAX_RETRY_SECONDS
    continue_wait_seconds: float = 1.0  # as curl waits
