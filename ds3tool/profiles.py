"""Where an appliance's address and keys come from: a TOML file of profiles, the environment, or by hand.

    default_profile = "lab"

    [profile.lab]
    endpoint = "https://blackpearl.example"
    access_key = "..."
    secret_key = "..."
    ca_bundle = "/etc/ssl/lab.pem"     # optional, as are the next two
    verify_ssl = true
    proxy = "http://proxy.example:3128"

    [profile.lab.s3]                   # the other end of jobs, where it is not what AWS's own settings say
    profile = "archive"
    endpoint = "https://s3.example"
    region = "eu-central-1"

    [profile.lab.lotame]
    token = "..."
    access = "..."
    client_id = "4321"

Each place is a `Profile` that may leave things out; `resolve` lays them over each other, first one first.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds3tool.errors import ConfigError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.transport.settings import DEFAULT_MAX_RETRY_SECONDS, IO_TIMEOUT_SECONDS, ConnectionSettings
from ds3tool.user_folders import config_folder

if TYPE_CHECKING:
    from ds3tool.transport.dial import Place

# Keys of a `[profile.NAME]` table, in the order people read them, and the type each must have.
PROFILE_KEYS: dict[str, type] = {
    "endpoint": str,
    "access_key": str,
    "secret_key": str,
    "ca_bundle": str,
    "verify_ssl": bool,
    "proxy": str,
}
SECRET_KEYS = frozenset({"secret_key"})
# Tables inside a profile, for the services at a job's other end; all their values are texts.
FAR_TABLES: dict[str, tuple[str, ...]] = {
    "s3": ("profile", "endpoint", "region"),
    "lotame": ("token", "access", "client_id", "base_url"),
}
_FAR_SECRETS = frozenset({"token", "access"})
_REQUIRED = ("endpoint", "access_key", "secret_key")
_VARIABLES = {"endpoint": "DS3_ENDPOINT", "access_key": "DS3_ACCESS_KEY", "secret_key": "DS3_SECRET_KEY"}
_TOP_LEVEL_KEYS = ("default_profile", "profile")
# Whoever waits less than the usual time for an appliance waits no longer for one answer, but so long at least: an
# appliance may hold a request while it looks for room.
_SHORTEST_IO_TIMEOUT_SECONDS = 30.0
_PROFILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._\-]*"


@dataclass(frozen=True, slots=True)
class Profile:
    """What one place says of a connection; None where it says nothing. `origin` names the place, for people."""

    origin: str
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    verify_ssl: bool | None = None
    proxy: str | None = None
    # What the tables for services at a job's other end say, by their keys.
    s3: Mapping[str, str] = field(default_factory=dict)
    lotame: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def holds_secrets(self) -> bool:
        """Whether anything in it is nobody else's business."""
        return bool(self.secret_key or self.lotame.keys() & _FAR_SECRETS)


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration file, read and checked; without a file it holds nothing."""

    path: Path
    exists: bool
    default_profile: str | None
    profiles: Mapping[str, Profile]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Connection settings, and for each profile key that is set, the place it came from."""

    connection: ConnectionSettings
    origins: Mapping[str, str]


def default_config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return `DS3TOOL_CONFIG`, else `config.toml` in the user's configuration folder for ds3tool."""
    named = (os.environ if environ is None else environ).get("DS3TOOL_CONFIG")
    if named:
        return Path(named)
    return config_folder() / "config.toml"


def read_config(path: Path, *, required: bool = False) -> Config:
    """Return the file's profiles; a file that is not there holds none, unless it is `required`.

    Raises ConfigError for a file that cannot be read or understood, for a key nobody knows, and for a file that
    holds a secret key and that others may read.
    """
    try:
        with path.open("rb") as file:
            import tomllib

            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            document = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise ConfigError(
                f"there is no configuration file {path}", hint="make one with: ds3tool config init"
            ) from None
        return Config(path, exists=False, default_profile=None, profiles={})
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except ValueError as error:  # TOML's, or that of bytes that are no text
        raise ConfigError(f"{path} is not TOML: {error}", hint="mend that line, or move the file away") from error
    config = _checked(path, document)
    if mode & 0o077 and any(profile.holds_secrets for profile in config.profiles.values()):
        raise ConfigError(f"{path} holds a secret key, and others may read it", hint=f"run: chmod 600 {path}")
    return config


def environment_profile(environ: Mapping[str, str] | None = None) -> Profile:
    """Return what `DS3_ENDPOINT`, `DS3_ACCESS_KEY` and `DS3_SECRET_KEY` say; an empty variable says nothing."""
    variables = os.environ if environ is None else environ
    said = {key: variables.get(name) or None for key, name in _VARIABLES.items()}
    return Profile(
        "environment", endpoint=said["endpoint"], access_key=said["access_key"], secret_key=said["secret_key"]
    )


def named_profile(config: Config, name: str | None) -> Profile | None:
    """Return the profile `name`, or the file's default one when `name` is None, or None when it has none.

    Raises ConfigError for a name that the file does not hold.
    """
    if name is None:
        name = config.default_profile
        if name is None:
            return None
    profile = config.profiles.get(name)
    if profile is None:
        known = ", ".join(sorted(config.profiles)) or "none"
        raise ConfigError(
            f"there is no profile {name!r} in {config.path}",
            hint=f"profiles there: {known}; make one with: ds3tool config init --profile {name}",
        )
    return profile


def laid_over(places: Sequence[Profile]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the value of each key that some place sets, and the first place that does, both by key."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for place in places:
        for key in PROFILE_KEYS:
            value = getattr(place, key)
            if value is not None and key not in values:
                values[key], origins[key] = value, place.origin
    return values, origins


def resolve(
    places: Sequence[Profile],
    *,
    forced_proxy: str | None = None,
    max_retry_seconds: float = DEFAULT_MAX_RETRY_SECONDS,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    """Lay `places` over each other, the first that says something winning, and return the settings.

    `forced_proxy` is one that was asked for outright: only such a one is used for this host's own addresses.
    Without a proxy in any place, `http_proxy`, `https_proxy` and `no_proxy` decide. Raises ConfigError when the
    address or a key is missing.
    """
    from ds3tool.transport.dial import is_loopback, parse_place

    values, origins = laid_over(places)
    missing = [key for key in _REQUIRED if key not in values]
    if missing:
        raise ConfigError(
            f"no {' and no '.join(key.replace('_', ' ') for key in missing)} is known",
            hint=f"set {', '.join(_VARIABLES[key] for key in missing)}, or write a profile with: ds3tool config init",
        )
    endpoint = parse_place(values["endpoint"], what=f"the endpoint ({origins['endpoint']})")
    proxy = forced_proxy
    if proxy is None and is_loopback(endpoint.host):
        origins.pop("proxy", None)
    elif proxy is None:
        proxy = values.get("proxy")
        if proxy is None:
            proxy, variable = _proxy_from_environment(endpoint, os.environ if environ is None else environ)
            if variable is not None:
                origins["proxy"] = variable
    connection = ConnectionSettings(
        endpoint=values["endpoint"],
        access_key=values["access_key"],
        secret_key=values["secret_key"],
        ca_bundle=values.get("ca_bundle"),
        verify_tls=values.get("verify_ssl", True),
        proxy=proxy,
        io_timeout_seconds=min(IO_TIMEOUT_SECONDS, max(_SHORTEST_IO_TIMEOUT_SECONDS, max_retry_seconds)),
        max_retry_seconds=max_retry_seconds,
    )
    return Resolved(connection, origins)


def load_connection(
    name: str | None = None, path: Path | None = None, environ: Mapping[str, str] | None = None
) -> ConnectionSettings:
    """Return how to reach an appliance, from a profile and the environment.

    A profile that is named here wins over the environment. Without a name the environment wins over the profile
    that `DS3TOOL_PROFILE` or the file's `default_profile` names. Raises ConfigError, with the way out.
    """
    variables = os.environ if environ is None else environ
    config = read_config(default_config_path(variables) if path is None else path, required=path is not None)
    surroundings = environment_profile(variables)
    profile = named_profile(config, name if name is not None else variables.get("DS3TOOL_PROFILE") or None)
    places = [surroundings] if profile is None else [surroundings, profile]
    return resolve(list(reversed(places)) if name is not None else places, environ=variables).connection


def set_values(path: Path, values: Mapping[str, str | bool], *, profile: str | None) -> None:
    """Write `values` into the profile (or, with None, at the top of the file), keeping all else and its comments.

    The file is replaced as a whole and readable by its owner alone; its folder is made when there is none.
    Raises ConfigError for a key that does not belong there or a value of the wrong type.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    read_config(path)
    if profile is not None:
        check_profile_name(profile)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        table: Any = document
        if profile is not None:
            table = document.setdefault("profile", tomlkit.table(is_super_table=True))
            table = table.setdefault(profile, tomlkit.table())
        for key, value in values.items():
            table[key] = value
        text = tomlkit.dumps(document)
    except (OSError, TOMLKitError) as error:
        raise ConfigError(f"cannot change {path}: {error}") from error
    import tomllib

    _checked(path, tomllib.loads(text))
    _write_private(path, text)


def check_profile_name(name: str) -> None:
    """Raise ConfigError unless `name` can be a profile's."""
    if not re.fullmatch(_PROFILE_NAME, name):
        raise ConfigError(f"{name!r} is not a profile's name", hint="use letters, digits, dots, dashes and underscores")


def _checked(path: Path, document: Mapping[str, Any]) -> Config:
    _refuse_unknown(path, "", document, _TOP_LEVEL_KEYS)
    default = document.get("default_profile")
    if default is not None and not isinstance(default, str):
        raise ConfigError(f"{path}: default_profile is not a text", hint='write it as default_profile = "NAME"')
    tables = document.get("profile", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: profile is not a table", hint="write [profile.NAME] with its keys below")
    profiles = {name: _profile(path, name, table) for name, table in tables.items()}
    return Config(path, exists=True, default_profile=default, profiles=profiles)


def _profile(path: Path, name: str, table: object) -> Profile:
    place = f"profile.{name}"
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {place} is not a table", hint=f"write [{place}] with its keys below")
    _refuse_unknown(path, f"{place}.", table, (*PROFILE_KEYS, *FAR_TABLES))
    for key, value in table.items():
        if key in FAR_TABLES:
            _check_far(path, f"{place}.{key}", value, FAR_TABLES[key])
            continue
        wanted = PROFILE_KEYS[key]
        if not isinstance(value, wanted) or value == "":
            meant = "true or false" if wanted is bool else "a text in quotes"
            raise ConfigError(f"{path}: {place}.{key} must be {meant}")
    return Profile(f"profile {name}", **table)


def _check_far(path: Path, place: str, table: object, known: Sequence[str]) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {place} is not a table", hint=f"write [{place}] with its keys below")
    _refuse_unknown(path, f"{place}.", table, known)
    for key, value in table.items():
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{path}: {place}.{key} must be a text in quotes")


def _refuse_unknown(path: Path, place: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigError(
            f"{path}: nobody knows the key {', '.join(place + key for key in unknown)}",
            hint=f"keys that may stand there: {', '.join(known)}",
        )


def _write_private(path: Path, text: str) -> None:
    import tempfile

    # Beside the target (through a link, beside what it points to), so that the replacement is one step.
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes the file readable by its owner alone.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigError(f"cannot write the configuration file {path}: {error.strerror}") from error


def _proxy_from_environment(endpoint: Place, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    # HTTP_PROXY in capitals is left alone, as curl does: a web server sets it from a request's Proxy header.
    names = ["http_proxy"] if endpoint.scheme == "http" else ["https_proxy", "HTTPS_PROXY"]
    exceptions = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if _is_excepted(endpoint.host, endpoint.port, exceptions):
        return None, None
    for name in (*names, "all_proxy", "ALL_PROXY"):
        if environ.get(name):
            proxy = environ[name]
            return (proxy if "://" in proxy else f"http://{proxy}"), name
    return None, None


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Whether a `no_proxy` list names the host: itself, a domain above it, a network it is in, or `*`."""
    for entry in re.split(r"[\s,]+", exceptions.strip().lower()):
        name, _, entry_port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        if not name or (entry_port and entry_port != str(port)):
            continue
        if name == "*" or host == name.strip("[]").lstrip("."):
            return True
        if host.endswith("." + name.lstrip("*").lstrip(".")) or _is_in_network(host, name):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return "/" in network and ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
