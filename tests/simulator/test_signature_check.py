"""What an appliance accepts as a signature, and what it refuses."""

from __future__ import annotations

import pytest

from ds3tool.simulator.clock import ManualClock
from ds3tool.simulator.wire.refusals import Refusal
from ds3tool.simulator.wire.signatures import SecretKey, SignedRequest, check_signature, strings_to_sign
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Wire

_SECRET = "example-secret"
_PLUS = "Tue, 02 Jan 2024 03:04:05 +0000"
_MINUS = "Tue, 02 Jan 2024 03:04:05 -0000"
_MD5 = ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==")

# Verb, path, query, headers as sent, signature: the published test vectors of the protocol reference, 2.5.
_VECTORS = {
    "Java lists": (
        "GET",
        "/",
        "",
        [("DATE", _PLUS), ("Content-Type", "application/xml")],
        "N0zs1Xeyotrrd9/OMCWa1bzcXMQ=",
    ),
    "Python lists": ("GET", "/", "", [("Date", _MINUS)], "xxbFasCR3GzrL0PfZV1NJQvHuoA="),
    "a put with metadata": (
        "PUT",
        "/bucket1/dir/a%20b%2Bc.txt",
        "",
        [
            ("Date", _PLUS),
            ("Content-Type", "application/octet-stream"),
            _MD5,
            ("x-amz-meta-zulu", "two%20words"),
            ("x-amz-meta-alpha", "1"),
        ],
        "GBYf14IHgU0PMWLo/lnvuQELFRA=",
    ),
    "Python puts, metadata in mixed case": (
        "PUT",
        "/bucket1/dir/a%20b%2Bc.txt",
        "",
        [("Date", _MINUS), ("Content-Type", "application/octet-stream"), _MD5, ("x-amz-meta-Alpha", "1")],
        "PglVzQx2pdSHZhPX3e2lA714Yio=",
    ),
    "Java deletes several": (
        "POST",
        "/bucket1",
        "delete",
        [("Date", _PLUS), ("Content-Type", "application/xml")],
        "4dApFuTPDo14XgQ8rVNg8ANnMuM=",
    ),
    "Go, .NET and C delete several": ("POST", "/bucket1", "delete", [("Date", _PLUS)], "nwEbjxTNqNQfKSpwWdghg933fa8="),
    "Python lists with versions": (
        "GET",
        "/bucket1",
        "versions=False",
        [("Date", _MINUS)],
        "a+pXi2xulB/0KCFaZ2ky+UHpNs8=",
    ),
    "Go puts with CRC-32": (
        "PUT",
        "/bucket1/obj",
        "",
        [("Date", _PLUS), ("Content-CRC32", "NhCmhg==")],
        "5FI9x6fIJqJUUVkBnrvCUmJGdgU=",
    ),
}


def _signed(verb: str, path: str, query: str, pairs: list[tuple[str, str]]) -> SignedRequest:
    return SignedRequest(verb, path, query, {name.lower(): value for name, value in pairs}, pairs)


@pytest.mark.parametrize("case", _VECTORS)
def test_every_published_form_of_the_signature_is_accepted(case: str) -> None:
    """The vectors of the reference are all accepted."""
    verb, path, query, pairs, signature = _VECTORS[case]
    check_signature(_signed(verb, path, query, pairs), signature, SecretKey(_SECRET))


@pytest.mark.parametrize("case", _VECTORS)
def test_a_signature_of_another_path_is_refused(case: str) -> None:
    """No vector is accepted for another path, verb or secret."""
    verb, path, query, pairs, signature = _VECTORS[case]
    for request, secret in (
        (_signed(verb, path + "x", query, pairs), _SECRET),
        (_signed("HEAD", path, query, pairs), _SECRET),
        (_signed(verb, path, query, pairs), "another-secret"),
    ):
        with pytest.raises(Refusal, match="SignatureDoesNotMatch"):
            check_signature(request, signature, SecretKey(secret))


def test_a_date_or_metadata_that_was_changed_on_the_way_is_refused() -> None:
    """What is signed cannot be changed."""
    verb, path, query, pairs, signature = _VECTORS["a put with metadata"]
    for changed in ([("Date", _MINUS), *pairs[1:]], [*pairs[:-1], ("x-amz-meta-alpha", "2")]):
        with pytest.raises(Refusal, match="SignatureDoesNotMatch"):
            check_signature(_signed(verb, path, query, changed), signature, SecretKey(_SECRET))


def test_the_common_form_comes_first_and_none_comes_twice() -> None:
    """A plain request is checked against one string only; the candidates of a rich one are all different."""
    plain = list(strings_to_sign(_signed("GET", "/", "", [("Date", _PLUS)])))
    assert plain == [f"GET\n\n\n{_PLUS}\n/"]
    verb, path, query, pairs, _ = _VECTORS["a put with metadata"]
    rich = list(strings_to_sign(_signed(verb, path, query, pairs)))
    assert len(rich) == len(set(rich)) < 40


def test_escapes_in_another_case_are_accepted() -> None:
    """An intermediary that writes %2f for %2F does not break the signature."""
    signature = SecretKey(_SECRET).sign(f"GET\n\n\n{_PLUS}\n/b/a%2Fb")
    check_signature(_signed("GET", "/b/a%2fb", "", [("Date", _PLUS)]), signature, SecretKey(_SECRET))


def test_amazons_own_date_header_takes_the_place_of_date() -> None:
    """With x-amz-date the date's line is empty and the header is among the signed ones."""
    pairs = [("x-amz-date", _PLUS), ("Date", "ignored")]
    signature = SecretKey(_SECRET).sign(f"GET\n\n\n\nx-amz-date:{_PLUS}\n/b")
    check_signature(_signed("GET", "/b", "", pairs), signature, SecretKey(_SECRET))


def test_a_wrong_secret_or_unknown_user_is_denied(bench: Bench) -> None:
    """403 with the code that says which of the two it is; no body for a HEAD."""
    good = bench.appliance
    wrong = Wire(good.endpoint, good.access_key, "no")
    unknown = Wire(good.endpoint, "nobody", good.secret_key)
    assert (wrong.ask("GET", "/").status, wrong.ask("GET", "/").code) == (403, "SignatureDoesNotMatch")
    assert (unknown.ask("GET", "/").status, unknown.ask("GET", "/").code) == (403, "InvalidAccessKeyId")
    head = wrong.ask("HEAD", "/b")
    assert (head.status, head.body) == (403, b"")
    wrong.close()
    unknown.close()


def test_a_clock_that_is_off_by_more_than_a_quarter_of_an_hour_is_told_so(build: Build) -> None:
    """The refusal holds the words that clients look for, and the reply the appliance's own date."""
    clock = ManualClock()
    bench = build(clock)
    assert bench.wire.ask("GET", "/").status == 200
    sent = clock.now()
    late = Wire(bench.appliance.endpoint, bench.appliance.access_key, bench.appliance.secret_key, now=lambda: sent)
    clock.advance(14 * 60)
    assert late.ask("GET", "/").status == 200
    clock.advance(2 * 60)
    refused = late.ask("GET", "/")
    assert refused.status == 403
    assert "Client clock" in refused.message
    assert refused.headers["date"].startswith("Tue, 02 Jan 2024 03:20")
    late.close()


def test_a_request_without_a_signature_is_denied(bench: Bench) -> None:
    """Nothing is told to strangers."""
    import http.client

    connection = http.client.HTTPConnection(bench.wire.host, bench.wire.port, timeout=30)
    connection.request("GET", "/b")
    reply = connection.getresponse()
    assert reply.status == 403
    assert b"<Code>AccessDenied</Code>" in reply.read()
    connection.close()
