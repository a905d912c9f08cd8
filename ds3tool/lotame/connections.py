"""How the web is reached: connections of urllib3, through the proxy that the environment names, or directly."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ds3tool.errors import ConfigError

if TYPE_CHECKING:
    import urllib3

_CONNECT_SECONDS = 20.0
_READ_SECONDS = 120.0


def is_loopback(url: str) -> bool:
    """Whether an address of the web is on this very machine."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def connections_to(url: str, environ: Mapping[str, str] | None = None, *, kept: int = 1) -> urllib3.PoolManager:
    """Return connections for an address, of which so many are kept for each host when they are idle.

    Certificates are checked; redirects and repeating are the caller's.

    `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` count, in lower case or upper; a loopback address is
    reached directly. ConfigError for a proxy that is no HTTP proxy.
    """
    import urllib3

    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    proxy = proxy_for(url, os.environ if environ is None else environ)
    if proxy is None:
        return urllib3.PoolManager(timeout=timeout, maxsize=kept)
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _no_proxy("") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _no_proxy(f" ({parts.scheme}://{parts.hostname or ''})")
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    address = f"{parts.scheme}://{host}:{port}"
    return urllib3.ProxyManager(address, proxy_headers=headers, timeout=timeout, maxsize=kept)


def _no_proxy(which: str) -> ConfigError:
    return ConfigError(
        f"the environment names a proxy{which} that is no HTTP proxy",
        hint="https_proxy=http://HOST:PORT, or no_proxy=HOST for what is reached directly",
    )


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment names for an address, None for none."""
    parts = urlsplit(url)
    if is_loopback(url) or _is_exempt(parts.hostname or "", parts.port, environ):
        return None
    names = [f"{parts.scheme}_proxy", "all_proxy"]
    # HTTP_PROXY in upper case is what a web server's CGI makes of a visitor's header.
    found = [environ.get(name) or ("" if name == "http_proxy" else environ.get(name.upper())) for name in names]
    return next((proxy for proxy in found if proxy), None)


def _is_exempt(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    host = host.rstrip(".").lower()
    for entry in filter(None, (part.strip().lower() for part in listed.split(","))):
        name, _, wanted = entry.rpartition(":") if entry.rpartition(":")[2].isdigit() else (entry, "", "")
        name = name.removeprefix("*").strip("[]").lstrip(".")
        if entry == "*" or (
            name and (host == name or host.endswith(f".{name}")) and (not wanted or wanted == str(port or ""))
        ):
            return True
    return False
