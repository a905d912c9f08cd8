"""`ds3tool config`: the configuration file and its profiles."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ds3tool import profiles
from ds3tool.cli import messages
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field
from ds3tool.cli.prompts import ask, ask_secret, can_ask, confirm
from ds3tool.cli.settings import Settings
from ds3tool.errors import ConfigError, UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.profiles import PROFILE_KEYS, SECRET_KEYS

app = group("config", "Write and read the configuration file.")

_FIRST_PROFILE = "default"
_USERINFO = re.compile(r"//[^/@]*@")
_TOP_LEVEL = "default_profile"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it counts, and the place it comes from; a secret's value is never in here."""

    key: str
    value: str | bool | None
    origin: str | None


FIELDS: list[Field[Setting]] = [
    Field("setting", lambda setting: setting.key),
    Field("value", lambda setting: setting.value),
    Field("from", lambda setting: setting.origin),
]


@command(
    app, "init", examples=["ds3tool config init", "ds3tool config init --profile lab --endpoint https://bp.example"]
)
def init(*, settings: Settings) -> None:
    """Write a profile; asks for the address and the keys, unless options and environment tell them.

    Those are --endpoint or DS3_ENDPOINT, DS3_ACCESS_KEY, DS3_SECRET_KEY. The first profile becomes the default one.
    The file is readable by its owner alone.
    """
    path = settings.config_file
    config = profiles.read_config(path)
    name = settings.profile or config.default_profile or _FIRST_PROFILE
    profiles.check_profile_name(name)
    if name in config.profiles:
        confirm(f"The profile {name} is in {path} already. Write over it?", settings)
    known, _ = profiles.laid_over([settings.flags, settings.environment])
    values: dict[str, str | bool] = {}
    for key, question in (
        ("endpoint", "Address of the appliance (https://HOST):"),
        ("access_key", "Access key:"),
        ("secret_key", "Secret key (not shown):"),
    ):
        values[key] = known.get(key) or _asked(key, question)
    for key in ("ca_bundle", "verify_ssl", "proxy"):
        if key in known:
            values[key] = known[key]
    profiles.set_values(path, values, profile=name)
    if config.default_profile is None:
        profiles.set_values(path, {_TOP_LEVEL: name}, profile=None)
    messages.note(f"wrote the profile {name} to {path}; try it with: ds3tool doctor -P {name}", quiet=settings.quiet)


def _asked(key: str, question: str) -> str:
    if not can_ask():
        variable = f"DS3_{key.upper()}"
        raise UsageError(
            f"no {key.replace('_', ' ')} is known, and there is no terminal to ask on", hint=f"set {variable}"
        )
    answer = ask_secret(question) if key in SECRET_KEYS else ask(question)
    if not answer:
        raise UsageError(f"no {key.replace('_', ' ')} was given, so nothing was written")
    return answer


@command(app, "show", examples=["ds3tool config show", "ds3tool config show -P lab -o json"])
def show(*, settings: Settings) -> None:
    """Show the settings as they count now, and where each comes from; secrets stay hidden."""
    values, origins = profiles.laid_over(settings.places())
    shown = [Setting(key, _without_secrets(key, values.get(key)), origins.get(key)) for key in PROFILE_KEYS]
    shown.append(
        Setting("config", str(settings.config_file), None if settings.config_file.exists() else "not there yet")
    )
    settings.results().records(shown, FIELDS)


def _without_secrets(key: str, value: str | bool | None) -> str | bool | None:
    if key in SECRET_KEYS and value is not None:
        return "(set, not shown)"
    # A proxy's address may hold a password.
    return _USERINFO.sub("//***@", value) if isinstance(value, str) else value


@command(
    app,
    "set",
    examples=[
        "ds3tool config set endpoint https://bp.example --profile lab",
        "ds3tool config set secret_key --profile lab",
        "ds3tool config set default_profile lab",
    ],
)
def set_value(
    key: Annotated[str, typer.Argument(metavar="KEY", help=f"{', '.join(PROFILE_KEYS)}, or {_TOP_LEVEL}.")],
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="Left out for a secret key, which is asked for or read from stdin."),
    ] = None,
    *,
    settings: Settings,
) -> None:
    """Change one setting of a profile: of --profile, else of the default one. Comments in the file are kept."""
    path = settings.config_file
    if key == _TOP_LEVEL:
        profiles.named_profile(profiles.read_config(path), _given(key, value))
        profiles.set_values(path, {key: _given(key, value)}, profile=None)
        messages.note(f"the default profile is {value}", quiet=settings.quiet)
        return
    if key not in PROFILE_KEYS:
        raise UsageError(f"there is no setting {key!r}", hint=f"settings: {', '.join(PROFILE_KEYS)}, {_TOP_LEVEL}")
    default = profiles.read_config(path).default_profile
    name = settings.profile or default or _FIRST_PROFILE
    profiles.set_values(path, {key: _typed(key, value)}, profile=name)
    if default is None:
        profiles.set_values(path, {_TOP_LEVEL: name}, profile=None)
    messages.note(f"set {key} of the profile {name} in {path}", quiet=settings.quiet)


def _typed(key: str, value: str | None) -> str | bool:
    if key in SECRET_KEYS:
        if value is not None:
            raise UsageError(
                f"{key} is not taken from the command line, where others can read it",
                hint=f"leave the value out and type it, or pipe it in: ds3tool config set {key} < FILE",
            )
        value = ask_secret("Secret key (not shown):")
    given = _given(key, value)
    if PROFILE_KEYS[key] is not bool:
        return given
    if given.lower() not in ("true", "false"):
        raise ConfigError(f"{key} is true or false, not {given!r}")
    return given.lower() == "true"


def _given(key: str, value: str | None) -> str:
    if not value:
        raise UsageError(f"no value for {key} was given")
    return value


@command(app, "path", examples=["ds3tool config path"])
def show_path(*, settings: Settings) -> None:
    """Print where the configuration file is, or would be."""
    path: Field[str] = Field("path", lambda text: text)
    settings.results().scalar(str(settings.config_file), path)
