"""Names with everything in them, there and back by every way a name travels."""

from __future__ import annotations

import logging

import pytest

from tests.simulator.conftest import Bench
from tests.simulator.wire import path_of

ODD = [
    "two words",
    " leading and trailing ",
    "plus+sign",
    "semi;colon",
    "percent%2Fescape",
    "a%20b",
    "100%",
    "quote\"s and 'apostrophes'",
    "back\\slash",
    "line\nfeed",
    "carriage\rreturn",
    "tab\tulator",
    "<tag>&amp;",
    "caf\u00e9",
    "cafe\u0301",
    "\U0001f30a wave",
    "a//b",
    "./x/../y",
    "?query=1&b#c",
    "*.txt [1]",
    "x" * 200,
    "\u00fc" * 100,
    "dir/",
    "-",
    "~tilde",
    "name,with,commas=and:colons@",
]


def test_odd_names_travel_through_a_job(bench: Bench) -> None:
    """Declared, sent, listed, placed, got, deleted: the name is the same everywhere."""
    contents = {name: b"" if name.endswith("/") else name.encode() for name in ODD}
    bench.wire.put_all("b", contents)
    bench.until_persisted()
    bench.reclaim()
    listed = [key.text for key in bench.wire.ask("GET", "/b").xml.iter("Key")]
    assert listed == sorted(ODD, key=str.encode)
    job = bench.wire.start_get("b", ODD).xml
    assert sorted(blob.attrib["Name"] for blob in job.iter("Object")) == sorted(ODD)
    for name, data in contents.items():
        reply = bench.wire.get_blob("b", name, job.attrib["JobId"], 0)
        while reply.status == 307:
            reply = bench.wire.get_blob("b", name, job.attrib["JobId"], 0)
        assert reply.body == data, name
    body = "<Delete>" + "".join(f"<Object><Key>{_text(name)}</Key></Object>" for name in ODD) + "</Delete>"
    deleted = bench.wire.ask("POST", "/b?delete", body.encode()).xml
    assert sorted(key.text or "" for key in deleted.iterfind("Deleted/Key")) == sorted(ODD)
    assert bench.wire.ask("GET", "/b").xml.find("Contents") is None


def _text(name: str) -> str:
    from xml.sax.saxutils import escape

    return escape(name, {"\r": "&#13;"})


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_is_put_and_got_without_a_job(bench: Bench, name: str) -> None:
    """The path part after the bucket is the name, decoded once."""
    data = b"" if name.endswith("/") else b"content"
    assert bench.wire.ask("PUT", path_of("b", name), data).status == 200
    assert bench.wire.ask("GET", path_of("b", name)).body == data
    assert [key.text for key in bench.wire.ask("GET", "/b").xml.iter("Key")] == [name]


def test_a_plus_sign_in_a_path_is_a_plus_sign(bench: Bench) -> None:
    """.NET sends it bare."""
    assert bench.wire.ask("PUT", "/b/a+b", b"x").status == 200
    assert bench.wire.ask("GET", "/b/a%2Bb").body == b"x"
    assert bench.wire.ask("GET", "/b/a%20b").status == 404


@pytest.mark.parametrize("path", ["/b/%FF%FE", "/b/a%00b", "/b/a%01b", "/b/%ED%A0%80"])
def test_a_name_that_no_list_could_tell_is_refused(bench: Bench, path: str) -> None:
    """400, instead of an object that nobody can name again."""
    assert bench.wire.ask("PUT", path, b"x").status == 400
    assert bench.wire.ask("GET", "/b").xml.find("Contents") is None


def test_a_secret_that_is_not_utf_8_is_in_no_log_and_no_error(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The request is refused without a word of what its query holds."""
    with caplog.at_level(logging.DEBUG):
        answer = bench.wire.ask("POST", "/_rest_/user?name=x&secret_key=s3cr3t%FF")
    assert answer.status == 400
    assert b"s3cr3t" not in answer.body
    assert "s3cr3t" not in caplog.text
