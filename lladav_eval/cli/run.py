"""``lladav-eval run``: evaluate a model on tasks."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lladav_eval.records import RunSpec
    from lladav_eval.runs.verdicts import Ask

EXAMPLES = """Examples:

lladav-eval run --task pocket --model pocket

lladav-eval run --task pocket_digits --model ./my-checkpoint --limit 20 --gen steps=4

lladav-eval run --task pocket --model pocket --workers 2

lladav-eval run --task mmmu --model GSAI-ML/LLaDA-V --engine ray --ray-address head:6379

lladav-eval run --task pocket --model pocket --gen 'stop=["\\n"]' --gen threshold=0.9 --out results/runs/mine

lladav-eval run --task mathvista --model DIR --protocol official --judge gpt-4o@https://api.openai.com/v1

lladav-eval run --task mmmu --model openai:MODEL@https://host/v1 --time-limit 120   # and later: --retry-failed

Keys of --gen: gen_length, block_length, steps, temperature, cfg_scale, remasking, stop, suffix, seed, think_mode,
num_frames and, approximate, cache, threshold, early_commit. README.md says what they mean.

A repeated command goes on where the last one stopped. Exit code 1: some samples failed; 2: wrong usage or input; 3: the
machine lacks something; 130: interrupted."""


class Cache(str, Enum):
    """Approximate caches of the sampler; ``none`` switches a task's own off."""

    none = "none"
    prefix = "prefix"
    dual = "dual"
    dllm = "dllm"


class Protocol(str, Enum):
    """Which answer rule the scores follow."""

    official = "official"
    strict = "strict"


class Engine(str, Enum):
    """Who starts the workers."""

    local = "local"
    ray = "ray"


class Dtype(str, Enum):
    """Number format of the weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Acceleration(str, Enum):
    """How the kernels of LLaDA-V's layers are launched."""

    compile = "compile"
    cuda_graphs = "cuda-graphs"


# Options that other commands have in the same words.
Task = Annotated[str, typer.Option("--task", "-t", help="Tasks or groups, with commas: see `lladav-eval tasks`.")]
Limit = Annotated[int | None, typer.Option(min=1, help="First rows of every task only.")]
BatchSize = Annotated[str, typer.Option(help="Samples at once: auto or a number.")]
ProtocolName = Annotated[Protocol, typer.Option(help="Answer rule of the scores; prompts are the same.")]
Data = Annotated[Path | None, typer.Option(help="Local data sets instead of the hub.")]
Judge = Annotated[
    str | None,
    typer.Option(help="MODEL@URL that official figures of MathVista, MathVerse, MMBench ask; docs/scores.md has more."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
EngineName = Annotated[Engine, typer.Option(help="Who starts the workers: this command, or a Ray cluster.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that answer; default 1, with Ray one for every GPU.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="A Ray cluster, HOST:PORT or ray://HOST:PORT; default: $RAY_ADDRESS, or a local one."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of temperature and random remasking.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask failed samples again.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; default: cuda if present.")]
DtypeName = Annotated[Dtype | None, typer.Option(help="Number format; default: the checkpoint's choice.")]
IncludePath = Annotated[
    list[Path] | None, typer.Option(help="Folder with tasks of your own, beside the project's; repeatable.")
]
Accelerate = Annotated[
    list[Acceleration] | None,
    typer.Option(help="Compile the layers; launch a cache's small steps as CUDA graphs; repeatable."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(min=0.001, max=31_536_000, help="Most seconds for a sample (and its batch); past them it has failed."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=EXAMPLES)(run)


def run(
    task: Task,
    model: Annotated[str, typer.Option("--model", "-m", help="pocket, DIR, hf:NAME ...: see `lladav-eval models`.")],
    limit: Limit = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; default results/runs/<name of the run>.")] = None,
    batch_size: BatchSize = "auto",
    gen: Annotated[list[str] | None, typer.Option(help="KEY=VALUE over the task's setting; repeatable.")] = None,
    cache: Annotated[
        Cache | None, typer.Option(help="Approximate key-value cache; with numbers: --gen cache=dllm:25,7,0.25.")
    ] = None,
    protocol: ProtocolName = Protocol.strict,
    include_path: IncludePath = None,
    data: Data = None,
    judge: Judge = None,
    offline: Offline = False,
    engine: EngineName = Engine.local,
    workers: Workers = None,
    ray_address: RayAddress = None,
    seed: Seed = None,
    resume: Annotated[bool, typer.Option(help="Use the answers already in the run directory.")] = True,
    retry_failed: RetryFailed = False,
    device: Device = None,
    dtype: DtypeName = None,
    accelerate: Accelerate = None,
    trace: Annotated[bool, typer.Option("--trace", help="Record which position was filled at which step.")] = False,
    max_failures: Annotated[
        str | None, typer.Option(help="Stop past this many failed samples (5) or share of them (1%, the default).")
    ] = None,
    time_limit: TimeLimit = None,
) -> None:
    """Evaluate a model on tasks; leave a run directory."""
    from lladav_eval.cli.preflight import check
    from lladav_eval.cli.quiet import quiet_libraries

    spec = run_spec(
        task=task,
        batch_size=batch_size,
        gen=[*(gen or []), *([] if cache is None else [f"cache={cache.value}"])],
        protocol=protocol,
        include_path=include_path,
        data=data,
        dtype=dtype,
        accelerate=accelerate,
        engine=engine,
        model=model,
        limit=limit,
        judge=judge,
        seed=seed,
        device=device,
        offline=offline,
        trace=trace,
        max_failures=max_failures,
        time_limit=time_limit,
        workers=workers,
        ray_address=ray_address,
    )
    quiet_libraries(offline)
    check(spec)
    _run(spec, out, resume, retry_failed)


def run_spec(
    *,
    task: str,
    batch_size: str,
    gen: Iterable[str],
    protocol: Protocol,
    include_path: Iterable[Path] | None,
    data: Path | None,
    dtype: Dtype | None,
    accelerate: Iterable[Acceleration] | None,
    engine: Engine,
    **fields: Any,
) -> RunSpec:
    """What the options ask for; ``fields`` are those of a RunSpec that take an option's value as it is.

    Raises UsageError and its kinds.
    """
    from lladav_eval.records import RunSpec
    from lladav_eval.runs.tasks import resolve_tasks
    from lladav_eval.settings import parse_overrides

    if data is not None:
        _use_data(data)
    folders = tuple(map(str, include_path or ()))
    return RunSpec(
        tasks=resolve_tasks(task.split(","), folders),
        include_path=folders,
        batch_size=_batch_size(batch_size),
        gen=parse_overrides(gen),
        protocol="official" if protocol is Protocol.official else "strict",
        data=None if data is None else str(data),
        dtype=None if dtype is None else dtype.value,
        accelerate=tuple(sorted({way.value for way in accelerate or ()})),
        engine="ray" if engine is Engine.ray else "local",
        **fields,
    )


def _run(spec: RunSpec, out: Path | None, resume: bool, retry_failed: bool) -> None:
    from rich.console import Console

    from lladav_eval.cli.console import output
    from lladav_eval.cli.engines import choose_engine, model_loader
    from lladav_eval.reports.escape import printable
    from lladav_eval.reports.table import markdown_table, notes, print_results
    from lladav_eval.runs.execute import execute
    from lladav_eval.runs.store import DEFAULT_ROOT, RunDirectory, run_id

    directory = RunDirectory(out if out is not None else DEFAULT_ROOT / run_id(spec))
    _refuse_a_folder_above(directory.path, known=directory.manifest.exists())
    messages = Console(stderr=True)

    def warn(text: str) -> None:
        messages.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)

    result = execute(
        spec,
        model_loader(spec),
        directory,
        engine=choose_engine(spec, warn),
        resume=resume,
        retry_failed=retry_failed,
        console=messages,
        ask=_asker(spec.judge, directory.path / "judge_replies.jsonl"),
    )
    directory.write_text(directory.table, markdown_table(result.results))
    console = output()
    print_results(result.results, console)
    for note in notes(result.results):
        console.print(f"note: {printable(note)}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"run directory: {directory.path}", markup=False, highlight=False, soft_wrap=True)
    if result.failed:
        total = sum(task["n"] for task in result.results["tasks"].values())
        typer.echo(
            f"error: {result.failed} of {total} samples failed; the reasons are in {directory.samples}", err=True
        )
        raise typer.Exit(1)


def _refuse_a_folder_above(out: Path, known: bool) -> None:
    """Raises UsageError where ``out`` is the current directory or holds it, unless that is ``known`` as a run's."""
    import os

    from lladav_eval.errors import UsageError

    if out == Path():
        raise UsageError("--out is empty or the current directory: name a directory of the run's own")
    if Path.cwd().is_relative_to(os.path.realpath(out)) and not known:
        raise UsageError(f"--out {out} is or holds the current directory: name a directory of the run's own")


def _use_data(folder: Path) -> None:
    """Videos are looked for where the tables are; the variable also reaches worker processes."""
    import os

    from lladav_eval.data.source import DATA_VARIABLE
    from lladav_eval.errors import UsageError

    if not folder.is_dir():
        raise UsageError(f"--data {folder}: no such folder")
    os.environ[DATA_VARIABLE] = str(folder.resolve())


def _asker(judge: str | None, store: Path) -> Ask | None:
    """What asks the judge and stores its replies beside the run; None without a judge."""
    if judge is None:
        return None
    from threading import Lock

    from lladav_eval.adapters.judge import Endpoint, Judge

    endpoint = Endpoint.parse(judge)
    judges: dict[int, Judge] = {}
    making = Lock()

    def ask(prompt: str, max_tokens: int, attempt: int) -> str:
        with making:
            if max_tokens not in judges:
                judges[max_tokens] = Judge(endpoint, store, max_tokens=max_tokens)
        return judges[max_tokens].ask(prompt, attempt=attempt).text

    return ask


def _batch_size(text: str) -> int | None:
    from lladav_eval.errors import SettingError

    if text == "auto":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise SettingError(f"--batch-size {text[:20]!r}: give auto or a number of at least 1")
    return int(text)
