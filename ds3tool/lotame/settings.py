"""Where Lotame is reached, and as whom: from the environment, a profile, or a file of properties.

    [default]
    token = "..."
    access = "..."
    client_id = 4321
    base_url = https://api.lotame.com/2

Each key is taken from the first place that has it: LOTAME_TOKEN, LOTAME_ACCESS, LOTAME_CLIENT_ID and LOTAME_BASE_URL;
the profile's `lotame` table; the file that was named; `~/lotame.properties`. Secrets are never on a command line.
"""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from urllib.parse import urlsplit

from ds3tool.errors import ConfigError
from ds3tool.lazy_dataclass import dataclass

# Source: the cookbook's lotame.properties.
BASE_URL = "https://api.lotame.com/2"
HOME_FILE = "lotame.properties"
SECTION = "default"
VARIABLES = {
    "token": "LOTAME_TOKEN",
    "access": "LOTAME_ACCESS",
    "client_id": "LOTAME_CLIENT_ID",
    "base_url": "LOTAME_BASE_URL",
}
_REQUIRED = ("token", "access", "client_id")
_SECRETS = frozenset({"token", "access"})
_PLAIN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class LotameSettings:
    """How Lotame is reached; `origins` tells of each key where it was found, in words for a person."""

    token: str = field(repr=False)
    access: str = field(repr=False)
    client_id: str
    base_url: str = BASE_URL
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be sent, without showing it."""
        for key in ("token", "access", "client_id"):
            if not _PLAIN.fullmatch(getattr(self, key)):
                raise ConfigError(f"{self._of(key)} holds a blank or a character that no header can carry")
        if not _is_address(self.base_url):
            raise ConfigError(
                f"{self._of('base_url')} is not the address of an API", hint=f"write it like base_url = {BASE_URL}"
            )

    def _of(self, key: str) -> str:
        place = self.origins.get(key)
        return f"Lotame's {key}" if place is None else f"Lotame's {key} (from {place})"

    @property
    def who(self) -> str:
        """Where the token and its access key were found: for whoever must mend them."""
        places = [f"{key} from {self.origins[key]}" for key in ("token", "access") if key in self.origins]
        return ", ".join(places)


def find_settings(
    *,
    file: str | os.PathLike[str] | None = None,
    profile: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LotameSettings:
    """Return the settings, each from the first place that has it.

    `file` is the one a person named, which must be there; `profile` the `lotame` table of the profile in use;
    `environ` the environment if not this process's. `~/lotame.properties` is read only where something lacks.
    Raises ConfigError that names what lacks and every place that was looked into, and for a file that cannot be read,
    is no such file, or holds secrets that others may read.
    """
    variables = os.environ if environ is None else environ
    found: dict[str, str] = {}
    origins: dict[str, str] = {}
    looked = ["the environment (LOTAME_TOKEN, ...)"]

    def take(place: Mapping[str, str], name: str | None) -> None:
        for key, variable in VARIABLES.items():
            value = place.get(key)
            if value and key not in found:
                found[key], origins[key] = value, name or variable

    take({key: variables.get(name, "").strip() for key, name in VARIABLES.items()}, None)
    if profile:
        looked.append("the profile")
        take(profile, "the profile")
    if file is not None:
        looked.append(os.fspath(file))
        take(read_properties(Path(file)), os.fspath(file))
    if any(key not in found for key in _REQUIRED):
        home = Path(variables.get("HOME") or os.path.expanduser("~")) / HOME_FILE
        looked.append(f"{home}" if home.exists() else f"{home} (not there)")
        if home.exists():
            take(read_properties(home), str(home))
    lacking = [key for key in _REQUIRED if key not in found]
    if lacking:
        raise ConfigError(
            f"Lotame's {_and(lacking)} {'is' if len(lacking) == 1 else 'are'} nowhere to be found; "
            f"looked into {', '.join(looked)}",
            hint=f"set {_and([VARIABLES[key] for key in lacking])}, "
            f"or write them below [{SECTION}] in ~/{HOME_FILE} (chmod 600)",
        )
    base_url = found.get("base_url", BASE_URL).rstrip("/")
    return LotameSettings(found["token"], found["access"], found["client_id"], base_url, origins)


def read_properties(path: Path) -> dict[str, str]:
    """Return what a file of properties says, without quotes and blanks around values; keys nobody knows are left out.

    Raises ConfigError as `find_settings` says; no message shows a value.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="\0none", strict=True)
    try:
        with path.open(encoding="utf-8-sig") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            parser.read_file(file)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="is it the file that was meant?") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None) or next((one for one, _ in getattr(error, "errors", ())), None)
        where = "" if line is None else f" at line {line}"
        # The parser's own message quotes the line, and the line may hold a token.
        raise ConfigError(
            f"{path} is no file of properties: it is not understood{where}",
            hint=f"a line [{SECTION}], and below it lines such as client_id = 4321",
        ) from None
    section = next((name for name in parser.sections() if name.strip().lower() == SECTION), None)
    if section is None:
        raise ConfigError(f"{path} has no section [{SECTION}]", hint=f"write [{SECTION}] above its keys")
    said = {key: _unquoted(value) for key, value in parser.items(section) if key in VARIABLES and value}
    if mode & 0o077 and said.keys() & _SECRETS:
        raise ConfigError(f"{path} holds a token, and others may read it", hint=f"run: chmod 600 {path}")
    return said


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not _PLAIN.fullmatch(url):
        return False
    return not (parts.username or parts.password or parts.query or parts.fragment)


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    return value


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
