"""Finding, listing and loading tasks.

Names and lists come from reading the YAML alone, so that ``lladav-eval tasks`` needs neither torch nor lmms-eval.
Loading goes through lmms-eval's TaskManager and gives its task objects.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from lladav_eval.errors import EnvironmentError_, EvalError, TaskError, UsageError, one_line
from lladav_eval.runs.own_judges import KEYS

if TYPE_CHECKING:
    from lmms_eval.api.task import ConfigurableTask

PREFIX = "lladav_"
MOST_INCLUDES = 20
"""How deep task files may include each other."""


@dataclass(frozen=True)
class TaskEntry:
    """One name that ``--task`` accepts, read from YAML."""

    name: str
    kind: Literal["task", "group"]
    path: Path
    members: tuple[str, ...] = ()
    """What a group holds: names of tasks or groups."""
    description: str = ""
    """``metadata.description`` of the YAML."""
    dataset: str = ""
    """``dataset_path``, and ``dataset_name`` if there is one."""
    doubled: Path | None = None
    """Another file below the same folder that has this name too."""


def tasks_dir() -> Path:
    """The folder of the project's own tasks: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "tasks", package.parent / "tasks"):
        if path.is_dir():
            return path
    raise EnvironmentError_(f"the task files are missing ({package / 'tasks'}): install lladav_eval again")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C where PyYAML has it
    """Reads task YAML as data: ``!function a.b`` is text, nothing is imported."""


_Loader.add_constructor("!function", lambda loader, node: f"!function {node.value}")


def _read_yaml(path: Path, depth: int = 0) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # ValueError: bad UTF-8, dates, numbers
        raise TaskError(f"the task file {path} can't be read: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise TaskError(f"the task file {path} is not a YAML mapping")
    include = content.pop("include", [])
    names = [include] if isinstance(include, str) else include
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TaskError(f"the task file {path}: include must name a file, or several, not {include!r:.60}")
    if depth == MOST_INCLUDES:
        raise TaskError(f"the task file {path} is included by its own includes, or more than {depth} deep")
    merged: dict[str, Any] = {}
    for name in reversed(names):
        merged.update(_read_yaml(path.parent / name, depth + 1))
    return {**merged, **content}


def list_tasks(include_path: Sequence[str | Path] = ()) -> dict[str, TaskEntry]:
    """Every task and group below the project's tasks and the given folders, by name. Later folders win."""
    return dict(_list_tasks((tasks_dir(), *(Path(path).resolve() for path in include_path))))


@cache
def _list_tasks(folders: tuple[Path, ...]) -> Mapping[str, TaskEntry]:
    entries: dict[str, TaskEntry] = {}
    for folder in folders:
        if not folder.is_dir():
            why = "is a file: name the folder that it is in" if folder.exists() else "does not exist"
            raise TaskError(f"the task folder {folder} {why}")
        found: dict[str, TaskEntry] = {}
        for path in sorted(folder.rglob("*.yaml")):
            entry = _entry(path, _read_yaml(path))
            if entry is not None:
                other = found.get(entry.name)
                found[entry.name] = entry if other is None else replace(entry, doubled=other.path)
        entries.update(found)
    return entries


def _entry(path: Path, content: Mapping[str, Any]) -> TaskEntry | None:
    metadata = content.get("metadata")
    description = str(metadata.get("description", "")) if isinstance(metadata, dict) else ""
    task = content.get("task")
    if isinstance(task, list):
        group = content.get("group")
        if not isinstance(group, str):
            raise TaskError(
                f"the task file {path} lists tasks, so `group` must be their common name, not {group!r:.60}"
            )
        return TaskEntry(group, "group", path, tuple(_members(path, task)), description)
    if isinstance(task, str):
        dataset = "/".join(str(content[name]) for name in ("dataset_path", "dataset_name") if content.get(name))
        return TaskEntry(task, "task", path, (), description, dataset)
    return None


def _members(path: Path, items: Iterable[Any], depth: int = 0) -> Iterator[str]:
    """Names in a group's list. Raises TaskError where the list would change a task: nothing reads such changes here."""
    for item in items:
        inner = item.get("task") if isinstance(item, dict) else item
        if isinstance(item, dict) and isinstance(inner, list) and depth < MOST_INCLUDES:
            yield from _members(path, inner, depth + 1)
            continue
        changes = item.keys() - {"task", "task_alias"} if isinstance(item, dict) else ()
        if not isinstance(inner, str) or changes:
            fix = "give a name, or a task file of its own with `include` and the changes"
            raise TaskError(f"the task file {path}: a group can't hold {item!r:.100}: {fix}")
        yield inner


def read_task(name: str, include_path: Sequence[str | Path] = ()) -> dict[str, Any]:
    """The YAML of a task given by its full name, its includes merged in, functions as text. Raises TaskError."""
    entry = list_tasks(include_path).get(name)
    if entry is None or entry.kind != "task":
        raise TaskError(f"{name} is not a task; `lladav-eval tasks` lists all")
    return _read_yaml(entry.path)


def resolve_tasks(names: Iterable[str], include_path: Sequence[str | Path] = ()) -> tuple[str, ...]:
    """Names as given (short or full, tasks or groups) -> full task names, in order, each once. Raises TaskError."""
    entries = list_tasks(include_path)
    found: dict[str, None] = {}
    for name in names:
        for task in _expand(name.strip(), entries, ()):
            found[task] = None
    if not found:
        raise TaskError("no task named: give --task, for example --task pocket")
    return tuple(found)


def _expand(name: str, entries: Mapping[str, TaskEntry], parents: tuple[str, ...]) -> Iterator[str]:
    entry = entries.get(PREFIX + name) or entries.get(name)
    if entry is None:
        short = {known.removeprefix(PREFIX): known for known in entries}
        close = get_close_matches(name.removeprefix(PREFIX), short, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "`lladav-eval tasks` lists all"
        raise TaskError(f"unknown task {name!r}; {hint}")
    if entry.doubled is not None:
        raise TaskError(f"{entry.name} is in two files, {entry.doubled} and {entry.path}: give one another name")
    if entry.name in parents:
        raise TaskError(f"the group {entry.name} contains itself ({entry.path})")
    if entry.kind == "task":
        yield entry.name
    for member in entry.members:
        yield from _expand(member, entries, (*parents, entry.name))


def load_tasks(
    names: Sequence[str],
    include_path: Sequence[str | Path] = (),
    *,
    data_dir: Path | None = None,
    offline: bool = False,
) -> dict[str, ConfigurableTask]:
    """Task objects of lmms-eval by full name, data loaded.

    The rows of our benchmarks come from the data room: from ``data_dir``, or fetched once and pinned. Other tasks
    (the pocket's, a user's own) load the way their YAML says.

    Raises:
        TaskError: naming the task that can't be loaded.
        EnvironmentError_, UsageError: data that can't be had, or that changed since they were pinned.
    """
    list_tasks(include_path)  # every file as plain data first: a tag that would make objects is refused here
    _import_when_used("evaluate")
    from lmms_eval.api.task import ConfigurableTask
    from lmms_eval.tasks import TaskManager
    from PIL import ImageFile

    if data_dir is not None and not any(is_benchmark(name, include_path) for name in names):
        raise UsageError(
            f"--data {data_dir}: rows of {', '.join(names)} come from elsewhere; it is for tasks whose YAML has "
            "metadata.family"
        )
    # lmms-eval makes Pillow fill cut-off images with grey; here they are failed samples.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    folders = [str(tasks_dir()), *(str(Path(path).resolve()) for path in include_path)]
    # In its index the first folder wins; ours says the later one, as a user expects of an added folder.
    manager = TaskManager(include_path=folders[::-1], include_defaults=False, model_name="lladav")
    tasks: dict[str, ConfigurableTask] = {}
    with _one_attempt(ConfigurableTask):
        for name in names:
            _check_content(name, include_path)
            try:
                if is_benchmark(name, include_path):
                    tasks[name] = _load_benchmark(manager._get_config(name), name, include_path, data_dir, offline)
                else:
                    tasks.update(manager.load_task_or_group([name]))
            except EvalError:
                raise
            except (Exception, SystemExit) as error:  # YAML, imports, data sets: anything may be wrong in there
                raise TaskError(f"the task {name} can't be loaded: {_reason(error)}") from error
    return tasks


def _check_content(name: str, include_path: Sequence[str | Path]) -> None:
    """Raises TaskError where the YAML lacks what lmms-eval calls without a look."""
    content = read_task(name, include_path)
    absent = [key for key in ("dataset_path", "doc_to_text", "doc_to_target") if content.get(key) is None]
    if absent and "class" not in content:
        raise TaskError(f"the task {name} has no {' and no '.join(absent)}: add it to its YAML")


def is_benchmark(name: str, include_path: Sequence[str | Path] = ()) -> bool:
    """Whether a task is one of the published benchmarks, whose rows the data room has."""
    metadata = read_task(name, include_path).get("metadata")
    return isinstance(metadata, dict) and "family" in metadata


def _load_benchmark(
    config: Mapping[str, Any], name: str, include_path: Sequence[str | Path], data_dir: Path | None, offline: bool
) -> ConfigurableTask:
    from lladav_eval.runs.docs import benchmark_task
    from lladav_eval.runs.score import benchmark, open_benchmark

    table = open_benchmark(benchmark(name, include_path), data_dir=data_dir, offline=offline)
    try:
        return benchmark_task(config, table)  # words the first row's question
    except TaskError as error:
        raise TaskError(f"{name}, {table.files[0]}: {error}") from None


def _reason(error: BaseException) -> str:
    """The error on one line, with the first cause behind it where that says more (datasets wraps its errors)."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    if isinstance(error, IndexError):
        return "its data set has no rows, or fewer than its functions expect"
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(first, KeyError) and (name := str(first.args[0])).isupper() and name not in os.environ:
        return f"its functions want the environment variable {name}"
    if type(first).__module__.partition(".")[0] == "openai":
        return f"its functions ask a judge, and there is no key for one: set {KEYS[0]} ({one_line(first)})"
    bare = KeyError, TypeError, AttributeError, AssertionError, SystemExit  # their messages may be but a name
    if isinstance(error, bare) and str(error).strip():
        text = f"{type(error).__name__}: {text}"
    if first is error:
        return text
    return f"{text} ({type(first).__name__}: {(str(first).strip() or 'no message').splitlines()[0]})"


def _import_when_used(name: str) -> None:
    """Stand a module in for a package that imports the package itself once something of it is used.

    lmms-eval imports ``evaluate`` for metrics that no task of ours has; that pulls in transformers' pipelines and is
    half of lmms-eval's import time. (importlib's own LazyLoader is woken by a plain second ``import`` already.)
    """
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None:
        return
    stand_in = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = stand_in


@contextmanager
def _one_attempt(task_class: type[ConfigurableTask]) -> Iterator[None]:
    """Load data once: lmms-eval tries five times, two seconds apart, even when a file simply isn't there.

    Failing downloads are still retried, by huggingface_hub itself.
    """
    from tenacity import stop_after_attempt

    policy = task_class.download.retry
    before = policy.stop, policy.reraise
    policy.stop, policy.reraise = stop_after_attempt(1), True
    try:
        yield
    finally:
        policy.stop, policy.reraise = before
