"""``lladav-eval plan``: what a run would take on given hardware, without running it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lladav_eval.cli.run import Cache, Dtype, IncludePath

if TYPE_CHECKING:
    import torch

    from lladav_eval.planning.estimate import Estimate
    from lladav_eval.planning.hardware import Hardware

EXAMPLES = """Examples:

lladav-eval plan --task mmmu,chartqa --model GSAI-ML/LLaDA-V --gpu a100

lladav-eval plan --task mathvista --model GSAI-ML/LLaDA-V --gpu h100 --cache prefix --json

lladav-eval plan --task pocket --model pocket --gpu here

lladav-eval plan --task mmmu --model ./my-checkpoint --tflops 120 --bandwidth 900 --memory 32

Neither weights nor data are downloaded. Rows that aren't on this machine are assumed, and the assumption is shown."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", epilog=EXAMPLES)(plan)


def plan(
    task: Annotated[str, typer.Option("--task", "-t", help="Tasks or groups, separated by commas.")],
    model: Annotated[str, typer.Option("--model", "-m", help="pocket, pocket-ar, a directory or a hub name.")],
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu", help="h200, h100, a100, a100-40, l40s, a40, rtx4090, rtx3090, cpu; here measures this machine."
        ),
    ] = None,
    tflops: Annotated[float | None, typer.Option(min=1e-6, help="Own peak of matrix products, 10^12 a second.")] = None,
    bandwidth: Annotated[float | None, typer.Option(min=1e-6, help="Own memory bandwidth, GB a second.")] = None,
    memory: Annotated[float | None, typer.Option(min=1e-6, help="Own memory, GiB.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="First rows of every task only.")] = None,
    batch_size: Annotated[str, typer.Option(help="Samples at once: auto is as a run does, or a number.")] = "auto",
    gen: Annotated[list[str] | None, typer.Option(help="KEY=VALUE over the task's setting; repeatable.")] = None,
    cache: Annotated[Cache | None, typer.Option(help="Approximate key-value cache, as in run.")] = None,
    include_path: IncludePath = None,
    data: Annotated[Path | None, typer.Option(help="Local data sets whose rows are read.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a task that are read for their sizes.")] = 100,
    dtype: Annotated[Dtype | None, typer.Option(help="Number format; default: bfloat16, float32 on a CPU.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask the hub for config.json.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Estimate what a run would take. Tokens, operations, memory, time and batch, without running it."""
    from lladav_eval.cli.quiet import quiet_libraries
    from lladav_eval.cli.run import _batch_size, _use_data
    from lladav_eval.planning.estimate import estimate
    from lladav_eval.planning.models import find_sizes
    from lladav_eval.planning.workload import workload
    from lladav_eval.records import RunSpec
    from lladav_eval.runs.tasks import resolve_tasks
    from lladav_eval.settings import parse_overrides

    if data is not None:
        _use_data(data)
    size, folders = _batch_size(batch_size), tuple(map(str, include_path or ()))
    spec = RunSpec(
        tasks=resolve_tasks(task.split(","), folders),
        include_path=folders,
        model=model,
        limit=limit,
        gen=parse_overrides([*(gen or []), *([] if cache is None else [f"cache={cache.value}"])]),
        data=None if data is None else str(data),
    )
    quiet_libraries(offline)
    sizes = find_sizes(model, offline)
    hardware, precision = _hardware(gpu, tflops, bandwidth, memory, None if dtype is None else dtype.value)
    quiet_libraries(offline=True)  # from here on nothing is fetched
    estimates = [
        estimate(
            workload(spec, name, sizes.config, sizes.tokenizer, rows),
            sizes.config,
            sizes.vocabulary,
            hardware,
            precision,
            size,
        )
        for name in spec.tasks
    ]
    notes = _notes(estimates, hardware, precision, sizes.source, size, tokenizer=sizes.tokenizer is not None)
    if as_json:
        typer.echo(json.dumps(_document(model, hardware, str(precision), estimates, notes), indent=2))
    else:
        _show(estimates, hardware, str(precision), notes)


def _hardware(
    gpu: str | None, tflops: float | None, bandwidth: float | None, memory: float | None, dtype: str | None
) -> tuple[Hardware, torch.dtype]:
    """The device and the type of numbers on it."""
    from lladav_eval.loading import choose_device, choose_dtype
    from lladav_eval.planning.hardware import HERE, choose, measure, with_own

    if gpu == HERE:
        device = choose_device(None)
        precision = choose_dtype(dtype, device)
        return with_own(measure(device, precision), tflops, bandwidth, memory), precision
    hardware = choose(gpu, tflops, bandwidth, memory)
    default = "float32" if hardware.device == "cpu" else "bfloat16"
    return hardware, choose_dtype(dtype or default, choose_device("cpu"))


def _notes(
    estimates: list[Estimate],
    hardware: Hardware,
    dtype: torch.dtype,
    source: str,
    batch_size: int | None,
    tokenizer: bool,
) -> list[str]:
    from lladav_eval.planning.assumptions import CHARACTERS_PER_TOKEN
    from lladav_eval.records import DEFAULT_BATCH_SIZE

    notes = [
        f"assumed: {hardware.utilisation:.0%} of {hardware.peak(dtype) / 1e12:.3g} TFLOP/s, {hardware.bandwidth:,.0f} "
        "GB/s, answers of full length; loading, media decoding and scoring are not counted",
        f"sizes of the model: {source}",
    ]
    if not tokenizer:
        notes.append(f"no tokenizer at hand: {CHARACTERS_PER_TOKEN} characters of text are counted as one token")
    if any(one.upper_bound for one in estimates):
        notes.append("threshold and early_commit end a block sooner, by how much depends on the answers: upper bounds")
    if any(one.rows_read == 0 for one in estimates):
        notes.append("rows that aren't here are assumed; for their real sizes give --data DIR or fetch them first")
    for one in estimates:
        if one.note:
            notes.append(f"{one.task.removeprefix('lladav_')}: {one.note}")
        if not one.batch_size:
            needed = one.memory_bytes / (1 << 30)
            notes.append(
                f"{one.task.removeprefix('lladav_')}: does not fit; one sample needs {needed:.1f} GiB and a tenth to "
                f"spare, {hardware.name} has {hardware.memory:.1f}"
            )
        elif hardware.device == "cpu" and one.batch_size < min(batch_size or DEFAULT_BATCH_SIZE, one.rows):
            notes.append(
                f"{one.task.removeprefix('lladav_')}: no more than {one.batch_size} at once fit, which a run on a CPU "
                f"doesn't know: give it --batch-size {one.batch_size}"
            )
    return notes


def _document(
    model: str, hardware: Hardware, dtype: str, estimates: list[Estimate], notes: list[str]
) -> dict[str, Any]:
    from dataclasses import asdict

    known = [one.seconds for one in estimates if one.seconds is not None]
    return {
        "model": model,
        "hardware": asdict(hardware),
        "dtype": dtype.removeprefix("torch."),
        "tasks": [asdict(one) for one in estimates],
        "flops": sum(one.flops for one in estimates),
        "seconds": sum(known) if len(known) == len(estimates) else None,
        "notes": notes,
    }


def _show(estimates: list[Estimate], hardware: Hardware, dtype: str, notes: list[str]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from lladav_eval.cli.console import output
    from lladav_eval.reports.output import print_table

    table = Table(
        title=f"{hardware.name}, {dtype.removeprefix('torch.')}", title_justify="left", box=SIMPLE, pad_edge=False
    )
    for name in ("task", "rows", "tokens", "passes", "TFLOP", "batch", "best", "GiB", "time"):
        table.add_column(name, justify="left" if name == "task" else "right", no_wrap=True)
    for one in estimates:
        table.add_row(
            Text(one.task.removeprefix("lladav_")),
            f"{one.rows:,}",
            f"{one.prompt_tokens:,.0f}",
            f"{one.forward_passes:,.0f}",
            _teraflop(one.flops_per_sample),
            str(one.batch_size or "-"),
            str(one.best_batch_size or "-"),
            f"{one.memory_bytes / (1 << 30):.1f}",
            "does not fit" if one.seconds is None else _duration(one.seconds),
        )
    console = output()
    print_table(console, table)
    known = [one.seconds for one in estimates if one.seconds is not None]
    if len(estimates) > 1 and len(known) == len(estimates):
        console.print(f"in all: {_duration(sum(known))}", highlight=False)
    console.print(
        "note: tokens (of the prompt), passes and TFLOP are means of a sample; batch: samples that a run has at once; "
        "best: the smallest --batch-size that is about as fast as any; GiB: weights and peak of the batch",
        soft_wrap=True,
    )
    for note in notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _teraflop(flops: float) -> str:
    return f"{flops / 1e12:,.0f}" if flops >= 1e14 else f"{flops / 1e12:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
