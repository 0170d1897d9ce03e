"""``lladav-eval doctor``: what this machine has, what would fail, and the fix."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lladav_eval.cli.run import Dtype

if TYPE_CHECKING:
    from lladav_eval.cli.checks import Check

EXAMPLES = """Examples:

lladav-eval doctor

lladav-eval doctor --model GSAI-ML/LLaDA-V

lladav-eval doctor --model openai:MODEL@https://host/v1 --judge gpt-4o-mini@https://api.openai.com/v1 --json

Exit code 3: a run can't work here, and the lines marked FAIL say why; warn: only some runs can't."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=EXAMPLES)(doctor)


def doctor(
    model: Annotated[str | None, typer.Option("--model", "-m", help="Look at what this model needs, too.")] = None,
    device: Annotated[str | None, typer.Option(help="Where it would run; default: cuda if present.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Its number format; default: as `run` chooses.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="Ask this judge (MODEL@URL) for one token, with the key of the environment.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Don't use the network.")] = False,
) -> None:
    """Say what this machine lacks, and the fix. Packages, device, memory, disk, caches, video, hub, model, judge."""
    from lladav_eval.cli.quiet import quiet_libraries

    quiet_libraries(offline)
    from lladav_eval.cli import checks, model_checks

    found = [*checks.packages(), checks.device(device), checks.memory(), *checks.disks(), *checks.video()]
    has_hub = False
    if not offline:
        found.append(checks.hub())
        has_hub = found[-1].ok
    if model is not None:
        found += model_checks.model(model, device, None if dtype is None else dtype.value, offline, has_hub)
    if judge is not None:
        found.append(model_checks.judge(judge, offline))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found], indent=2))
    else:
        _show(found)
    if any(check.required and not check.ok for check in found):
        raise typer.Exit(3)


def _show(found: list[Check]) -> None:
    for check in found:
        typer.echo(f"{'ok  ' if check.ok else 'FAIL' if check.required else 'warn'}  {check.name}: {check.found}")
        if not check.ok:
            typer.echo(f"      fix: {check.fix}")
    failed = sum(check.required and not check.ok for check in found)
    warned = sum(not check.required and not check.ok for check in found)
    typer.echo(f"{len(found)} checks, {failed} failed, {warned} warning{'s' * (warned != 1)}")
