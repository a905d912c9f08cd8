"""A client of the vendor's Python SDK is handed over: endpoint, credentials and proxy go on, and nothing else."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ds3tool.client import Ds3Client
from ds3tool.errors import UsageError
from ds3tool.sdk_settings import settings_from_sdk
from ds3tool.simulator import Appliance
from tests.foreign.vendor_client import Client, Credentials, client_from_environment

SECRET = "never-shown-1234"
KEYS = Credentials(" me ", f"{SECRET}\n")


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("bp.example", "http://bp.example"),
        ("bp.example:8080", "http://bp.example:8080"),
        ("http://bp.example:8080", "http://bp.example:8080"),
        ("https://bp.example", "https://bp.example"),
        ("https://bp.example:8443/", "https://bp.example:8443"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_endpoint_and_keys_are_taken_over(given: str, endpoint: str) -> None:
    """An endpoint without a scheme is plain http, as the SDK reads it; keys are those without blanks around them."""
    settings = settings_from_sdk(Client(given, KEYS))
    assert (settings.endpoint, settings.access_key, settings.secret_key) == (endpoint, "me", SECRET)
    assert (settings.proxy, settings.tunnel) == (None, False)


@pytest.mark.parametrize("proxy", ["proxy.example:3128", "http://proxy.example:3128", "http://proxy.example:3128/"])
def test_a_proxy_is_asked_for_a_tunnel(proxy: str) -> None:
    """The SDK goes through CONNECT even for plain http."""
    settings = settings_from_sdk(Client("http://bp.example", KEYS, proxy))
    assert (settings.proxy, settings.tunnel) == ("http://proxy.example:3128", True)


def test_a_client_from_the_environment_reaches_the_appliance(
    appliance: Appliance, bucket_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What createClientFromEnv makes, made ours, sees what is there; the vendor's package is not imported for it."""
    monkeypatch.delenv("http_proxy", raising=False)
    for name, value in {
        "DS3_ENDPOINT": appliance.endpoint,
        "DS3_ACCESS_KEY": appliance.access_key,
        "DS3_SECRET_KEY": appliance.secret_key,
    }.items():
        monkeypatch.setenv(name, value)
    with Ds3Client.from_sdk(client_from_environment()) as client:
        client.create_bucket(bucket_name)
        assert bucket_name in {each.name for each in client.get_service().buckets}
    assert "ds3" not in sys.modules


@pytest.mark.parametrize(
    ("other", "missing"),
    [
        (object(), "net_client"),
        ("http://bp.example", "net_client"),
        (SimpleNamespace(net_client=SimpleNamespace()), "endpoint"),
        (Client("", KEYS), "endpoint"),
        (Client("bp.example", Credentials("", SECRET)), "accessId"),
        (Client("bp.example", Credentials("me", " ")), "key"),
    ],
)
def test_another_object_is_no_vendors_client(other: object, missing: str) -> None:
    """A UsageError names its class and what it lacks, and shows none of it; nothing is connected."""
    with pytest.raises(UsageError, match=missing) as caught:
        Ds3Client.from_sdk(other)
    assert type(other).__name__ in caught.value.message
    assert SECRET not in f"{caught.value!r} {caught.value.hint}"


def test_a_proxy_that_is_no_text_is_refused() -> None:
    """A proxy object of some other make would be an address by its repr."""
    given = Client("bp.example", KEYS)
    given.net_client.proxy = object()  # type: ignore[assignment] # what the SDK would never hold
    with pytest.raises(UsageError, match="proxy"):
        settings_from_sdk(given)


def test_neither_client_nor_settings_show_the_secret() -> None:
    """Nor the proxy, whose address may hold a password."""
    given = Client("bp.example", KEYS, f"user:{SECRET}@proxy.example:3128")
    shown = [repr(settings_from_sdk(given))]
    with Ds3Client.from_sdk(given) as client:
        shown += [repr(client), repr(vars(client)), repr(client.exchange), repr(vars(client.exchange))]
    assert SECRET not in " ".join(shown)
