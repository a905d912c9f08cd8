"""Runs command lines inside the test's process and tells, when a test fails, what was run and what came of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds3tool.cli.logs import forget_secrets, release
from ds3tool.cli.main import main

# What would leak in from the machine that runs the tests.
_FOREIGN = ("DS3", "NO_COLOR", "COLUMNS", "TERM", "FORCE_COLOR", "http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True)
class Run:
    """One command line and what came of it."""

    arguments: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return (
            f"\n$ ds3tool {' '.join(self.arguments)}\nexit code: {self.exit_code}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )

    def expect(self, exit_code: int = 0) -> Run:
        """Return this run, or fail showing all of it."""
        assert self.exit_code == exit_code, str(self)
        return self

    @property
    def json(self) -> Any:  # noqa: ANN401 - a document is whatever it is
        """The one document on stdout."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise AssertionError(f"stdout is not one JSON document: {error}{self}") from error

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]


def run(
    *arguments: str, environ: Mapping[str, str] | None = None, stdin: str | bytes = "", into: Path | None = None
) -> Run:
    """Run `ds3tool ARGUMENTS` with nothing in the environment but PATH, HOME and `environ`.

    Stdout is read into the result, or is the file `into`, for what is no text. Stdin may be bytes.
    """
    if into is not None:
        with open(into, "w", encoding="utf-8") as out:
            return _run(arguments, environ or {}, stdin, out)
    return _run(arguments, environ or {}, stdin, io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True))


def _run(arguments: tuple[str, ...], environ: Mapping[str, str], stdin: str | bytes, out: io.TextIOWrapper) -> Run:
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with _environment(environ), _input(stdin), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exit_code = main(list(arguments))
        finally:
            _forget_logging()
    return Run(arguments, exit_code, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    return buffer.getvalue().decode("utf-8") if isinstance(buffer, io.BytesIO) else ""


@contextlib.contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in before:
        if name.lower().startswith(tuple(prefix.lower() for prefix in _FOREIGN)):
            del os.environ[name]
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _input(text: str | bytes) -> Iterator[None]:
    stream = io.StringIO(text) if isinstance(text, str) else io.TextIOWrapper(io.BytesIO(text), encoding="utf-8")
    before, sys.stdin = sys.stdin, stream
    try:
        yield
    finally:
        sys.stdin = before


def _forget_logging() -> None:
    release()
    forget_secrets()
