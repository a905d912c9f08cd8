"""Lotame is reached through the proxy that the environment names, or directly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import (
    ConfigError,
    ProxyRefusedError,
)
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.connections import proxy_for
from ds3tool.lotame.settings import LotameSettings
from tests.lotame.answering import http, saying


def test_the_proxy_of_the_environment_is_used(settings: LotameSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not on this machine goes through the proxy, with its login; loopback addresses do not."""
    seen: list[bytes] = []
    body = b'{"feeds": []}'
    with saying(http("200 OK", body, "Content-Type: application/json"), seen=seen) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("//", "//me:p%40ss@"))
        with LotameClient(replace(settings, base_url="http://lotame.invalid/2")) as client:
            assert client.feeds() == ()
        assert seen[0].startswith(b"GET http://lotame.invalid/2/firehose/feeds?client_id=4321 HTTP/1.1")
        assert (
            b"roxy-Authorization: Basic bWU6cEBzcw==" in seen[0] or b"roxy-authorization: Basic bWU6cEBzcw==" in seen[0]
        )
        with LotameClient(settings) as client:
            assert len(client.feeds()) == 3
    assert len(seen) == 1


def test_a_proxy_that_refuses_is_named(
    settings: LotameSettings, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    """A tunnel that is not granted is the proxy's word, and asking again would not help."""
    with saying(http("403 Forbidden")) as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        with (
            LotameClient(replace(settings, base_url="https://lotame.invalid/2"), clock=clock) as client,
            pytest.raises(ProxyRefusedError, match="403"),
        ):
            client.feeds()
    assert clock.waits == []


@pytest.mark.parametrize("proxy", ["socks5://me:hush@proxy.invalid:1080", "http://me:hush@proxy.invalid:x", "http://"])
def test_a_proxy_of_another_kind_is_refused(
    settings: LotameSettings, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """What is no HTTP proxy is a matter of configuration, told without its password."""
    monkeypatch.setenv("all_proxy", proxy)
    with (
        LotameClient(replace(settings, base_url="https://lotame.invalid/2")) as client,
        pytest.raises(ConfigError, match="no HTTP proxy") as failure,
    ):
        client.feeds()
    assert "hush" not in failure.value.message


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://api.lotame.com/2", {}, None),
        ("https://api.lotame.com/2", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://api.lotame.com/2", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://api.lotame.com/2", {"http_proxy": "http://p:1"}, None),
        ("http://api.lotame.com/2", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://api.lotame.com/2", {"all_proxy": "http://p:1"}, "http://p:1"),
        ("https://api.lotame.com/2", {"all_proxy": "http://p:1", "no_proxy": "lotame.com"}, None),
        ("https://api.lotame.com/2", {"all_proxy": "http://p:1", "no_proxy": ".lotame.com"}, None),
        ("https://api.lotame.com/2", {"all_proxy": "http://p:1", "no_proxy": "a, *"}, None),
        ("https://api.lotame.com/2", {"all_proxy": "http://p:1", "no_proxy": "xlotame.com,.com:80"}, "http://p:1"),
        ("https://api.lotame.com:8443/2", {"all_proxy": "http://p:1", "no_proxy": "lotame.com:8443"}, None),
        ("http://localhost:8/2", {"http_proxy": "http://p:1"}, None),
        ("http://[::1]:8/2", {"http_proxy": "http://p:1"}, None),
    ],
)
def test_which_proxy_counts(url: str, environ: dict[str, str], proxy: str | None) -> None:
    """The scheme's own before the one for all, exceptions before both."""
    assert proxy_for(url, environ) == proxy
