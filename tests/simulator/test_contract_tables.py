"""The contract's tables, as the appliance reads them."""

from __future__ import annotations

from ds3tool.simulator.contract import kind, operation, operations, words

SCALARS = {"boolean", "Boolean", "int", "Integer", "long", "Long", "double", "Double", "String", "UUID", "Date", "void"}
# The model has properties of these that no answer is made of.
UNBOUND = {"Object"}


def test_every_type_that_is_named_stands_in_the_tables() -> None:
    """No operation takes or answers, and no type holds, what the tables do not explain."""
    asked = [name for row in operations().values() for name in row.answers.values() if name is not None]
    asked += [parameter.type for row in operations().values() for parameter in row.parameters]
    seen: set[str] = set()
    while asked:
        name = asked.pop().rstrip("*")
        if name in SCALARS | UNBOUND or name in seen or words(name) is not None:
            continue
        seen.add(name)
        asked += [each.type for each in kind(name).properties]
        asked += [each.refers for each in kind(name).properties if each.refers]
    assert {"Tape", "JobWithChunks", "PhysicalPlacement", "DataPolicy"} <= seen


def test_rows_are_read_as_they_are_written() -> None:
    """Verb, path, required and optional parameters, pages and answers all come out of a row."""
    eject = operation("rest", "EjectStorageDomain")
    assert (eject.verb, eject.resource, eject.one, eject.operation) == ("PUT", "tape", False, "eject")
    assert eject.required == ("storage_domain",)
    assert eject.success == (204, None)
    tapes = operation("rest", "GetTapes")
    assert tapes.paged
    assert tapes.success == (200, "Tape*")
    assert tapes.action == "LIST"
    assert {"page_length", "last_page", "bar_code"} <= {each.name for each in tapes.parameters}


def test_properties_are_read_as_they_are_written() -> None:
    """Nulls, defaults, attributes, wrappers and the order of lists are known of each property."""
    tape = kind("Tape")
    assert [each.name for each in tape.order] == ["State", "Type", "BarCode"]
    label, state = tape.property("EjectLabel"), tape.property("State")
    assert label is not None
    assert label.nullable
    assert state is not None
    assert state.default == "PENDING_INSPECTION"
    nodes = kind("JobWithChunks").property("Nodes")
    assert nodes is not None
    assert (nodes.wrapper, nodes.tag, nodes.several, nodes.omitted) == ("Nodes", "Node", True, True)
    prefixes = kind("BucketListing").property("CommonPrefixes")
    assert prefixes is not None
    assert prefixes.wrapped_each
    assert "EJECTED" in (words("TapeState") or ())
