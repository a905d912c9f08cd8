"""Which handler answers a request, by the contract's table: verb, resource, operation and required parameters.

Handlers register with `rest` (below `/_rest_/`) and `s3` (everything else), under the contract's operation names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.simulator.contract import Operation, operation, words
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.wire.messages import Reply, Request
from ds3tool.simulator.wire.refusals import Refusal, bad_request
from ds3tool.simulator.wire.targets import decode

_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")
_DATES = ("start_date", "end_date")
# Words that may be looked for, but that nobody may set. Source: protocol, 8.1.
_APPLIANCES_OWN = {"BlobStoreTaskPriority": ("CRITICAL", "BACKGROUND")}
REST_PREFIX = "/_rest_/"


@dataclass(slots=True)
class Call:
    """One request on its way to its handler. `identifier` is the decoded rest of the path after the resource.

    `row` is the operation that it asks for, as the contract has it; set when that has been found.
    """

    machine: Machine
    request: Request
    user: Fields
    resource: str = ""
    identifier: str = ""
    bucket: str = ""
    name: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    row: Operation | None = None

    def has(self, name: str) -> bool:
        """Tell whether a void parameter is there, whatever its value."""
        return name in self.parameters

    def text(self, name: str) -> str | None:
        """Return a parameter's text; None when it is absent."""
        return self.parameters.get(name)

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        """Return a boolean parameter, in any case; a 400 for another word."""
        text = self.parameters.get(name)
        if text is None:
            return default
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise bad_request(f"The parameter {name} is '{text}', not true or false.")

    def number(self, name: str) -> int | None:
        """Return a whole number of 0 or more; None when absent or empty; a 400 for anything else."""
        text = self.parameters.get(name)
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise bad_request(f"The parameter {name} is '{text}', not a number.")
        return int(text)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """Return an enumeration's value in upper case; None when absent; a 400 when it is none of `allowed`."""
        text = self.parameters.get(name)
        if text is None:
            return None
        if text.upper() not in allowed:
            raise bad_request(f"The parameter {name} is '{text}', not one of {', '.join(allowed)}.")
        return text.upper()

    def needed(self, name: str) -> str:
        """Return a parameter that must be there and not empty; a 400 when it is not."""
        text = self.parameters.get(name)
        if not text:
            raise bad_request(f"The parameter {name} is missing.")
        return text


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Served:
    """One operation of the contract, and who answers it."""

    operation: Operation
    required: frozenset[str]
    handler: Handler

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.operation.name


_Key = tuple[str, str, bool, str]
_REST: dict[_Key, list[Served]] = {}
_S3: dict[tuple[str, str], list[Served]] = {}
# Sub-resources of Amazon S3 that the appliance does not know. Ignoring one would answer another question than asked.
_FOREIGN = frozenset(
    (
        *("acl", "policy", "lifecycle", "tagging", "cors", "website", "logging", "notification", "requestpayment"),
        *("torrent", "versioning", "accelerate", "analytics", "encryption", "inventory", "metrics", "replication"),
        *("object-lock", "legal-hold", "retention", "publicaccessblock", "policystatus", "ownershipcontrols"),
        *("intelligent-tiering", "select", "restore", "attributes", "list-type"),
    )
)
# Names of parameters as Amazon spells them (in lower case), which the appliance is said to know too.
_AMAZON_NAMES = {
    "versionid": "version_id",
    "uploadid": "upload_id",
    "partnumber": "part_number",
    "max-keys": "max_keys",
    "key-marker": "key_marker",
    "version-id-marker": "version_id_marker",
    "max-uploads": "max_uploads",
    "upload-id-marker": "upload_id_marker",
    "max-parts": "max_parts",
    "part-number-marker": "part_number_marker",
}


def rest(name: str) -> Callable[[Handler], Handler]:
    """Register who answers the operation `name` below `/_rest_/`; KeyError when the contract has none of that name.

    Among operations that differ only in parameters, the one whose required ones are all there and most numerous wins.
    """

    def register(handler: Handler) -> Handler:
        row = operation("rest", name)
        _enlist(_REST.setdefault((row.verb, row.resource, row.one, row.operation), []), row, handler)
        return handler

    return register


def s3(name: str) -> Callable[[Handler], Handler]:
    """Register who answers an operation of the Amazon style; KeyError when the table has none of that name."""

    def register(handler: Handler) -> Handler:
        row = operation("s3", name)
        _enlist(_S3.setdefault((row.verb, row.resource), []), row, handler)
        return handler

    return register


def _enlist(rows: list[Served], row: Operation, handler: Handler) -> None:
    assert all(each.name != row.name for each in rows), f"{row.name} has two handlers"
    rows.append(Served(row, frozenset(row.required), handler))
    rows.sort(key=lambda each: -len(each.required))


def served() -> list[Served]:
    """Return everything that has a handler, by style and name."""
    rows = [row for rows in (*_REST.values(), *_S3.values()) for row in rows]
    return sorted(rows, key=lambda row: (row.operation.style, row.name))


def find(call: Call) -> Served:
    """Return the operation that a call asks for, and set what its path names; a refusal when there is none."""
    path = call.request.target.path
    below_rest = path == REST_PREFIX[:-1] or path.startswith(REST_PREFIX)
    found = _find_rest(call, path[len(REST_PREFIX) :]) if below_rest else _find_s3(call)
    call.row = found.operation
    return found


def _find_rest(call: Call, rest_of_path: str) -> Served:
    raw_resource, slash, raw_identifier = rest_of_path.partition("/")
    resource = decode(raw_resource).lower()
    identifier = decode(raw_identifier)
    if resource not in ("folder", "object"):
        identifier = identifier.rstrip("/")
    call.resource, call.identifier = resource, identifier
    verb, operation = call.request.verb, call.parameters.get("operation", "").lower()
    rows = _REST.get((verb, resource, bool(identifier), operation), [])
    for row in rows:
        if row.required <= call.parameters.keys():
            _check_parameters(call, row.operation)
            return row
    if rows:
        missing = ", ".join(name for name in rows[-1].operation.required if name not in call.parameters)
        raise bad_request(f"The request lacks the parameter {missing}.")
    alike = [key for key in _REST if key[1] == resource]
    if not alike:
        raise Refusal(404, names.NOT_FOUND, f"NotFound[404]: There is no resource '{resource}'.")
    if operation and any(key[:3] == (verb, resource, bool(identifier)) for key in alike):
        raise bad_request(f"The resource '{resource}' has no operation '{operation}' here.")
    if slash and not identifier and (verb, resource, True, operation) in _REST:
        raise bad_request(f"The request names none of '{resource}'.")  # DELETE bucket/ and the like
    raise Refusal(
        405, names.METHOD_NOT_ALLOWED, f"MethodNotAllowed[405]: {verb} is not an operation of '{path_of(call)}'."
    )


def _check_parameters(call: Call, row: Operation) -> None:
    """Refuse words, numbers and truths that are none with a 400; parameters that nobody knows are left alone.

    Dates are their handlers' to read: the contract has some as numbers, but they come as ISO 8601 as well.
    """
    for parameter in row.parameters:
        text = call.parameters.get(parameter.name)
        if text is None or parameter.void or (not text and not parameter.required) or parameter.name in _DATES:
            continue
        allowed = words(parameter.type)
        if allowed is not None:
            own = _APPLIANCES_OWN.get(parameter.type, ()) if row.verb != "GET" else ()
            call.choice(parameter.name, tuple(word for word in allowed if word not in own))
        elif parameter.type.lower() in ("int", "integer", "long"):
            call.number(parameter.name)
        elif parameter.type.lower() == "boolean":
            call.flag(parameter.name)


def path_of(call: Call) -> str:
    """Return the request's path, raw."""
    return call.request.target.path


def _find_s3(call: Call) -> Served:
    call.bucket, name = call.request.target.bucket_and_name()
    call.name = name or ""
    if not call.bucket and name is not None:
        message = f"{names.NO_SUCH_BUCKET}[404]: Bucket does not exist where name = ''"
        raise Refusal(404, names.NO_SUCH_BUCKET, message)
    level = "service" if not call.bucket else "bucket" if name is None else "object"
    for theirs in _AMAZON_NAMES.keys() & call.parameters.keys():
        call.parameters.setdefault(_AMAZON_NAMES[theirs], call.parameters[theirs])
    foreign = sorted(_FOREIGN & call.parameters.keys())
    if foreign or "x-amz-copy-source" in call.request.headers:
        what = foreign[0] if foreign else "x-amz-copy-source"
        raise Refusal(501, "NotImplemented", f"NotImplemented[501]: '{what}' is not an operation of this appliance.")
    for row in _S3.get((call.request.verb, level), []):
        if row.required <= call.parameters.keys():
            return row
    if level == "service" and (call.request.verb, "bucket") in _S3:
        raise bad_request("A bucket needs a name.", names.INVALID_BUCKET_NAME)  # what the SDKs' suites look for
    message = f"MethodNotAllowed[405]: {call.request.verb} is not an operation of '{path_of(call)}'."
    raise Refusal(405, names.METHOD_NOT_ALLOWED, message)
