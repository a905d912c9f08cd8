"""`ds3tool doctor`: what stands between this host and the appliance."""

from __future__ import annotations

import typer

from ds3tool.cli.options import command
from ds3tool.cli.output import Field, Output, OutputFormat, as_mapping
from ds3tool.cli.settings import Settings
from ds3tool.errors import worst_exit_code

app = typer.Typer(add_completion=False)


@command(app, "doctor", examples=["ds3tool doctor", "ds3tool doctor --profile lab -o json"])
def examine(*, settings: Settings) -> None:
    """Check settings, network, TLS, clocks, keys and the appliance's health, each with its way out.

    The exit code is that of the worst step that failed.
    """
    from ds3tool.cli.diagnosis import Step, StepStatus, diagnose

    fields: list[Field[Step]] = [
        Field("step", lambda step: step.name),
        Field("status", lambda step: step.status),
        Field("found", lambda step: step.found),
        Field("hint", lambda step: step.hint),
    ]
    output = settings.results()
    steps: list[Step] = []
    for step in diagnose(settings):
        steps.append(step)
        output.event(step, fields)
        if output.shape is OutputFormat.TABLE:
            _say(output, step.name, step.status, step.found, step.hint)
    errors = [step.error for step in steps if step.error is not None]
    worst = worst_exit_code({error.exit_code for error in errors})
    error = next((error for error in errors if error.exit_code == worst), None)
    if output.shape is OutputFormat.CSV:
        output.records(steps, fields)
    if output.shape is OutputFormat.JSON:
        all_steps: Field[list[Step]] = Field("steps", lambda found: [as_mapping(step, fields) for step in found])
        well: Field[list[Step]] = Field("ok", lambda found: all(step.status is not StepStatus.FAILED for step in found))
        output.finish(steps, [well, all_steps], error)
    if error is not None:
        output.end(error)


def _say(output: Output, name: str, status: str, found: str, hint: str | None) -> None:
    output.hanging(f"{status:8} {name:12} ", found)
    if hint:
        output.hanging(f"{'':8} {'':12} -> ", hint)
