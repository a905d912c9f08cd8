"""Signatures: the protocol reference's vectors, agreement with the standard library, and no secret on show."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.protocol import requests
from ds3tool.protocol.messages import Request
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.signing import Credentials, Signer, http_date, string_to_sign

CREDENTIALS = Credentials("access", "example-secret")
JAVA_DATE = "Tue, 02 Jan 2024 03:04:05 +0000"
PYTHON_DATE = "Tue, 02 Jan 2024 03:04:05 -0000"
HELLO_MD5 = "XUFAKrxLKna5cZ2REBfFkg=="

# (string to sign, signature): protocol reference 2.5
VECTORS = [
    ("GET\n\napplication/xml\nTue, 02 Jan 2024 03:04:05 +0000\n/", "N0zs1Xeyotrrd9/OMCWa1bzcXMQ="),
    ("GET\n\n\nTue, 02 Jan 2024 03:04:05 -0000\n/", "xxbFasCR3GzrL0PfZV1NJQvHuoA="),
    (
        (
            "PUT\nXUFAKrxLKna5cZ2REBfFkg==\napplication/octet-stream\nTue, 02 Jan 2024 03:04:05 +0000\n"
            "x-amz-meta-alpha:1\nx-amz-meta-zulu:two%20words\n/bucket1/dir/a%20b%2Bc.txt"
        ),
        "GBYf14IHgU0PMWLo/lnvuQELFRA=",
    ),
    (
        (
            "PUT\nXUFAKrxLKna5cZ2REBfFkg==\napplication/octet-stream\nTue, 02 Jan 2024 03:04:05 -0000\n"
            "x-amz-meta-Alpha:1\n/bucket1/dir/a%20b%2Bc.txt"
        ),
        "PglVzQx2pdSHZhPX3e2lA714Yio=",
    ),
    ("POST\n\napplication/xml\nTue, 02 Jan 2024 03:04:05 +0000\n/bucket1?delete", "4dApFuTPDo14XgQ8rVNg8ANnMuM="),
    ("POST\n\n\nTue, 02 Jan 2024 03:04:05 +0000\n/bucket1?delete", "nwEbjxTNqNQfKSpwWdghg933fa8="),
    ("GET\n\n\nTue, 02 Jan 2024 03:04:05 -0000\n/bucket1?versions=False", "a+pXi2xulB/0KCFaZ2ky+UHpNs8="),
    ("PUT\nNhCmhg==\n\nTue, 02 Jan 2024 03:04:05 +0000\n/bucket1/obj", "5FI9x6fIJqJUUVkBnrvCUmJGdgU="),
]


@pytest.mark.parametrize(("text", "signature"), VECTORS)
def test_the_signature_of_each_published_string(text: str, signature: str) -> None:
    """Each string to sign of the reference gets the signature that stands beside it."""
    assert Signer(CREDENTIALS)._signature(text.encode()) == signature


# (arguments, string to sign): the vectors in the form that this client signs
FORMS = [
    (("GET", "/", JAVA_DATE), {"content_type": "application/xml"}, VECTORS[0]),
    (("GET", "/", PYTHON_DATE), {}, VECTORS[1]),
    (
        ("PUT", "/bucket1/dir/a%20b%2Bc.txt", JAVA_DATE),
        {
            "checksum": HELLO_MD5,
            "content_type": "application/octet-stream",
            "amz_headers": (("X-Amz-Meta-Zulu", "two%20words"), ("x-amz-meta-alpha", "1")),
        },
        VECTORS[2],
    ),
    (("POST", "/bucket1", JAVA_DATE), {"sub_resources": (("delete", None),)}, VECTORS[5]),
    (("PUT", "/bucket1/obj", JAVA_DATE), {"checksum": "NhCmhg=="}, VECTORS[7]),
]


@pytest.mark.parametrize(("place", "rest", "vector"), FORMS)
def test_the_string_to_sign_is_built_as_the_reference_shows(
    place: tuple[str, str, str], rest: dict[str, object], vector: tuple[str, str]
) -> None:
    """Method, path, date, checksum, metadata and sub-resources stand where the reference puts them."""
    text, signature = vector
    assert string_to_sign(*place, **rest) == text  # type: ignore[arg-type]  # a table of mixed keywords
    assert Signer(CREDENTIALS).authorization(*place, **rest) == f"AWS access:{signature}"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "signed"),
    [
        ((), ""),
        ((("job", "j"), ("offset", "0")), ""),
        ((("delete", None),), "?delete"),
        ((("uploads", ""),), "?uploads"),
        ((("versioning", "on"),), "?versioning=on"),
        ((("max_keys", "10"), ("versions", None)), "?versions"),
        ((("versions", "False"), ("delete", "")), "?delete?versions"),
    ],
)
def test_only_four_sub_resources_are_signed(query: tuple[tuple[str, str | None], ...], signed: str) -> None:
    """Of a query, the signature covers delete, uploads, versioning and versions, in the Java SDK's form."""
    assert string_to_sign("GET", "/b", "D", sub_resources=query) == f"GET\n\n\nD\n/b{signed}"


def test_a_request_is_signed_with_its_checksum_and_metadata() -> None:
    """Signing a put covers the checksum header's value and the metadata lines, sorted and in lower case."""
    request = requests.put_object(
        "bucket1",
        "dir/a b+c.txt",
        job_id="j",
        offset=0,
        metadata={"Zulu": "two words", "alpha": "1"},
        checksum=(ChecksumType.MD5, HELLO_MD5),
    )
    octets = ("Content-Type", "application/octet-stream")
    request = Request(
        request.method, request.path, request.query, (*request.headers, octets), checksum=request.checksum
    )
    assert Signer(CREDENTIALS).sign(request, JAVA_DATE) == f"AWS access:{VECTORS[2][1]}"


def test_the_quick_signer_makes_the_same_signature() -> None:
    """A blob's quick signer and the full one agree, with and without a checksum."""
    signer = Signer(CREDENTIALS)
    put = signer.for_blobs("PUT")
    assert put("/bucket1/obj", JAVA_DATE, "NhCmhg==") == f"AWS access:{VECTORS[7][1]}"
    assert signer.for_blobs("GET")("/", PYTHON_DATE, "") == f"AWS access:{VECTORS[1][1]}"
    assert put("/b/a", JAVA_DATE, "") == signer.authorization("PUT", "/b/a", JAVA_DATE)


@given(st.text(max_size=200), st.text(max_size=200))
def test_signatures_are_hmac_sha1(secret: str, text: str) -> None:
    """For any secret and any text, the precomputed states give the HMAC of the standard library."""
    secret, text = secret.encode("utf-8", "replace").decode(), text.encode("utf-8", "replace").decode()
    expected = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
    assert Signer(Credentials("a", secret))._signature(text.encode()) == expected


@given(st.integers(min_value=0, max_value=4_000_000_000), st.floats(min_value=0, max_value=0.999))
def test_dates_are_those_of_the_standard_library(second: int, fraction: float) -> None:
    """A Date header is RFC 1123 in GMT, whatever was asked for before."""
    assert http_date(second + fraction) == formatdate(second, usegmt=True)


def test_the_secret_shows_nowhere() -> None:
    """Neither credentials nor signer nor their attributes' representations hold the secret."""
    signer = Signer(CREDENTIALS)
    shown = repr(CREDENTIALS) + str(CREDENTIALS) + repr(signer) + repr(vars(signer))
    assert "example-secret" not in shown
    assert "access" in repr(CREDENTIALS)


def test_a_blob_is_signed_in_microseconds() -> None:
    """Ten thousand quick signatures take far less than a tenth of a second per thousand."""
    sign = Signer(CREDENTIALS).for_blobs("PUT")
    started = time.process_time()
    for number in range(10_000):
        sign(f"/bucket/object-{number}", JAVA_DATE, "NhCmhg==")
    assert time.process_time() - started < 1.0
