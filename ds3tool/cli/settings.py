"""Every setting of one run, resolved once: flag over environment over profile over default."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ds3tool import profiles, user_folders
from ds3tool.cli.output import Output, OutputFormat
from ds3tool.lazy_dataclass import dataclass
from ds3tool.profiles import Profile, Resolved
from ds3tool.sizes import parse_duration

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client
    from ds3tool.transport.pool import Transport
    from ds3tool.transport.ratelimit import RateLimit


class LogFormat(StrEnum):
    """Shapes of a log line."""

    TEXT = "text"
    JSON = "json"


class ProgressMode(StrEnum):
    """Ways to show a running transfer; `auto` is a bar on a terminal and lines elsewhere."""

    AUTO = "auto"
    BAR = "bar"
    LOG = "log"
    JSON = "json"
    NONE = "none"


class KeptTelling(Protocol):
    """Who is to be told of a command's end."""

    def kept(self) -> Mapping[str, Any]:
        """Return that for a journal; empty for nobody."""
        ...


_NO_FLAGS = Profile("command line")
_NO_VARIABLES = Profile("environment")


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for. The connection is resolved when a command needs one, and only then.

    `profile_is_forced` says that the profile was named on the command line, and so wins over the environment;
    `config_is_required` that the file was, and so must be there. `command` is the command line, word by word, `telling`
    whom it tells of its end.
    """

    output: OutputFormat = OutputFormat.TABLE
    quiet: bool = False
    verbosity: int = 0
    log_file: Path | None = None
    log_format: LogFormat = LogFormat.TEXT
    progress: ProgressMode = ProgressMode.AUTO
    colour: bool = True
    assume_yes: bool = False
    state_folder: Path | None = None
    config_path: Path | None = None
    config_is_required: bool = False
    profile: str | None = None
    profile_is_forced: bool = False
    flags: Profile = _NO_FLAGS
    environment: Profile = _NO_VARIABLES
    max_retry_seconds: float = 900.0
    command: tuple[str, ...] = ()
    telling: KeptTelling | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any], environment: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
        """Return the settings that the options mean: `given` as flags, `environment` as DS3TOOL_* variables.

        Both hold values by option name, as `options.py` declares them. Raises UsageError for a value that is none.
        """
        asked = {**environment, **given}

        def connection(values: Mapping[str, Any], origin: str) -> Profile:
            verify = False if values.get("no_verify_ssl") else None
            return Profile(
                origin,
                endpoint=values.get("endpoint"),
                ca_bundle=values.get("ca_bundle"),
                verify_ssl=verify,
                proxy=values.get("proxy"),
            )

        surroundings = connection(environment, "environment")
        keys = profiles.environment_profile(environ)
        defaults = cls()
        return cls(
            output=asked.get("output", defaults.output),
            quiet=asked.get("quiet", False),
            verbosity=asked.get("verbose", 0),
            log_file=asked.get("log_file"),
            log_format=asked.get("log_format", defaults.log_format),
            progress=asked.get("progress", defaults.progress),
            colour=not asked.get("no_color", False) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb",
            assume_yes=asked.get("yes", False),
            state_folder=asked.get("state_dir"),
            config_path=asked.get("config"),
            config_is_required="config" in given,
            profile=asked.get("profile"),
            profile_is_forced="profile" in given,
            flags=connection(given, "command line"),
            environment=Profile(
                "environment",
                endpoint=surroundings.endpoint,
                access_key=keys.access_key,
                secret_key=keys.secret_key,
                ca_bundle=surroundings.ca_bundle,
                verify_ssl=surroundings.verify_ssl,
                proxy=surroundings.proxy,
            ),
            max_retry_seconds=(
                parse_duration(asked["max_retry_time"]) if "max_retry_time" in asked else defaults.max_retry_seconds
            ),
        )

    @property
    def config_file(self) -> Path:
        """The configuration file's path, whether or not it is there."""
        return self.config_path or profiles.default_config_path()

    @property
    def state_path(self) -> Path:
        """The folder where ds3tool remembers things between runs; made by whoever writes there."""
        if self.state_folder is not None:
            return self.state_folder
        return user_folders.state_folder()

    def places(self) -> list[Profile]:
        """Return what each place says of the connection, the one that wins first; raises ConfigError."""
        config = profiles.read_config(self.config_file, required=self.config_is_required)
        profile = profiles.named_profile(config, self.profile)
        places = [self.flags, self.environment]
        if profile is not None:
            places.insert(1 if self.profile_is_forced else 2, profile)
        return places

    def profile_table(self, name: str) -> Mapping[str, str]:
        """Return what the profile in use says of `s3` or `lotame`, at a job's other end; raises ConfigError."""
        config = profiles.read_config(self.config_file, required=self.config_is_required)
        profile = profiles.named_profile(config, self.profile)
        table: Mapping[str, str] = {} if profile is None else getattr(profile, name)
        return table

    def resolve(self) -> Resolved:
        """Return the connection and where each part of it came from; raises ConfigError when it is incomplete."""
        return profiles.resolve(
            self.places(),
            forced_proxy=self.flags.proxy or self.environment.proxy,
            max_retry_seconds=self.max_retry_seconds,
            environ=os.environ,
        )

    def results(self) -> Output:
        """Return where results go: stdout, in the shape asked for, styled when a terminal with colours reads it."""
        return Output(self.output, sys.stdout, styled=self.colour and sys.stdout.isatty())


def connect(settings: Settings, *, limit: RateLimit | None = None, kind: type[Transport] | None = None) -> Ds3Client:
    """Return a client of the appliance that the settings mean; it is a context manager and closes its connections.

    `limit` bounds the bytes a second of all its connections together. `kind` is a transport of its own kind, which
    else is a plain one.

    Says on stderr, at every run, when certificates are not checked.
    """
    from ds3tool.cli import logs, messages
    from ds3tool.client import Ds3Client
    from ds3tool.transport.pool import Transport

    connection = settings.resolve().connection
    logs.hide(connection.secret_key)
    if not connection.verify_tls and connection.endpoint.lower().startswith("https:"):
        messages.warn("certificates are not checked (--no-verify-ssl): whoever sits between can read and change data")
    transport = (kind or Transport)(connection, limit=limit)
    transport.on_wait = messages.RetryNotes(max_retry_seconds=connection.max_retry_seconds)
    return Ds3Client.over(transport, close=transport.close)
