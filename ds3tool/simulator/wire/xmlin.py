"""Reads request documents as they arrive: Objects of bulk requests, Delete, Ids. No DOCTYPE is accepted."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import field
from xml.parsers import expat

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.simulator.wire.refusals import bad_request, malformed
from ds3tool.simulator.wire.targets import check_name

Start = Callable[[str, dict[str, str]], None]
# More than any name may be long; keeps one attribute from filling the memory.
_MAX_NAME_BYTES = 4096
_MAX_SIZE = 1 << 62
_MOST_DIGITS = 40
_MOST_PARTS = 10_000


def _parse(body: Iterable[bytes], start: Start, end: Callable[[str], None], text: Callable[[str], None] | None) -> None:
    """Feed `body` to expat. Raises a 400 for what is not well-formed or declares a document type."""
    # Whatever encoding a document claims, all text on this wire is UTF-8; of others expat would ask Python, and break.
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise malformed("A document type declaration is not allowed.")

    parser.StartElementHandler = lambda name, values: start(name.rpartition(" ")[2], values)
    parser.EndElementHandler = lambda name: end(name.rpartition(" ")[2])
    if text is not None:
        parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        for piece in body:
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise malformed(f"The request body is not well-formed XML: {error}.") from None


@dataclass(slots=True)
class PutList:
    """Names and sizes that a bulk put declares, as columns: about 100 bytes an object beside the name's text."""

    names: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("Q"))


@dataclass(frozen=True, slots=True)
class WantedObject:
    """One entry of a bulk get, verify or placement: a name, perhaps a range, perhaps a version's id."""

    name: str
    offset: int | None
    length: int | None
    version_id: str | None


class _ObjectsRoot:
    """Checks that entries stand directly below one `Objects`, and counts them."""

    def __init__(self) -> None:
        self.depth = 0
        self.count = 0

    def enter(self, tag: str) -> bool:
        """Note a start tag; tell whether it is an `Object` of the list."""
        self.depth += 1
        if self.depth == 1 and tag != "Objects":
            raise malformed(f"The request body's root is '{tag}', not 'Objects'.")
        if self.depth != 2 or tag != "Object":
            return False
        self.count += 1
        if self.count > names.MAX_OBJECTS_PER_JOB:
            raise bad_request(f"A job may hold at most {names.MAX_OBJECTS_PER_JOB} objects.")
        return True

    def leave(self, _: str) -> None:
        """Note an end tag."""
        self.depth -= 1


def read_put_list(body: Iterable[bytes]) -> PutList:
    """Read the body of a bulk put; `Size` and `Length` both tell an object's bytes. Raises a 400 for a bad one."""
    found = PutList()
    root = _ObjectsRoot()

    def start(tag: str, values: dict[str, str]) -> None:
        if root.enter(tag):
            text = values.get("Size", values.get("Length"))
            if text is None:
                raise malformed("An Object has no Size.")
            size = _number(text, "Size")
            name = _name(values)
            if name.endswith("/") and size:
                raise bad_request(f"The folder '{name}' cannot have a size of {size} bytes.")
            found.names.append(name)
            found.sizes.append(size)

    _parse(body, start, root.leave, None)
    if not found.names:
        raise bad_request("A job needs at least one object.")
    return found


def read_wanted(body: Iterable[bytes]) -> list[WantedObject]:
    """Read the body of a bulk get, verify or placement. Raises a 400 for a bad one."""
    found: list[WantedObject] = []
    root = _ObjectsRoot()

    def start(tag: str, values: dict[str, str]) -> None:
        if root.enter(tag):
            offset, length = values.get("Offset"), values.get("Length")
            found.append(
                WantedObject(
                    _name(values),
                    None if offset is None else _number(offset, "Offset"),
                    None if length is None else _number(length, "Length"),
                    values.get("VersionId") or None,
                )
            )

    _parse(body, start, root.leave, None)
    if not found:
        raise bad_request("The request names no object.")
    return found


def _name(values: dict[str, str]) -> str:
    name = check_name(values.get("Name", ""))
    if len(name) > _MAX_NAME_BYTES or len(name.encode()) > _MAX_NAME_BYTES:
        raise bad_request(f"The object name '{name[:100]}...' is longer than {_MAX_NAME_BYTES} bytes.")
    return name


def _number(text: str, what: str) -> int:
    digits = text.strip()
    # Python itself refuses to read a number of thousands of digits, and not as a client's mistake.
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MOST_DIGITS or int(digits) > _MAX_SIZE:
        raise bad_request(f"{what} '{digits[:40]}' is not a number of bytes.")
    return int(digits)


@dataclass(frozen=True, slots=True)
class DeleteList:
    """A multi-object delete: (key, version id or None) in order, and whether successes are left unsaid."""

    keys: tuple[tuple[str, str | None], ...]
    quiet: bool


def read_delete(body: Iterable[bytes]) -> DeleteList:
    """Read the body of a multi-object delete; at most 1000 keys. Raises a 400 for a bad one."""
    keys: list[tuple[str, str | None]] = []
    path: list[str] = []
    current: dict[str, str] = {}
    quiet = ""

    def start(tag: str, _: dict[str, str]) -> None:
        path.append(tag)
        if len(path) == 1 and tag != "Delete":
            raise malformed(f"The request body's root is '{tag}', not 'Delete'.")
        if path == ["Delete", "Object"]:
            current.clear()

    def end(_: str) -> None:
        if path == ["Delete", "Object"]:
            if not current.get("Key"):
                raise malformed("An Object has no Key.")
            if len(keys) >= names.MAX_KEYS_PER_REQUEST:
                raise malformed(f"At most {names.MAX_KEYS_PER_REQUEST} keys may be deleted at once.")
            keys.append((current["Key"], current.get("VersionId") or None))
        path.pop()

    def text(data: str) -> None:
        nonlocal quiet
        if len(path) == 3 and path[:2] == ["Delete", "Object"]:
            current[path[2]] = current.get(path[2], "") + data
        elif path == ["Delete", "Quiet"]:
            quiet += data

    _parse(body, start, end, text)
    return DeleteList(tuple(keys), quiet.strip().lower() == "true")


def read_ids(body: Iterable[bytes]) -> tuple[str, ...]:
    """Read `<Ids><Id>…</Id></Ids>`, in lower case too, as some manuals have it. Raises a 400 for a bad one."""
    found: list[str] = []
    path: list[str] = []

    def start(tag: str, _: dict[str, str]) -> None:
        path.append(tag.lower())
        if path == ["ids", "id"]:
            found.append("")

    def end(_: str) -> None:
        path.pop()

    def text(data: str) -> None:
        if path == ["ids", "id"]:
            found[-1] += data

    _parse(body, start, end, text)
    return tuple(found)


def read_parts(body: Iterable[bytes]) -> list[tuple[int, str]]:
    """Read `<CompleteMultipartUpload><Part>…`: (number, ETag) of each part in order. Raises a 400 for a bad one."""
    found: list[tuple[int, str]] = []
    path: list[str] = []
    current: dict[str, str] = {}

    def start(tag: str, _: dict[str, str]) -> None:
        path.append(tag)
        if len(path) == 1 and tag != "CompleteMultipartUpload":
            raise malformed(f"The request body's root is '{tag}', not 'CompleteMultipartUpload'.")
        if path == ["CompleteMultipartUpload", "Part"]:
            current.clear()

    def end(_: str) -> None:
        if path == ["CompleteMultipartUpload", "Part"]:
            if not current.get("ETag", "").strip() or "PartNumber" not in current:
                raise malformed("A Part has no PartNumber or no ETag.")
            if len(found) >= _MOST_PARTS:
                raise malformed(f"At most {_MOST_PARTS} parts make an object.")
            found.append((_number(current["PartNumber"].strip(), "PartNumber"), current["ETag"].strip()))
        path.pop()

    def text(data: str) -> None:
        if len(path) == 3 and path[1] == "Part":
            current[path[2]] = current.get(path[2], "") + data

    _parse(body, start, end, text)
    return found
