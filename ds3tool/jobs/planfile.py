"""A plan on disk: what a put or a get is going to move, object by object, to be read, shown and run later.

The file is text, one JSON document a line: a head that says what was asked, an object a line, and a last line that
counts them, so that a plan that was cut short is not taken for a whole one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any, BinaryIO

from ds3tool.errors import ConfigError, Ds3Error, PathNotFoundError, SinkError, UsageError
from ds3tool.jobs.ends import SourceObject, TargetObject
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.plan import JobLimits, PlannedJob
from ds3tool.jobs.run import RunSettings
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import JobType, Priority
from ds3tool.protocol.ranges import ByteRange

FORMAT = 1
_MARK = "ds3tool_plan"
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class PlanHead:
    """What a plan is for: the direction, the bucket, and what the command was told, by the names of its options."""

    type: JobType
    bucket: str
    asked: Mapping[str, Any] = field(default_factory=dict)


def write_plan(file: BinaryIO, head: PlanHead, plans: Iterable[PlannedJob]) -> tuple[int, int]:
    """Write `plans` as they come; return how many objects and bytes they are."""
    _write(file, {_MARK: FORMAT, "type": head.type.value, "bucket": head.bucket, "asked": dict(head.asked)})
    objects = size = jobs = 0
    for plan in plans:
        jobs += 1
        for number in range(len(plan)):
            if plan.type == JobType.PUT:
                _write(file, _source_line(plan.source_object(number)))
            else:
                _write(file, _target_line(plan.target_object(number)))
        objects += len(plan)
        size += plan.bytes
    _write(file, {"jobs": jobs, "objects": objects, "bytes": size})
    return objects, size


def save_plan(path: str, head: PlanHead, plans: Iterable[PlannedJob]) -> tuple[int, int]:
    """Write a plan into a new file, which appears whole or not at all; SinkError when it cannot, or is there.

    It may lie in the very folder that is planned, so nothing appears there before the planning is through.
    """
    import tempfile

    refuse_taken(path)
    with tempfile.TemporaryFile() as draft:
        counted = write_plan(draft, head, plans)
        draft.seek(0)
        temporary = f"{path}.{os.getpid()}.part"
        try:
            with open(temporary, "xb") as file:
                shutil.copyfileobj(draft, file)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        except FileExistsError as error:
            raise SinkError(f"{path} has appeared meanwhile", hint="choose another name for the plan") from error
        except OSError as error:
            raise SinkError(f"the plan {path} cannot be written: {error.strerror}") from error
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)
    return counted


def refuse_taken(path: str) -> None:
    """Raise UsageError when something has that name already."""
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already", hint="choose another name for the plan")


class SavedPlan:
    """A plan as a file holds it; checked whole before anything of it is done, read lazily after that.

    Raises PathNotFoundError when there is none, ConfigError, with the line, when it is no plan or only part of one.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.objects = self.bytes = 0
        lines = self._lines()
        try:
            _, first = next(lines)
        except StopIteration:
            raise ConfigError(f"{path} is empty, and no plan") from None
        self.head = self._head(first)
        ended = False
        for number, line in lines:
            if ended:
                raise ConfigError(f"{path}, line {number}: something follows the end of the plan")
            if "key" in line:
                self.bytes += self._item(number, line).size
                self.objects += 1
            else:
                ended = True
                if (line.get("objects"), line.get("bytes")) != (self.objects, self.bytes):
                    raise ConfigError(f"{path}, line {number}: the plan does not hold what its last line counts")
        if not ended:
            raise ConfigError(f"{path} was cut short: its last line is missing", hint="make the plan again")

    def source_objects(self) -> Iterator[SourceObject]:
        """Yield what a put is to move, in the plan's order."""
        for item in self._items():
            assert isinstance(item, SourceObject)
            yield item

    def target_objects(self) -> Iterator[TargetObject]:
        """Yield what a get is to move, in the plan's order."""
        for item in self._items():
            assert isinstance(item, TargetObject)
            yield item

    def _items(self) -> Iterator[SourceObject | TargetObject]:
        found = 0
        for number, line in self._lines():
            if "key" in line:
                found += 1
                yield self._item(number, line)
        if found != self.objects:
            raise ConfigError(
                f"{self.path} holds {found} objects now, and held {self.objects} when it was checked",
                hint="keep the plan in a file that nobody writes to: a pipe can be read only once",
            )

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            with open(self.path, "rb") as file:
                number = 0
                while text := file.readline(_LONGEST_LINE):
                    number += 1
                    try:
                        line = json.loads(text)
                    except ValueError as error:
                        raise ConfigError(f"{self.path}, line {number}: this is no line of a plan") from error
                    if not isinstance(line, dict) or not text.endswith(b"\n"):
                        raise ConfigError(f"{self.path}, line {number}: this is no line of a plan")
                    yield number, line
        except OSError as error:
            raise PathNotFoundError(f"the plan {self.path} cannot be read: {error.strerror}") from error

    def _head(self, line: Mapping[str, Any]) -> PlanHead:
        if line.get(_MARK) != FORMAT:
            raise ConfigError(
                f"{self.path} is no plan that this ds3tool can read", hint="make one with: ds3tool plan put --save FILE"
            )
        try:
            type_ = JobType(line["type"])
            if type_ not in {JobType.PUT, JobType.GET} or not isinstance(line["asked"], dict):
                raise ValueError(type_)
            return PlanHead(type_, str(line["bucket"]), line["asked"])
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{self.path}, line 1: this does not say what is to be moved") from error

    def _item(self, number: int, line: Mapping[str, Any]) -> SourceObject | TargetObject:
        try:
            item = _source_object(line) if self.head.type == JobType.PUT else _target_object(line)
        except (KeyError, TypeError, ValueError, Ds3Error) as error:
            raise ConfigError(f"{self.path}, line {number}: this is no object of a plan") from error
        return item


def settings_mapping(settings: RunSettings) -> dict[str, Any]:
    """Return what a plan keeps of a run's settings: all but how many things go at once, and leave to delete."""
    return {
        "priority": settings.priority,
        "blob_size": settings.blob_size,
        "max_job_objects": settings.limits.objects,
        "max_job_bytes": settings.limits.bytes,
        "job_name": settings.job_name,
        "if_exists": settings.if_exists.value,
        "checksum": settings.checksum.value,
        "metadata": dict(settings.metadata),
    }


def settings_of(kept: Mapping[str, Any]) -> RunSettings:
    """Return the settings that a plan has kept; ConfigError for what cannot be."""
    try:
        limits = JobLimits(_number(kept["max_job_objects"], least=1), _optional(kept["max_job_bytes"]))
        priority, name = kept["priority"], kept["job_name"]
        return RunSettings(
            priority=None if priority is None else Priority(_text(priority)),
            blob_size=_optional(kept["blob_size"]),
            limits=limits,
            job_name=None if name is None else _text(name),
            if_exists=IfExists(kept["if_exists"]),
            checksum=ChecksumChoice(kept["checksum"]),
            metadata={_text(key): _text(value) for key, value in kept["metadata"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError("the plan does not say how it is to be done", hint="make the plan again") from error


def _optional(value: object) -> int | None:
    return None if value is None else _number(value, least=1)


def _write(file: BinaryIO, line: Mapping[str, Any]) -> None:
    # Escapes keep half surrogates, which stand for bytes that are not UTF-8.
    file.write(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")


def _source_line(item: SourceObject) -> dict[str, Any]:
    line: dict[str, Any] = {"key": item.key, "size": item.size, "name": os.fsdecode(item.name)}
    if item.modified_ns:
        line["modified_ns"] = item.modified_ns
    if item.inode:
        line["inode"] = item.inode
    return line


def _source_object(line: Mapping[str, Any]) -> SourceObject:
    return SourceObject(
        _text(line["key"]),
        _number(line["size"]),
        _number(line.get("modified_ns", 0), least=-(1 << 63)),
        os.fsencode(_text(line["name"])),
        _number(line.get("inode", 0), most=(1 << 64) - 1),
    )


def _target_line(item: TargetObject) -> dict[str, Any]:
    line: dict[str, Any] = {"key": item.key, "size": item.size, "name": item.name}
    if item.version_id is not None:
        line["version_id"] = item.version_id
    if item.ranges:
        line["ranges"] = [[one.start, one.end] for one in item.ranges]
    if item.replace:
        line["replace"] = True
    return line


def _target_object(line: Mapping[str, Any]) -> TargetObject:
    version = line.get("version_id")
    return TargetObject(
        _text(line["key"]),
        _number(line["size"]),
        _text(line["name"]),
        None if version is None else _text(version),
        tuple(ByteRange(_number(start), _number(end)) for start, end in line.get("ranges", ())),
        replace=line.get("replace") is True,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: object, *, least: int = 0, most: int = (1 << 63) - 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(value)
    return value
