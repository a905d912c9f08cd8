"""Logging, configured in one place: our own loggers only, to stderr and to a file, never a secret."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from ds3tool.cli.escapes import json_text, printable
from ds3tool.errors import UsageError

_LOGGER = "ds3tool"
# Libraries that speak for us to AWS and to Lotame. Their warnings are told as ours are, and with -vv one line for each
# request; the rest of what they log is their insides, credentials among them.
_LIBRARIES = ("boto3", "botocore", "s3transfer", "urllib3")
_REQUESTS = ("urllib3.connectionpool",)
# The signature of a request, and whatever a header or query carries under a telling name. Sources: DS3 and S3
# signatures of version 2, AWS signatures of version 4, presigned URLs of both, tokens of STS. The first line that is
# logged compiles them, for most runs log none.
_SECRETS = (
    (r"(AWS [^\s:]+:)\S+", r"\1***"),
    (
        (
            r"(?i)((?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|AWSAccessKeyId|Signature|Credential)"
            r"(?:['\"]?\s*[=:]\s*['\"]?))[^\s&,;'\"]+"
        ),
        r"\1***",
    ),
    # Other stores' ways of signing a URL, and tokens in one (`sig`, `X-Goog-Signature`, `access_token`, `Policy`).
    (
        r"(?i)([?&][^=&\s\"]*(?:sig|token|secret|passw|auth|cred|key|policy)[^=&\s\"]*=)[^&\s\"]+",
        r"\1***",
    ),
)
_hidden: set[str] = set()


def hide(secret: str) -> None:
    """Keep `secret` out of every line from now on."""
    if secret:
        _hidden.add(secret)


def forget_secrets() -> None:
    """Hide nothing any more: for a process that runs several command lines, each with keys of its own."""
    _hidden.clear()


def redacted(text: str) -> str:
    """Return `text` without any secret that `hide` was told, and without signatures."""
    for secret in _hidden:
        text = text.replace(secret, "***")
    for pattern, instead in _SECRETS:
        text = re.sub(pattern, instead, text)
    return text


def configure(*, verbosity: int, quiet: bool, file: Path | None, json: bool) -> None:
    """Send our loggers to stderr (warnings; more with `verbosity`, less when `quiet`) and to `file` (always info).

    Raises UsageError when the file cannot be opened.
    """
    release()
    formatter = JsonFormatter() if json else TextFormatter()
    screen = _StderrHandler()
    screen.setLevel(_screen_level(verbosity, quiet=quiet))
    handlers: list[logging.Handler] = [screen]
    if file is not None:
        try:
            written = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"cannot write the log file {file}: {error.strerror}") from error
        written.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
        handlers.append(written)
    for handler in handlers:
        handler.setFormatter(formatter)
    level = min(handler.level for handler in handlers)
    for name in (_LOGGER, *_LIBRARIES):
        logger = logging.getLogger(name)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(level if name == _LOGGER else max(level, logging.WARNING))
    for name in _REQUESTS:
        logging.getLogger(name).setLevel(logging.DEBUG if level <= logging.DEBUG else logging.NOTSET)


def release() -> None:
    """Take from every logger what `configure` gave it."""
    for name in (_LOGGER, *_LIBRARIES):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if isinstance(handler, (_StderrHandler, logging.FileHandler)):
                logger.removeHandler(handler)
                handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in _REQUESTS:
        logging.getLogger(name).setLevel(logging.NOTSET)


def _screen_level(verbosity: int, *, quiet: bool) -> int:
    if verbosity > 1:
        return logging.DEBUG
    if verbosity:
        return logging.INFO
    return logging.ERROR if quiet else logging.WARNING


class TextFormatter(logging.Formatter):
    """One readable line: time in UTC, level, logger, message; a traceback's lines follow."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, safe to print."""
        name = record.name.removeprefix(f"{_LOGGER}.")
        lines = [
            f"{_time(record)} {record.levelname.lower():7} {name}: {record.getMessage()}",
            *_traceback(self, record),
        ]
        return "\n".join(printable(redacted(line)) for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `traceback` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, safe to print."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        traceback = _traceback(self, record)
        if traceback:
            line["traceback"] = [redacted(text) for text in traceback]
        return json_text(line)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    return formatter.formatException(record.exc_info).splitlines() if record.exc_info else []


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment, for a progress bar takes its place while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except (OSError, ValueError):
            self.handleError(record)
