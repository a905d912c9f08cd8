"""A server and a client in C that take as little of the machine as can be: what ds3tool and its peers are held against.

`build` makes both with gcc, once for each state of their sources; `serve` runs the server, which drops what is put and
gives what is got from memory, in DS3 and in S3; `limit` runs the client, which does nothing but move the bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

BUCKET = "bench"

_HERE = Path(__file__).parent
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pthread")
_PROGRAMS = {
    "server": ("server.c", "http.c", "ds3.c", "s3.c", "virtual.c", "digests.c", "text.c"),
    "limit": ("limit.c",),
}
_LONGEST_START_SECONDS = 60  # the digest of a large object is made before the port is told

Checksum = Literal["none", "crc32c", "crc32", "md5"]
Mode = Literal["put-large", "get-large", "put-small", "get-small", "bare"]


class YardstickError(Exception):
    """A program of the yardstick cannot be built, does not start, or failed."""


def build() -> Path:
    """Return the folder with the programs `server` and `limit`, compiling them unless it was done before.

    The folder is in the system's temporary one, named after the user and the digest of sources and flags. Raises
    YardstickError without gcc, and when it refuses a source.
    """
    sources = sorted(path for path in _HERE.iterdir() if path.suffix in {".c", ".h"})
    digest = hashlib.sha256(repr(_FLAGS).encode())
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = Path(tempfile.gettempdir()) / f"ds3tool-yardstick-{os.getuid()}-{digest.hexdigest()[:16]}"
    if folder.is_dir():
        if folder.stat().st_uid != os.getuid():
            raise YardstickError(f"{folder} belongs to somebody else")
        return folder
    gcc = shutil.which("gcc")
    if gcc is None:
        raise YardstickError(
            "the yardstick is written in C, and there is no gcc here (Debian: apt install gcc libc6-dev)"
        )
    making = Path(tempfile.mkdtemp(prefix=folder.name + "-"))
    try:
        for program, names in _PROGRAMS.items():
            command = [gcc, *_FLAGS, "-o", str(making / program), *(str(_HERE / name) for name in names), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0 or done.stderr:
                raise YardstickError(f"gcc refuses {program}:\n{done.stderr}")
        try:
            making.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker, with the same programs
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


@dataclass(frozen=True, slots=True)
class Stats:
    """What the server has seen since it started, or since `Server.reset`.

    `requests` are all, `puts` and `gets` those of objects; bytes are of objects' bodies; times are seconds of the
    monotonic clock, 0.0 while no body has come or gone; `cpu_seconds` is the server's own.
    """

    requests: int
    puts: int
    gets: int
    bytes_in: int
    bytes_out: int
    first_body_byte: float
    last_body_byte: float
    cpu_seconds: float

    @property
    def transfer_seconds(self) -> float:
        """Seconds from the first to the last byte of a body."""
        return self.last_body_byte - self.first_body_byte


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs; `process_id` is its own."""

    port: int
    process_id: int

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What ds3tool needs in its environment to use it."""
        return {"DS3_ENDPOINT": self.endpoint, "DS3_ACCESS_KEY": "k", "DS3_SECRET_KEY": "s"}

    def stats(self) -> Stats:
        """Ask for its numbers; the asking itself is not among them."""
        with _OPENER.open(f"{self.endpoint}/_bench_/stats", timeout=30) as reply:
            return Stats(**json.load(reply))

    def reset(self) -> None:
        """Set its numbers to zero."""
        with _OPENER.open(f"{self.endpoint}/_bench_/reset", timeout=30):
            pass


# Whatever proxy the environment names, it is not between us and this server.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def serve(
    *,
    port: int = 0,
    delay_ms: float = 0,
    objects: int = 0,
    size: int = 0,
    prefix: str = "P",
    checksum: Checksum = "none",
    versions: bool = False,
    workers: int | None = None,
) -> Iterator[Server]:
    """Run the server as long as the context lasts.

    `objects` of `size` bytes can be got, under `prefix` and nine digits; each reply is held back for `delay_ms`;
    `checksum` is that of the data policy, and of what is got. Raises YardstickError when it does not start, or has
    died when the context ends.
    """
    command = [str(build() / "server"), "--port", str(port), "--delay-ms", str(delay_ms)]
    command += ["--objects", str(objects), "--size", str(size), "--prefix", prefix, "--checksum", checksum]
    command += ["--versions"] if versions else []
    command += ["--workers", str(workers)] if workers is not None else []
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        if len(words) != 2 or words[0] != "port":
            raise YardstickError(f"the server did not start (exit code {process.wait(_LONGEST_START_SECONDS)})")
        yield Server(int(words[1]), process.pid)
        if process.poll() is not None:
            raise YardstickError(f"the server died (exit code {process.returncode})")
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def limit(
    mode: Mode,
    port: int = 0,
    *,
    connections: int = 4,
    count: int = 0,
    size: int = 0,
    folder: Path,
) -> dict[str, Any]:
    """Run the client in C and return its numbers: seconds, bytes, gb_per_s, requests_per_s, cpu_seconds.

    `put-*` send the files P000000000... of `folder`, of `size` bytes each; `get-*` write them there; over so many
    `connections`, each in a thread. `bare` needs no server: it moves one of the files over each of so many pairs of
    sockets to nowhere, and its processor time is that of both ends. Raises YardstickError when anything went wrong.
    """
    command = [str(build() / "limit"), mode, "--port", str(port), "--connections", str(connections)]
    command += ["--count", str(count), "--size", str(size), "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise YardstickError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    numbers: dict[str, Any] = json.loads(done.stdout)
    return numbers
