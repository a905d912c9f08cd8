"""What is configured and nothing more: every operation of the contract that only makes, reads or changes records.

`register` is called when all other modules of the package have been imported, and serves what none of them does.
"""

from __future__ import annotations

from ds3tool.simulator.contract import Operation, operations
from ds3tool.simulator.dispatch import Handler, rest, served
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.parameters import property_of


def _handler(row: Operation) -> Handler | None:
    """Return who serves a row, or None when it asks for more than records: an operation, or an unknown parameter."""
    row_kind = records.kind_of(row)
    known = row_kind is not None and all(property_of(row_kind, each.name) for each in row.own_parameters)
    if not known:
        return None
    if row.action == "MODIFY" and not row.one:
        return records.modify_all if row.own_parameters else None
    if row.action == "DELETE" and not row.one:
        return None
    if row.action == "LIST" and not row.paged:
        return None
    handlers: dict[str, Handler] = {
        "CREATE": records.create,
        "LIST": records.listing,
        "SHOW": records.show,
        "MODIFY": records.modify,
        "DELETE": records.delete,
    }
    return handlers.get(row.action)


def register() -> None:
    """Register everything of the contract that has no handler yet and is about records."""
    taken = {(each.operation.style, each.name) for each in served()}
    for (style, name), row in operations().items():
        if style == "rest" and (style, name) not in taken:
            handler = _handler(row)
            if handler is not None:
                rest(name)(handler)
