"""How a job's objects are written: rows of a document, many at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ds3tool.errors import UsageError
from ds3tool.protocol import xmlcodec
from ds3tool.protocol.model import ObjectToGet, ObjectToPut
from ds3tool.protocol.object_columns import GetColumns, PutColumns


def put_rows(objects: Sequence[ObjectToPut]) -> str:
    """Return the rows of objects to put; UsageError for what cannot be one."""
    columns = PutColumns.of(objects)
    keys = _written(columns.keys)
    if min(columns.sizes) < 0:
        least = min(columns.sizes)
        raise UsageError(f"the size of {columns.keys[columns.sizes.index(least)]!a} cannot be {least}")
    size = columns.sizes[0]
    if columns.sizes.count(size) == len(keys):  # frames, tiles and other files of one kind
        rows = f'" Size="{size}"/><Object Name="'.join(keys)
        return f'<Object Name="{rows}" Size="{size}"/>'
    return "".join([f'<Object Name="{key}" Size="{size}"/>' for key, size in zip(keys, columns.sizes, strict=True)])


def put_length(objects: Sequence[ObjectToPut]) -> int:
    """Return the bytes that `put_rows` takes, without making them where that can be."""
    columns = PutColumns.of(objects)
    if columns.sizes.typecode != "Q" or not all(columns.keys) or xmlcodec.any_special(columns.keys):
        return len(put_rows(columns).encode())
    text = "".join(columns.keys)
    size = columns.sizes[0]
    alike = columns.sizes.count(size) == len(columns)
    digits = len(str(size)) * len(columns) if alike else len("".join(map(str, columns.sizes)))
    return len(columns) * len('<Object Name="" Size=""/>') + digits + len(text if text.isascii() else text.encode())


def get_rows(objects: Sequence[ObjectToGet]) -> str:
    """Return the rows of objects to get, of their ranges and versions; UsageError for what cannot be one."""
    if isinstance(objects, GetColumns) and not objects.version_ids:
        rows = '"/><Object Name="'.join(_written(objects.keys))
        return f'<Object Name="{rows}"/>'
    keys = _written([one.key for one in objects])
    written = []
    for key, one in zip(keys, objects, strict=True):
        if one.offset is None and one.length is None and one.version_id is None:
            written.append(f'<Object Name="{key}"/>')
            continue
        start = end = version = ""
        if one.offset is not None or one.length is not None:
            offset = one.offset or 0
            if one.length is None or one.length < 1 or offset < 0:
                raise UsageError(f"a range of {one.key!a} needs an offset and a length of at least 1 byte")
            start, end = f' Length="{one.length}"', f' Offset="{offset}"'
        if one.version_id is not None:
            version = f' VersionId="{xmlcodec.attribute(one.version_id)}"'
        written.append(f'<Object{start} Name="{key}"{end}{version}/>')
    return "".join(written)


def get_length(objects: Sequence[ObjectToGet]) -> int:
    """Return the bytes that `get_rows` takes, without making them where that can be."""
    if not isinstance(objects, GetColumns) or objects.version_ids or not all(objects.keys):
        return len(get_rows(objects).encode())
    if xmlcodec.any_special(objects.keys):
        return len(get_rows(objects).encode())
    text = "".join(objects.keys)
    return len(objects) * len('<Object Name=""/>') + len(text if text.isascii() else text.encode())


def _written(keys: list[str]) -> list[str]:
    """Return keys as attributes; UsageError for one that cannot be one."""
    _refuse_empty(keys)
    return [xmlcodec.attribute(key) for key in keys] if xmlcodec.any_special(keys) else keys


def _refuse_empty(keys: Iterable[str]) -> None:
    if not all(keys):
        raise UsageError("the key of an object is empty")
