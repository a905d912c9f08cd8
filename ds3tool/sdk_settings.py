"""What a client object of the vendor's Python SDK says of how to reach its appliance.

Its attributes are read, nothing of the vendor's is imported: `net_client` of a `ds3.ds3.Client` holds
`networkconnection.endpoint` (host and port, without scheme), `secure`, `credentials.accessId` and `.key`, and `proxy`
(host and port, or None). The SDK goes through its proxy with CONNECT, for plain http too; so does what is made here.
"""

from __future__ import annotations

from ds3tool.errors import UsageError
from ds3tool.transport.settings import ConnectionSettings

_HINT = "hand over a ds3.ds3.Client, or use Ds3Client(ConnectionSettings(...))"


def settings_from_sdk(client: object) -> ConnectionSettings:
    """Return the settings that a vendor `ds3` client object holds; a UsageError when it is no such object.

    The error names the object's class and what is missing, and shows nothing of what is there: one of it is a secret.
    """
    net = getattr(client, "net_client", None)
    if net is None:
        raise _other(client, "no net_client")
    credentials = getattr(net, "credentials", None)
    endpoint = _text(client, getattr(net, "networkconnection", None), "endpoint")
    access_key = _text(client, credentials, "accessId")
    secret_key = _text(client, credentials, "key")
    scheme = "https" if getattr(net, "secure", False) is True else "http"
    proxy = getattr(net, "proxy", None)
    if proxy is not None and not isinstance(proxy, str):
        raise _other(client, "a proxy that is no text")
    return ConnectionSettings(
        endpoint=f"{scheme}://{endpoint.rstrip('/')}",
        access_key=access_key,
        secret_key=secret_key,
        proxy=f"http://{proxy.rstrip('/')}" if proxy else None,
        tunnel=bool(proxy),
    )


def _text(client: object, holder: object, name: str) -> str:
    value = getattr(holder, name, None)
    if not isinstance(value, str) or not value:
        raise _other(client, f"no {name}")
    return value


def _other(client: object, what: str) -> UsageError:
    return UsageError(f"a {type(client).__name__} object is no client of the vendor's SDK: it has {what}", hint=_HINT)
