"""`ds3tool sim certify`: the sheet, its shapes, and the exit code of one that failed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.certification import CASES
from tests.cli.runner import run
from tests.cli.sim_host import SimHost, sim_host

_SMALL = ("--size", "2MiB", "--blob-size", "1MiB", "--objects", "30")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with sim_host(tmp_path, blob_size=1 << 20, retry_after=0) as host:
        yield host


def test_the_sheet_of_its_own_appliance_is_passed_throughout() -> None:
    """Without an endpoint an appliance is made for it; each case has its line, and nothing is n/a there."""
    told = run("sim", "certify", *_SMALL, "-o", "json").expect()
    sheet = told.json
    assert [(line["number"], line["case"]) for line in sheet["lines"]] == [
        (number, case.name) for number, case in enumerate(CASES, start=1)
    ]
    assert (sheet["passed"], sheet["failed"], sheet["not_applicable"]) == (len(CASES), 0, 0)
    assert (sheet["left"], "error" in sheet) == ([], False)
    assert all(line["expected"] and line["seen"] for line in sheet["lines"])
    assert "trying http://127.0.0.1:" in told.stderr


def test_a_failed_case_is_exit_code_3_in_every_shape(host: SimHost) -> None:
    """The line says what was seen; the others are tried all the same; what was put is taken away."""
    host.appliance.faults.set("corrupt-get", 1.0)
    chosen = (*_SMALL, "--only", "part", "--only", "paging", "--only", "wrong-port")
    sheet = host.sim("certify", *chosen, "--dir", str(host.appliance.directory), "-o", "json").expect(3).json
    assert [(line["case"], line["verdict"]) for line in sheet["lines"]] == [
        ("part", "fail"),
        ("wrong-port", "n/a"),
        ("paging", "pass"),
    ]
    assert (sheet["passed"], sheet["failed"], sheet["not_applicable"]) == (1, 1, 1)
    assert sheet["error"]["code"] == "SomeFailed"
    assert sheet["endpoint"] == host.appliance.endpoint
    port = ("--port", str(host.appliance.port))
    table = host.sim("certify", *chosen, *port).expect(3)
    assert re.search(r"^ 3  fail  part +\d\.\d s  Bytes of the midst", table.stdout, re.MULTILINE)
    assert "is not what was put" in table.stdout
    assert "1 passed, 1 failed, 1 not applicable, in " in table.stdout
    assert "1 of 3 cases failed: part" in table.stderr
    rows = list(csv.DictReader(io.StringIO(host.sim("certify", *chosen, *port, "-o", "csv").expect(3).stdout)))
    assert [row["verdict"] for row in rows] == ["fail", "n/a", "pass"]
    assert host.client.get_service().buckets == ()


def test_any_endpoint_can_be_tried_with_the_keys_of_the_environment(host: SimHost) -> None:
    """--endpoint means that appliance, in a bucket that stays when it is named and was there."""
    host.client.create_bucket("mine")
    keys = {"DS3_ACCESS_KEY": host.appliance.access_key, "DS3_SECRET_KEY": host.appliance.secret_key}
    chosen = (*_SMALL, "--only", "metadata", "--only", "missing-object", "--bucket", "mine")
    lines = (
        run("sim", "certify", *chosen, "--endpoint", host.appliance.endpoint, "-o", "ndjson", environ=keys)
        .expect()
        .lines
    )
    assert [line["verdict"] for line in lines] == ["pass", "pass"]
    assert [bucket.name for bucket in host.client.get_service().buckets] == ["mine"]
    assert list(host.client.list_objects("mine")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "large"), "there is no case 'large'"),
        (("--size", "1MiB"), "has not two blobs"),
        (("--blob-size", "10"), "has not two blobs"),
        (("--within", "soon"), "is not a duration"),
        (("--port", "8080", "--endpoint", "http://127.0.0.1:1"), "--dir and --port name an appliance of sim"),
    ],
)
def test_what_cannot_be_tried_is_told_before_anything_is(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, and a way out."""
    told = run("sim", "certify", *arguments).expect(2)
    assert said in told.stderr
    assert "hint: " in told.stderr
