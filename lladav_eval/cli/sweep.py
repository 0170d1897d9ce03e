"""``lladav-eval sweep``: one run per combination of steps, block length and cache, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lladav_eval.cli import run as options
from lladav_eval.cli.run import Engine, Protocol

if TYPE_CHECKING:
    from lladav_eval.engine.base import Engine as ReadyEngine
    from lladav_eval.engine.base import StartEngine
    from lladav_eval.records import Answerer, RunSpec
    from lladav_eval.reports.run_data import RunData
    from lladav_eval.reports.sweep import Sweep
    from lladav_eval.runs.grid import Point, Skipped

EXAMPLES = """Examples:

lladav-eval sweep --task pocket_counts --model pocket --steps 1,2,4,8,16 --baseline pocket-ar

lladav-eval sweep --task pocket_counts --model pocket --steps 8,16 --block-length 8,16 --cache none,prefix,dual,dllm

lladav-eval sweep --task mathvista --model GSAI-ML/LLaDA-V --cache none,dllm:25,7,0.25 --out results/sweeps/mathvista

lladav-eval sweep --task mmmu --model DIR --steps 1,2,4 --workers 4 --time-limit 300

Every point is a run directory of its own inside --out; a repeated command goes on where the last one stopped, and more
values extend the sweep. A combination that the task's settings refuse is named with its reason and not run. Beside the
runs lie sweep.md, sweep.csv, sweep.json and two plots (PNG, SVG). Exit code 1: samples failed; 130: interrupted."""

DEFAULT_ROOT = Path("results") / "sweeps"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sweep", epilog=EXAMPLES)(sweep)


def sweep(
    task: options.Task,
    model: Annotated[str, typer.Option("--model", "-m", help="A diffusion checkpoint, named as for run.")],
    steps: Annotated[str | None, typer.Option(help="Denoising steps, such as 1,2,4; default: the task's.")] = None,
    block_length: Annotated[str | None, typer.Option(help="Block lengths, such as 8,16; default: the task's.")] = None,
    cache: Annotated[
        list[str] | None, typer.Option(help="none, prefix, dual, dllm, with numbers if wanted; repeatable.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="An autoregressive model to run too, or a run directory: a line in the plots.")
    ] = None,
    gen: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for every point; repeatable.")] = None,
    limit: options.Limit = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default results/sweeps/<name of the sweep>.")] = None,
    batch_size: options.BatchSize = "auto",
    protocol: options.ProtocolName = Protocol.strict,
    include_path: options.IncludePath = None,
    data: options.Data = None,
    judge: options.Judge = None,
    offline: options.Offline = False,
    engine: options.EngineName = Engine.local,
    workers: options.Workers = None,
    ray_address: options.RayAddress = None,
    seed: options.Seed = None,
    resume: Annotated[bool, typer.Option(help="Use the answers already in the runs.")] = True,
    retry_failed: options.RetryFailed = False,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    accelerate: options.Accelerate = None,
    max_failures: Annotated[str | None, typer.Option(help="As for run, of every point.")] = None,
    time_limit: options.TimeLimit = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line, no table.")] = False,
) -> None:
    """Run a model over steps x block length x cache. Quality against cost, with Pareto fronts."""
    from lladav_eval.cli.preflight import check
    from lladav_eval.cli.quiet import quiet_libraries
    from lladav_eval.runs.grid import plan_grid, read_axis, read_caches
    from lladav_eval.runs.store import run_id

    _refuse_other_models(model)
    spec = options.run_spec(
        task=task,
        batch_size=batch_size,
        gen=gen or (),
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
        max_failures=max_failures,
        time_limit=time_limit,
        workers=workers,
        ray_address=ray_address,
    )
    axes = (read_axis("--steps", steps), read_axis("--block-length", block_length), read_caches(cache))
    points, skipped = plan_grid(spec.tasks, spec.gen, *axes, include_path=spec.include_path)
    quiet_libraries(offline)
    folder = out if out is not None else DEFAULT_ROOT / run_id(spec)
    runs = _Runs(spec, folder, resume, retry_failed)
    for other in ([] if baseline is None or _is_run(baseline) else [baseline], [model]):
        for name in other:
            check(replace(spec, model=name))
    found = runs.go(points, skipped, baseline)
    files = _write(found, folder)
    _show(found, files, as_json)
    if runs.failed:
        typer.echo(f"error: {runs.failed} samples failed; the reasons are in samples.jsonl of the runs", err=True)
        raise typer.Exit(1)


def _refuse_other_models(model: str) -> None:
    from lladav_eval.adapters.models import PREFIXES
    from lladav_eval.errors import UsageError

    prefix, colon, _ = model.partition(":")
    if colon and prefix in PREFIXES:
        raise UsageError(
            f"--model {model}: a sweep varies the settings of masked diffusion, which {prefix}: models don't take; "
            "give it as --baseline"
        )


def _is_run(name: str) -> bool:
    """Whether a baseline is a run directory rather than a model."""
    return (Path(name) / "manifest.json").is_file()


class _Runs:
    """The runs of one sweep, one after the other; the model is loaded once, by every worker."""

    def __init__(self, spec: RunSpec, folder: Path, resume: bool, retry_failed: bool) -> None:
        from rich.console import Console

        from lladav_eval.cli.engines import choose_engine

        self.spec = spec
        self.folder = folder
        self.resume = resume
        self.retry_failed = retry_failed
        self.console = Console(stderr=True)
        self.failed = 0
        choose_engine(spec, self._say)  # options that contradict each other show at once
        self._open = ExitStack()
        self._ready: dict[str, ReadyEngine] = {}
        """The engine in use, by its model's name."""

    def go(self, points: Sequence[Point], skipped: Sequence[Skipped], baseline: str | None) -> Sweep:
        """Run what isn't there yet, and read everything back."""
        from lladav_eval.reports.sweep import Left, build_sweep
        from lladav_eval.reports.sweep_text import left_lines

        left = [
            Left(item.task, item.point.steps, item.point.block_length, item.point.cache, item.reason)
            for item in skipped
        ]
        for line in left_lines(left):
            self._say(line)
        tasks = tuple(name for name in self.spec.tasks if any(name in point.tasks for point in points))
        finished: list[RunData] = []
        with self._open:
            other = None if baseline is None else self._baseline(baseline, tasks)
            for number, point in enumerate(points, start=1):
                spec = replace(self.spec, tasks=point.tasks, gen=(*self.spec.gen, *point.overrides))
                where = f"point {number} of {len(points)}, {point.label}"
                finished.append(self._run(spec, self.folder / point.folder, where, diffusion=True))
                if number == 1:
                    build_sweep(self.spec.tasks, finished, left, other)  # a baseline on other data is refused at once
        return build_sweep(self.spec.tasks, finished, left, other)

    def _baseline(self, name: str, tasks: tuple[str, ...]) -> RunData:
        """Read or run it, before any point: a wrong name shows at once, and it doesn't share memory with the model."""
        from lladav_eval.reports.load import load_run
        from lladav_eval.runs.grid import file_name

        if _is_run(name):
            return load_run(name)
        spec = replace(_meant_for(name, self.spec), tasks=tasks)
        return self._run(spec, self.folder / f"baseline-{file_name(name)}", f"baseline {name}")

    def _run(self, spec: RunSpec, folder: Path, where: str, diffusion: bool = False) -> RunData:
        from lladav_eval.cli.engines import model_loader
        from lladav_eval.errors import EnvironmentError_, Interrupted, TooManyFailures
        from lladav_eval.reports.load import load_run
        from lladav_eval.reports.table import markdown_table
        from lladav_eval.runs.execute import execute
        from lladav_eval.runs.store import RunDirectory

        self._say(where)
        directory = RunDirectory(folder)
        try:
            result = execute(
                spec,
                model_loader(spec),
                directory,
                engine=self._keeper(spec, diffusion),
                resume=self.resume,
                retry_failed=self.retry_failed,
                console=self.console,
                ask=options._asker(spec.judge, directory.path / "judge_replies.jsonl"),
            )
        except (Interrupted, TooManyFailures, EnvironmentError_) as error:
            reason, resumable, _ = str(error).partition("resume with: ")
            more = f"{resumable}the same sweep command" if resumable else ""
            raise type(error)(f"{where}: {reason}{more}") from error
        directory.write_text(directory.table, markdown_table(result.results))
        self.failed += result.failed
        return load_run(folder)

    def _keeper(self, spec: RunSpec, diffusion: bool) -> StartEngine:
        """Starts the engine for the first run with a model, and gives it to the others."""
        from lladav_eval.cli.engines import choose_engine
        from lladav_eval.errors import UsageError

        def start(load_model: Callable[[], Answerer], batch_size: int) -> AbstractContextManager[ReadyEngine]:
            if spec.model not in self._ready:
                self._ready.clear()  # two large models need not fit side by side
                self._open.close()
                start_one = choose_engine(spec, lambda text: self._say(f"warning: {text}"))
                self._ready[spec.model] = self._open.enter_context(start_one(load_model, batch_size))
            ready = self._ready[spec.model]
            if diffusion and ready.description().get("kind") == "autoregressive":
                raise UsageError(
                    f"--model {spec.model} is autoregressive: it has no denoising steps to vary; give it as --baseline"
                )
            return nullcontext(ready)

        return start

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _meant_for(baseline: str, spec: RunSpec) -> RunSpec:
    """The same for a baseline, without options that this kind of model doesn't have."""
    from lladav_eval.adapters.models import PREFIXES

    kind = baseline.partition(":")[0]
    return replace(
        spec,
        model=baseline,
        device=None if kind in ("openai", "replay") else spec.device,
        dtype=None if kind in ("openai", "replay", "lmms") else spec.dtype,
        accelerate=tuple(way for way in spec.accelerate if way == "compile" and kind not in PREFIXES),
        time_limit=spec.time_limit if kind in ("openai", "hf") else None,
    )


def _write(found: Sweep, folder: Path) -> list[Path]:
    """Plots and tables beside the runs."""
    import json

    from lladav_eval.reports.output import write_report
    from lladav_eval.reports.plots import plot_sweep
    from lladav_eval.reports.sweep_text import as_csv, markdown

    files = plot_sweep(found, folder)
    texts = {
        "sweep.md": markdown(found),
        "sweep.csv": as_csv(found),
        "sweep.json": json.dumps(found.as_json(), indent=2, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        write_report(folder / name, text)
        files.append(folder / name)
    return files


def _show(found: Sweep, files: Sequence[Path], as_json: bool) -> None:
    import json

    from lladav_eval.cli.console import output
    from lladav_eval.reports.sweep_text import print_sweep

    if as_json:
        typer.echo(json.dumps({**found.as_json(), "files": [str(path) for path in files]}, sort_keys=True))
        return
    print_sweep(found, output())
    typer.echo(f"written: {', '.join(map(str, files))}")
