"""Every operation of the contract: asked as the contract says, answered with a status and type that it declares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.contract import Operation, Parameter, Property, kind, operations, words
from ds3tool.simulator.dispatch import served
from ds3tool.simulator.records.engine import kind_of
from ds3tool.simulator.records.parameters import property_of
from tests.simulator.shapes import check_answer
from tests.simulator.stage import Ask, Stage
from tests.simulator.subjects import given, objects
from tests.simulator.wire import Answer, Wire

ROWS = list(operations().values())
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _title(row: Operation) -> str:
    return f"{row.style}-{row.name}"


def _start() -> tuple[Stage, Appliance]:
    settings = ApplianceSettings(
        persist_delay=0.0,
        hold=0.0,
        retry_after=0,
        seed=7,
        blob_size=1000,
        chunk_size=3000,
        robot_delay=3600.0,
        tapes=60,
    )
    appliance = Appliance(settings).start()
    stage = Stage(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key))
    assert stage.wire.ask("PUT", "/b").status == 200
    return stage, appliance


def _end(stage: Stage, appliance: Appliance) -> None:
    stage.wire.close()
    appliance.close()


@pytest.fixture(scope="module")
def quiet() -> Iterator[Stage]:
    """An appliance in which nothing changes by itself while it is looked at."""
    stage, appliance = _start()
    yield stage
    _end(stage, appliance)


@pytest.fixture(scope="module")
def shared() -> Iterator[Stage]:
    """The appliance of all operations that leave the others' subjects alone."""
    stage, appliance = _start()
    yield stage
    _end(stage, appliance)


@pytest.fixture
def stage(request: pytest.FixtureRequest, row: Operation) -> Iterator[Stage]:
    """The shared appliance, or one for the test alone that ends all jobs, moves all tapes or stops drives."""
    if row.verb != "GET" and (row.resource in _FEW or (row.resource in _WHOLE and not row.one)):
        own, appliance = _start()
        yield own
        _end(own, appliance)
    else:
        yield request.getfixturevalue("shared")


# What there are few of, and what operations without an id are about all of.
_FEW = ("tape_density_directive", "tape_drive", "tape_partition")
_WHOLE = ("active_job", "canceled_job", "completed_job", "data_path_backend", "job", "tape")


def _told(row: Operation, answer: Answer) -> str:
    return f"{row.name} ended in {answer.status}: {answer.body.decode()[:300]}"


def _check(row: Operation, answer: Answer) -> None:
    assert answer.status in {status for status in row.answers if status < 300}, _told(row, answer)
    check_answer(answer, row.answers[answer.status])
    if row.paged:
        assert int(answer.headers["total-result-count"]) >= int(answer.headers["page-truncated"]) >= 0


@pytest.mark.parametrize("row", ROWS, ids=_title)
def test_every_operation_answers_as_declared(stage: Stage, row: Operation) -> None:
    """With what it requires, and with all that it allows, an operation has a status and a document of the contract."""
    _check(row, stage.ask(row, given(stage, row)))
    if row.action in ("CREATE", "LIST", "MODIFY") and any(not each.required for each in row.parameters):
        _check(row, stage.ask(row, given(stage, row), optional=True))


def test_every_operation_has_a_handler() -> None:
    """Nothing of the contract is left without an answer."""
    assert {(each.operation.style, each.name) for each in served()} == set(operations())


_FILTERED = [row for row in ROWS if row.action == "LIST" and row.paged and row.own_parameters]


@pytest.mark.parametrize("row", _FILTERED, ids=_title)
def test_filters_choose_from_the_list(quiet: Stage, row: Operation) -> None:
    """Words and truths share out what is listed; texts, dates and ids that nothing has find none."""
    asked = given(quiet, row)
    whole = quiet.total(row, asked)
    for parameter in row.own_parameters:
        shared_out = words(parameter.type) or (("true", "false") if parameter.type == "boolean" else ())
        if shared_out:
            parts = [quiet.total(row, asked, **{parameter.name: word}) for word in shared_out]
            empty = quiet.total(row, asked, **{parameter.name: ""}) if _nullable(row, parameter) else 0
            assert sum(parts) + empty == whole, (parameter.name, parts, empty, whole)
        elif parameter.type in ("String", "Date", "UUID") and parameter.name != "sort_by":
            nothing = {"String": "nothing", "Date": "2001-01-01T00:00:00.000Z", "UUID": UNKNOWN}[parameter.type]
            assert quiet.total(row, asked, **{parameter.name: nothing}) == 0, parameter.name


@pytest.mark.parametrize("row", [row for row in ROWS if row.action == "LIST" and row.paged], ids=_title)
def test_lists_are_in_the_order_of_their_type(quiet: Stage, row: Operation) -> None:
    """What a type is sorted by sorts its lists, ascending or descending, words by the order of their enumeration."""
    given(quiet, row)
    asked = given(quiet, row)
    order = kind((row.success[1] or "").rstrip("*")).order
    listed = [[_key(each.findtext(by.tag) or "", by) for by in order] for each in quiet.ask(row, asked).xml]
    expected = listed
    for place in reversed(range(len(order))):
        _, descending = order[place].sort or (0, False)
        expected = sorted(expected, key=lambda keys: keys[place], reverse=descending)
    assert listed == expected


def _key(text: str, by: Property) -> tuple[bool, int, str]:
    allowed = words(by.type)
    number = allowed.index(text) if allowed and text else int(text) if by.type.lower() in ("int", "long") else 0
    return not text, number, text


def _nullable(row: Operation, parameter: Parameter) -> bool:
    about = kind_of(row)
    speaks_of = property_of(about, parameter.name) if about is not None else None
    return speaks_of is not None and speaks_of.nullable


def test_an_unknown_id_is_not_found(shared: Stage) -> None:
    """Whatever is asked of something that is not there ends in a 404 and an Error document."""
    for row in ROWS:
        if row.one:
            body = objects("a", size=1) if row.resource == "bucket" else b""
            answer = shared.ask(row, Ask(UNKNOWN, body=body))
            assert answer.status == 404, _told(row, answer)
            check_answer(answer, "Error")
            assert answer.xml.findtext("HttpErrorCode") == "404"


def test_a_word_that_an_enumeration_does_not_have_is_refused(shared: Stage) -> None:
    """Every parameter that takes one of several words ends in a 400 for another one."""
    for (style, _), row in operations().items():
        for parameter in row.parameters if style == "rest" else ():
            if words(parameter.type) is not None:
                plain = {each.name: shared.plain(each) for each in row.parameters if each.required and not each.void}
                answer = shared.ask(row, Ask(UNKNOWN, parameters={**plain, parameter.name: "NONSENSE"}))
                assert answer.status == 400, f"{parameter.name}: {_told(row, answer)}"


def test_verbs_that_a_resource_has_no_operation_for_are_not_allowed(shared: Stage) -> None:
    """Each resource ends in a 405 for them, with and without an id; an operation that none has ends in a 400."""
    rows = [row for row in operations().values() if row.style == "rest"]
    for resource in {row.resource for row in rows}:
        for one in (False, True):
            verbs = {row.verb for row in rows if (row.resource, row.one) == (resource, one)}
            path = f"/_rest_/{resource}" + (f"/{UNKNOWN}" if one else "")
            for verb in {"GET", "PUT", "POST", "DELETE"} - verbs:
                assert shared.wire.ask(verb, path).status == 405, (verb, path)
            if verbs:
                assert shared.wire.ask(min(verbs), f"{path}?operation=explode").status == 400, path
