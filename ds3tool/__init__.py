"""Bulk archival client for Spectra S3 / DS3 (BlackPearl) tape storage.

What the library offers, each imported when it is first used:

- `Ds3Client`, one typed method for each call of the appliance; `ConnectionSettings` says how to reach it.
- `PutRun` and `GetRun`, a put and a get through planned bulk jobs; `RunSettings`, `EngineSettings`, `RunResult`.
- `LocalSource` and `LocalSink`, the local ends of such a run; `S3Source` and `S3Sink`, those in S3, which `AwsSettings`
  say how to reach; `Source`, `Sink`, `Recorder`, `Clock`, what to implement for ends and records of your own.
- `Wanted` and `Failure`, what a `GetRun` may be asked for beside what was listed; `MediaNeeded`, which tapes it takes.
- `ObjectToPut`, `ObjectToGet` and `BytesBody`, for those who drive a job by hand.
- `ManualClock`, which waits hours in no time, for your tests; the appliance in a box is in `ds3tool.simulator`.
- `Ds3Error`, the base of every error, and `NotFoundError`; the others are in `ds3tool.errors`.
"""

from __future__ import annotations

# As typing's, whose import would be most of what `ds3tool --version` does; mypy knows the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ds3tool.aws.session import AwsSettings
    from ds3tool.client import Ds3Client
    from ds3tool.clock import Clock, ManualClock, RealClock
    from ds3tool.errors import Ds3Error, NotFoundError
    from ds3tool.jobs.ends import Failure, Sink, Source
    from ds3tool.jobs.engine import EngineSettings
    from ds3tool.jobs.get import GetRun
    from ds3tool.jobs.get_targets import Wanted
    from ds3tool.jobs.media import MediaNeeded
    from ds3tool.jobs.put import PutRun
    from ds3tool.jobs.recorder import MemoryRecorder, Recorder
    from ds3tool.jobs.run import RunResult, RunSettings
    from ds3tool.protocol.model import ObjectToGet, ObjectToPut
    from ds3tool.sinks.local import LocalSink
    from ds3tool.sinks.s3 import S3Sink
    from ds3tool.sources.local import LocalSource
    from ds3tool.sources.s3 import S3Source
    from ds3tool.transport.bodies import BytesBody
    from ds3tool.transport.settings import ConnectionSettings

__all__ = [
    "Ds3Client",
    "ConnectionSettings",
    "PutRun",
    "GetRun",
    "RunSettings",
    "EngineSettings",
    "RunResult",
    "LocalSource",
    "LocalSink",
    "S3Source",
    "S3Sink",
    "AwsSettings",
    "Wanted",
    "Failure",
    "MediaNeeded",
    "ObjectToPut",
    "ObjectToGet",
    "BytesBody",
    "Source",
    "Sink",
    "Recorder",
    "MemoryRecorder",
    "Clock",
    "RealClock",
    "ManualClock",
    "Ds3Error",
    "NotFoundError",
]

_HOMES = {
    "Ds3Client": "client",
    "ConnectionSettings": "transport.settings",
    "PutRun": "jobs.put",
    "GetRun": "jobs.get",
    "RunSettings": "jobs.run",
    "EngineSettings": "jobs.engine",
    "RunResult": "jobs.run",
    "LocalSource": "sources.local",
    "LocalSink": "sinks.local",
    "S3Source": "sources.s3",
    "S3Sink": "sinks.s3",
    "AwsSettings": "aws.session",
    "Wanted": "jobs.get_targets",
    "Failure": "jobs.ends",
    "MediaNeeded": "jobs.media",
    "ObjectToPut": "protocol.model",
    "ObjectToGet": "protocol.model",
    "BytesBody": "transport.bodies",
    "Source": "jobs.ends",
    "Sink": "jobs.ends",
    "Recorder": "jobs.recorder",
    "MemoryRecorder": "jobs.recorder",
    "Clock": "clock",
    "RealClock": "clock",
    "ManualClock": "clock",
    "Ds3Error": "errors",
    "NotFoundError": "errors",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # any of the names above
    """Import what is asked for; importing all of it would cost every start of the command line 50 ms."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
