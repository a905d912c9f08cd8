"""The tree of commands; a command's module is imported when that command is asked for."""

import importlib
from typing import Annotated, Any

import typer
import typer.main

from ds3tool.cli.coercion import PlainCommand, PlainGroup
from ds3tool.cli.options import help_text, with_shared_options
from ds3tool.cli.root_help import command_lines
from ds3tool.errors import EXIT_CODES

_LOOK = "Look"
_MOVE = "Move data"
_CHANGE = "Buckets and objects"
_APPLIANCE = "The appliance"
_FAR = "The other end"
_HOST = "This host"

# Name of each command, the module whose `app` holds it, and the panel of the help it stands in.
COMMANDS: dict[str, tuple[str, str]] = {
    "ls": ("ds3tool.cli.ls", _LOOK),
    "tree": ("ds3tool.cli.tree_of_keys", _LOOK),
    "find": ("ds3tool.cli.find", _LOOK),
    "du": ("ds3tool.cli.du", _LOOK),
    "stat": ("ds3tool.cli.stat", _LOOK),
    "where": ("ds3tool.cli.where", _LOOK),
    "verify": ("ds3tool.cli.verify", _LOOK),
    "cat": ("ds3tool.cli.cat", _LOOK),
    "put": ("ds3tool.cli.put", _MOVE),
    "get": ("ds3tool.cli.get", _MOVE),
    "sync": ("ds3tool.cli.sync", _MOVE),
    "plan": ("ds3tool.cli.plan", _MOVE),
    "resume": ("ds3tool.cli.resume", _MOVE),
    "mb": ("ds3tool.cli.mb", _CHANGE),
    "rb": ("ds3tool.cli.rb", _CHANGE),
    "rm": ("ds3tool.cli.rm", _CHANGE),
    "undelete": ("ds3tool.cli.undelete", _CHANGE),
    "job": ("ds3tool.cli.job", _APPLIANCE),
    "tape": ("ds3tool.cli.tape", _APPLIANCE),
    "cache": ("ds3tool.cli.cache", _APPLIANCE),
    "lotame": ("ds3tool.cli.lotame", _FAR),
    "s3": ("ds3tool.cli.s3", _FAR),
    "firehose": ("ds3tool.cli.firehose", _FAR),
    "sns": ("ds3tool.cli.sns", _FAR),
    "config": ("ds3tool.cli.config", _HOST),
    "doctor": ("ds3tool.cli.doctor", _HOST),
    "bench": ("ds3tool.cli.bench", _HOST),
    "sim": ("ds3tool.cli.sim", _HOST),
    "demo": ("ds3tool.cli.demo", _HOST),
}

_HELP = """
Archive to Spectra S3 / DS3 (BlackPearl) tape storage in planned bulk jobs, and get it back.

Addresses are ds3://BUCKET/KEY; a trailing slash means everything below. At the other end is a path, s3://BUCKET/KEY,
or lotame://FEED.

The appliance is named by DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY, or by a profile (ds3tool config init).
Without one, try the embedded appliance: ds3tool sim serve.
"""


# Typer keeps these classes private, and has moved them between releases.
_Context = Any
_Command = Any
_Resolved = Any


class LazyGroup(PlainGroup):
    """A group that knows its commands by name and imports each when it is first asked for."""

    def list_commands(self, ctx: _Context) -> list[str]:  # noqa: ARG002 - every group has the same face
        """Return every command's name, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: _Context, cmd_name: str) -> _Command:
        """Return the command, built on first use; None when there is none of that name."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            module, panel = COMMANDS[cmd_name]
            command = typer.main.get_command(importlib.import_module(module).app)
            command.name = cmd_name
            command.rich_help_panel = panel  # type: ignore[attr-defined]  # typer's own groups and commands have it
            self.commands[cmd_name] = command
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: _Context, args: list[str]) -> _Resolved:
        """Find the command that `args` begin with; an unknown one fails, naming those that look like it."""
        if args and args[0] not in COMMANDS:
            # Typer looks for a similar name among the commands it has built.
            self._name_all()
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: _Context, incomplete: str) -> list[Any]:
        """Return the commands that begin so, each with its line of the help."""
        self._name_all()
        return super().shell_complete(ctx, incomplete)

    def _name_all(self) -> None:
        """Let a name and its line of help stand for each command that is not built: no more is asked of them now."""
        lines = command_lines()
        for name in COMMANDS:
            self.commands.setdefault(name, PlainCommand(name, help=help_text(lines.get(name, ""))))


def _epilog() -> str:
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    return f"Exit codes:\n{rows}\n\nExamples:\n  ds3tool ls ds3://archive/2024/\n  ds3tool doctor"


app = typer.Typer(
    name="ds3tool",
    cls=LazyGroup,
    help=help_text(_HELP),
    epilog=_epilog(),
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from ds3tool.version import VERSION

        typer.echo(f"ds3tool {VERSION}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", metavar="", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


app.callback()(with_shared_options(_root, only_remember=True))
