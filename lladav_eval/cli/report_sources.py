"""What the HTML report shows besides samples.jsonl: denoising steps, texts of tokens, pictures.

They come from the run's journal, its checkpoint and its tasks' data sets, which the reports themselves may not open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lladav_eval.errors import CheckpointError, EnvironmentError_, EvalError, SampleError, UsageError, one_line
from lladav_eval.records import Request, RunSpec, TraceStep, VideoClip
from lladav_eval.runs.journal import decode
from lladav_eval.runs.questions import Plan, build, plan_task
from lladav_eval.runs.store import RunDirectory, read_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from lladav_eval.reports.html_media import Media

TraceOf = Callable[[str, int], "tuple[TraceStep, ...] | None"]


def read_traces(path: Path) -> TraceOf | None:
    """The denoising steps in a run's journal; None where it holds none. The steps themselves stay on disk.

    Raises UsageError for a journal that can't be read, or a line of it that can't be trusted.
    """
    journal = RunDirectory(path).journal
    if not journal.exists():
        return None
    places: dict[tuple[str, int], int] = {}
    try:
        with journal.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, start=1):
                try:
                    record = decode(line)
                except ValueError as error:
                    raise UsageError(f"{journal}, line {number}: {error}; resume the run to repair it") from None
                places.pop((record.task, record.doc_id), None)  # the last line of a sample counts
                if record.generation.trace is not None:
                    places[record.task, record.doc_id] = offset
                offset += len(line)
    except OSError as error:
        raise UsageError(f"{journal} can't be read ({error.strerror}): allow reading it") from error
    if not places:
        return None

    def trace_of(task: str, doc_id: int) -> tuple[TraceStep, ...] | None:
        place = places.get((task, doc_id))
        if place is None:
            return None
        with journal.open("rb") as file:
            file.seek(place)
            return decode(file.readline()).generation.trace

    return trace_of


def token_texts(path: Path) -> tuple[Callable[[int], str] | None, str | None]:
    """Token id -> text by the run's own tokenizer; or None and the reason. Nothing is fetched for it.

    The tokenizer at hand must be the one the run recorded: another one would show other words without a sign.
    """
    from lladav_eval.model.checkpoint import find_checkpoint
    from lladav_eval.processing.chat import ChatTokenizer

    name = str(_spec(path)["model"])
    try:
        directory = find_checkpoint(name, offline=True)
        changed = _tokenizer_changed(path, directory)
        if changed is not None:
            return None, f"{name}: {changed}"
        tokenizer = ChatTokenizer.from_dir(directory)
    except (CheckpointError, EnvironmentError_) as error:
        return None, f"the checkpoint's tokenizer was not found: {one_line(error)}"
    return (lambda token: tokenizer.decode([token], skip_special_tokens=False)), None


def _tokenizer_changed(path: Path, directory: Path) -> str | None:
    """Why a checkpoint's tokenizer can't be taken for the run's; None if it can.

    A run made before tokenizers were recorded says by its digest of all files whether anything changed.
    """
    from lladav_eval.adapters.models import tokenizer_hash
    from lladav_eval.model.checkpoint import checkpoint_hash

    content = read_json(RunDirectory(path).manifest)
    model = content.get("model") if isinstance(content, dict) else None
    recorded = model if isinstance(model, dict) else {}
    if "tokenizer" in recorded:
        here, then, what = tokenizer_hash(directory), recorded["tokenizer"], "the tokenizer"
    elif "weights" in recorded:
        here, then, what = checkpoint_hash(directory), recorded["weights"], "the checkpoint"
    else:
        return "the run doesn't say which tokenizer it had"
    if here == then:
        return None
    return f"{what} changed since the run ({str(then)[:8]} then, {here[:8]} now)"


class Pictures:
    """Gives a sample's pictures from its task's row, for runs made here or elsewhere."""

    def __init__(
        self,
        runs: Sequence[Path],
        data: Path | None = None,
        offline: bool = False,
        include_path: Sequence[Path] = (),
    ) -> None:
        """Load the tasks of all runs; the first run that has a task says how its rows are asked for.

        ``data`` None takes each run's own folder of local data sets, if it had one. Folders of tasks are never a run's
        own: tasks bring code along, and a run may come from anybody.

        Raises TaskError, EnvironmentError_ or UsageError for a task whose rows can't be had.
        """
        self._plans: dict[str, Plan] = {}
        self._include_path = include_path
        for path in runs:
            spec = _spec(path)
            self._add([name for name in map(str, spec["tasks"]) if name not in self._plans], spec, data, offline)

    def _add(self, names: Sequence[str], spec: dict[str, Any], data: Path | None, offline: bool) -> None:
        from lladav_eval.runs.tasks import load_tasks

        if data is None and spec.get("data") is not None:
            data = Path(str(spec["data"]))
        try:
            tasks = load_tasks(names, self._include_path, data_dir=data, offline=offline)
        except EvalError as error:
            fix = "--include-path names the folder of the run's tasks, " if spec.get("include_path") else ""
            raise type(error)(f"{error}; {fix}--no-media writes the report without pictures") from error
        for name in names:
            self._plans[name] = plan_task(name, tasks[name], _run_spec(spec))

    def __call__(self, task: str, doc_id: int, prompt: str) -> Media:
        """The pictures of one sample, or the reason why there are none to show."""
        from lladav_eval.reports.html_media import Media

        plan = self._plans[task]
        if doc_id >= len(plan.task.eval_docs):
            return Media(note="the data set has no such row any more")
        item = build(plan, doc_id, "")
        if item.question is None:
            return Media(note=item.reason)
        if item.prompt != prompt:
            return Media(note="the data set's question differs from the one this run answered")
        try:
            return _media(item.question.request)
        except SampleError as error:
            return Media(note=one_line(error))


def _media(request: Request) -> Media:
    from lladav_eval.reports.html_media import Media

    if request.video is None:
        return Media(request.images)
    return Media(_frames(request.video, request.num_frames), video=True)


def _frames(video: str | Path | VideoClip | tuple[Image, ...], count: int) -> Sequence[Image]:
    """The ``count`` frames that the model saw."""
    from PIL import Image

    from lladav_eval.processing.decoding import frame_indices
    from lladav_eval.processing.video import read_video

    if isinstance(video, tuple):
        return [video[index] for index in frame_indices(len(video), count)] if video else ()
    return [Image.fromarray(frame) for frame in read_video(video, count)]


def _spec(path: Path) -> dict[str, Any]:
    manifest = RunDirectory(path).manifest
    content = read_json(manifest)
    spec = content.get("spec") if isinstance(content, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("tasks"), list) or "model" not in spec:
        raise UsageError(f"{manifest}: spec must say which tasks and model were asked for")
    return spec


def _run_spec(spec: dict[str, Any]) -> RunSpec:
    """What the rows of a task depend on; whatever else the run was asked is left out."""
    return RunSpec(
        tasks=tuple(spec["tasks"]),
        model=str(spec["model"]),
        gen=tuple((str(name), str(value)) for name, value in spec.get("gen", ())),
        protocol=spec.get("protocol", "strict"),
    )
