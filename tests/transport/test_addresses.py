"""What an endpoint may be, and what is refused before anything is sent."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import ConfigError, Ds3Error, TransportError
from ds3tool.transport.dial import parse_place
from tests.transport.conftest import Connect, Serve
from tests.transport.exchanges import CREATE, GET, status
from tests.transport.scripted import replies, reply


@pytest.mark.parametrize(
    ("text", "shown", "port"),
    [
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080", 8080),
        ("10.0.0.5:8080", "http://10.0.0.5:8080", 8080),
        ("BlackPearl.example.org", "http://blackpearl.example.org", 80),
        ("https://blackpearl.example.org/", "https://blackpearl.example.org", 443),
        ("https://blackpearl:443", "https://blackpearl", 443),
        ("http://blackpearl:443", "http://blackpearl:443", 443),
        ("http://[::1]:8080", "http://[::1]:8080", 8080),
        ("http://[fe80::1%25eth0]", "http://[fe80::1]", 80),
        ("http://bücher.example", "http://xn--bcher-kva.example", 80),
        ("http://under_score.example.", "http://under_score.example.", 80),
    ],
)
def test_addresses_are_read_as_people_write_them(text: str, shown: str, port: int) -> None:
    """Scheme and port may be left out; names are ASCII on the wire, and zones stay on this host."""
    place = parse_place(text, what="the endpoint")
    assert (str(place), place.port) == (shown, port)
    assert "%25" not in place.host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "http://:80",
        "ftp://host",
        "http://host:0",
        "http://host:65536",
        "http://host:x",
        "http://host/path",
        "http://host?query",
        "http://host#part",
        "http://ho st",
        "http://host..example",
        "http://" + "a" * 64 + ".example",
        "http://[::1",
        "http://[::g]",
        "http://host\x00",
        "http://-host",
        "http://bü..cher",
    ],
)
def test_what_is_no_address_is_a_config_error(text: str) -> None:
    """An address that cannot be used is refused with an example of a good one."""
    with pytest.raises(ConfigError, match="the endpoint") as raised:
        parse_place(text, what="the endpoint")
    assert raised.value.hint is not None


def test_an_endpoint_with_a_password_is_refused_without_showing_it(connect: Connect) -> None:
    """Keys do not belong into the endpoint, and are not repeated in the refusal."""
    with pytest.raises(ConfigError) as raised:
        connect("http://ann:s3cret@blackpearl.example.org")
    assert "s3cret" not in f"{raised.value} {raised.value.hint}"


def test_a_name_that_does_not_exist_is_named(connect: Connect) -> None:
    """A host name without an address is told as such; nothing can have arrived."""
    with pytest.raises(TransportError, match=r"no-such-host\.invalid cannot be resolved") as raised:
        connect("http://no-such-host.invalid", max_retry_seconds=0.0).exchange(GET, status)
    assert not raised.value.may_have_arrived


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (socket.EAI_AGAIN, "network up"),
        (socket.EAI_NONAME, "spelt right"),
        (socket.EAI_FAIL, "spelt right"),
        (socket.EAI_NODATA, "spelt right"),
    ],
)
def test_a_name_that_cannot_be_looked_up_is_looked_up_again(
    serve: Serve, connect: Connect, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    """Whatever a resolver says of a name, it is asked again within the budget; then the call goes through."""
    look_up = socket.getaddrinfo
    failures = [socket.gaierror(number, "no such luck")] * 3
    told: list[Ds3Error] = []

    def flapping(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # passed on as they are
        if failures:
            raise failures.pop()
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", flapping)
    transport = connect(serve(replies(reply(200))))
    transport.on_wait = lambda error, _: told.append(error)
    assert transport.exchange(CREATE, status) == 200
    assert len(told) == len(clock.waits) == 3
    assert all("cannot be resolved: no such luck" in error.message and hint in (error.hint or "") for error in told)
