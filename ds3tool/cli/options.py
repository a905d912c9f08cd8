"""The options every command takes, before or after its name, declared once."""

import dataclasses
import functools
import gc
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, get_origin, get_type_hints

import typer

from ds3tool.cli import logs
from ds3tool.cli.coercion import PlainCommand, PlainGroup
from ds3tool.cli.output import OutputFormat
from ds3tool.cli.settings import LogFormat, ProgressMode, Settings
from ds3tool.errors import InterruptedRunError
from ds3tool.lazy_dataclass import dataclass

# The longest that is not cut in 80 columns.
PANEL = "Options every command takes (--log-file also as DS3TOOL_LOG_FILE, ...)"

# Options of which a second spelling is taken: the fingers know it from other tools.
_ALIASES = {"endpoint_url": "endpoint"}

Command = Callable[..., None]


class BrokenConnectionError(Exception):
    """The other end of a connection has gone, and nobody below has said what that means; a surprise."""


@dataclass
class Invocation:
    """What one run was told so far: `given` on the command line, `environment` by variables, by option name.

    `arguments` is that command line, word by word, without the program's name.
    """

    given: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    settings: Settings | None = None
    arguments: tuple[str, ...] = ()

    def take(self, context: typer.Context, values: dict[str, Any]) -> None:
        """Add the shared options of one level; what stands nearer to the command's own arguments wins."""
        for name, value in values.items():
            source = context.get_parameter_source(name)
            if source is None or source.name == "DEFAULT":
                continue
            where = self.environment if source.name == "ENVIRONMENT" else self.given
            where[_ALIASES.get(name, name)] = value


def _shared_options(
    *,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            "-P",
            metavar="NAME",
            envvar="DS3TOOL_PROFILE",
            help="Profile of the configuration file; named here, it wins over DS3_ENDPOINT and the keys beside it.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            envvar=["DS3TOOL_ENDPOINT", "DS3_ENDPOINT"],
            help="The appliance: http://HOST, https://HOST or HOST:PORT (also DS3_ENDPOINT, --endpoint-url).",
        ),
    ] = None,
    endpoint_url: Annotated[str | None, typer.Option("--endpoint-url", hidden=True)] = None,
    ca_bundle: Annotated[
        str | None,
        typer.Option(
            "--ca-bundle", metavar="FILE", envvar="DS3TOOL_CA_BUNDLE", help="Certificates to trust, in PEM format."
        ),
    ] = None,
    no_verify_ssl: Annotated[
        bool,
        typer.Option(
            "--no-verify-ssl", metavar="", envvar="DS3TOOL_NO_VERIFY_SSL", help="Accept any certificate, and warn."
        ),
    ] = False,
    proxy: Annotated[
        str | None,
        typer.Option(
            "--proxy",
            metavar="URL",
            envvar="DS3TOOL_PROXY",
            help="HTTP proxy; without it http_proxy, https_proxy and no_proxy count.",
        ),
    ] = None,
    output: Annotated[
        OutputFormat,
        typer.Option("--output", "-o", envvar="DS3TOOL_OUTPUT", help="Shape of the result on stdout."),
    ] = OutputFormat.TABLE,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", metavar="", envvar="DS3TOOL_QUIET", help="Say only what went wrong.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            show_default=False,
            envvar="DS3TOOL_VERBOSE",
            help="Log more on stderr; -vv logs every request.",
        ),
    ] = 0,
    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", metavar="FILE", envvar="DS3TOOL_LOG_FILE", help="Log to a file as well."),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", envvar="DS3TOOL_LOG_FORMAT", help="Shape of log lines.")
    ] = LogFormat.TEXT,
    progress: Annotated[
        ProgressMode,
        typer.Option("--progress", envvar="DS3TOOL_PROGRESS", help="How a running transfer is shown on stderr."),
    ] = ProgressMode.AUTO,
    no_color: Annotated[
        bool, typer.Option("--no-color", metavar="", envvar="DS3TOOL_NO_COLOR", help="No colours; so does NO_COLOR.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", metavar="", envvar="DS3TOOL_YES", help="Answer every question with yes.")
    ] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", envvar="DS3TOOL_STATE_DIR", help="Where ds3tool remembers things."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", envvar="DS3TOOL_CONFIG", help="Configuration file.")
    ] = None,
    max_retry_time: Annotated[
        str,
        typer.Option(
            "--max-retry-time",
            metavar="DURATION",
            envvar="DS3TOOL_MAX_RETRY_TIME",
            help="Give up after this long without any answer; waits the appliance asks for do not count.",
        ),
    ] = "15m",
) -> None:
    """Hold the declarations; never called."""


def _in_panel(parameter: inspect.Parameter) -> inspect.Parameter:
    for declaration in parameter.annotation.__metadata__:
        declaration.rich_help_panel = PANEL
        # The panel's title says how every variable is named; a line of its own for each would double the help.
        declaration.show_envvar = False
    return parameter


SHARED = tuple(map(_in_panel, inspect.signature(_shared_options, eval_str=True).parameters.values()))
_SHARED_NAMES = frozenset(parameter.name for parameter in SHARED)
_CONTEXT = "context"


T = TypeVar("T")

_GROUP_MARK = "__option_group__"


def option_group(panel: str) -> Callable[[type[T]], type[T]]:
    """Make a dataclass whose fields are options, for several commands to take as one parameter.

    They stand under `panel` in the help. Each field is `Annotated[..., typer.Option("--name", ...)]` with a default.
    A command that says `choice: Choice` takes all of its options and is called with the object; a field that is no
    option keeps its default. Each option also has
    its DS3TOOL_* variable.
    """

    def mark(cls: type[T]) -> type[T]:
        setattr(cls, _GROUP_MARK, panel)
        return cls

    return mark


class Around(Protocol):
    """A group of options that has something to do before and after the command that takes it."""

    def around(self, command: str, settings: Settings, others: Iterable[object]) -> AbstractContextManager[Settings]:
        """Return the context in which the command runs, which gives it its settings.

        `command` is its name as typed (`ds3tool put`), `others` are all that it was given. What it raises passes.
        """


def _expanded(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """Return the options that one parameter of a command stands for: itself, or those of its group."""
    panel = getattr(parameter.annotation, _GROUP_MARK, None)
    if panel is None:
        return [parameter]
    hints = get_type_hints(parameter.annotation, include_extras=True)
    options = []
    for each in dataclasses.fields(parameter.annotation):
        if get_origin(hints[each.name]) is not Annotated:
            continue
        declaration = hints[each.name].__metadata__[0]
        if declaration.envvar is None:
            declaration.envvar = f"DS3TOOL_{each.name.upper()}"
        declaration.show_envvar = False
        declaration.rich_help_panel = panel
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        options.append(
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[each.name])
        )
    return options


def with_shared_options(function: Command, *, only_remember: bool = False) -> Command:
    """Return `function` with every shared option added to its own, for typer to read.

    A command says `settings: Settings` and is called with the settings of the whole line. A group's callback
    (`only_remember`) leaves what it was given to the command below it.
    """
    own = inspect.signature(function, eval_str=True)
    context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    declared = {name: _expanded(parameter) for name, parameter in own.parameters.items() if name != "settings"}
    groups = {
        name: (own.parameters[name].annotation, [option.name for option in options])
        for name, options in declared.items()
        if [option.name for option in options] != [name]
    }
    kept = [option for options in declared.values() for option in options]

    @functools.wraps(function)
    def wrapper(**values: Any) -> None:  # noqa: ANN401 - typer hands over whatever was declared
        current: typer.Context = values.pop(_CONTEXT)
        invocation = current.ensure_object(Invocation)
        invocation.take(current, {name: values.pop(name) for name in _SHARED_NAMES})
        if only_remember:
            function(**values)
            return
        settings = Settings.of(invocation.given, invocation.environment, os.environ)
        settings = dataclasses.replace(settings, command=invocation.arguments)
        invocation.settings = settings
        logs.configure(
            verbosity=settings.verbosity,
            quiet=settings.quiet,
            file=settings.log_file,
            json=settings.log_format is LogFormat.JSON,
        )
        for name, (make, options) in groups.items():
            values[name] = make(**{option: values.pop(option) for option in options})
        try:
            with ExitStack() as around:
                outer: list[Around] = [values[name] for name, (make, _) in groups.items() if hasattr(make, "around")]
                for group in outer:
                    settings = around.enter_context(group.around(current.command_path, settings, list(values.values())))
                _collect_garbage()
                function(**values, **({"settings": settings} if "settings" in own.parameters else {}))
        except KeyboardInterrupt as error:
            raise InterruptedRunError("interrupted") from error
        except BrokenPipeError as error:
            # Typer would end the process in silence, as if it were always stdout's reader that had gone.
            raise BrokenConnectionError(str(error)) from error

    parameters = [*kept, *SHARED, context]
    parameters.sort(key=lambda parameter: parameter.kind)
    # Typer reads both, four times each; `wraps` copied those of the bare function. All it needs is in the signature:
    # of what stands among the annotations it would look for forward references, which is most of reading them.
    wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect's own protocol
    wrapper.__annotations__ = {}
    return wrapper


def _collect_garbage() -> None:
    """Begin to, where the process has put it off until everything was imported; that is never looked at again."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def help_text(text: str) -> str:
    """Return a docstring for typer: each paragraph as one line, which it breaks where the terminal ends."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return _unmarked("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))


def _unmarked(text: str) -> str:
    # Typer takes brackets for markup.
    return text.replace("[", "\\[")


def command(app: typer.Typer, name: str, *, examples: Sequence[str]) -> Callable[[Command], Command]:
    """Register a function as the command `name` of `app`, with the shared options and its examples in the help.

    Each example is a line that can be typed as it stands.
    """

    def register(function: Command) -> Command:
        app.command(name, cls=PlainCommand, help=help_text(function.__doc__ or ""), epilog=_epilog(examples))(
            with_shared_options(function)
        )
        return function

    return register


def command_or_group(app: typer.Typer, *, examples: Sequence[str]) -> Callable[[Command], Command]:
    """Register a function as what `app` does when none of its commands is named; else as `command` does."""

    def register(function: Command) -> Command:
        act = with_shared_options(function)
        remember = with_shared_options(lambda: None, only_remember=True)

        @functools.wraps(act)
        def either(**values: Any) -> None:  # noqa: ANN401 - typer hands over whatever was declared
            (act if values[_CONTEXT].invoked_subcommand is None else remember)(**values)

        told, ends = help_text(function.__doc__ or ""), _epilog(examples)
        app.callback(cls=PlainGroup, invoke_without_command=True, help=told, epilog=ends)(either)
        return function

    return register


def _epilog(examples: Sequence[str]) -> str:
    return _unmarked(
        "\n".join(["Examples:", *(f"  {example}" for example in examples), "", "Exit codes: ds3tool --help"])
    )


def group(name: str, help_text: str) -> typer.Typer:
    """Return a group of commands, which takes the shared options after its own name as well."""
    app = typer.Typer(name=name, cls=PlainGroup, help=help_text, no_args_is_help=True, add_completion=False)

    def remember() -> None:
        pass

    app.callback()(with_shared_options(remember, only_remember=True))
    return app
