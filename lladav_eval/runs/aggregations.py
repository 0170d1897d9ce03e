"""A task's own aggregations, called as lmms-eval calls them: with the ``args`` of its command where they want them.

Those write files beside a figure, or instead of one: answers to hand in, and details. Here they go into a folder of the
task inside the run directory, as does what an aggregation prints.
"""

from __future__ import annotations

import contextlib
import copy
import io
import shutil
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lladav_eval.records import RunSpec
from lladav_eval.runs.own_judges import without_judges
from lladav_eval.runs.store import folder_name

FOLDER = "task_files"
"""Inside the run directory; one folder for each task that writes something."""
PRINTED = "printed.txt"


class Args(SimpleNamespace):
    """What aggregations read of lmms-eval's command line."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this run has no `args.{name}` of lmms-eval's command")


def args_for(task: str, spec: RunSpec, run: Path) -> Args:
    """The arguments that lmms-eval would have for the same run; the model by a name that can be a folder's."""
    return Args(
        output_path=str((run / FOLDER / folder_name(task)).resolve()),
        model=folder_name(spec.model),
        model_args="",
        tasks=task,
        limit=spec.limit,
        log_samples_suffix="model_outputs",
    )


class Aggregation:
    """One metric's function: items -> figure.

    May be called more than once: what it counts in its module is undone, and the files of the call before are removed,
    as some of those functions read their own again.
    """

    def __init__(self, function: Callable[..., Any], args: Args) -> None:
        self._function = function
        self._args = args
        self.takes_args = takes(function, "args")
        self._files: set[Path] = set()

    def __call__(self, items: Sequence[Any]) -> Any:
        """What the task's function gives."""
        folder = Path(self._args.output_path)
        printed = io.StringIO()
        more = {}
        if self.takes_args:
            for path in self._files:
                path.unlink(missing_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
            more = {"args": self._args}
        others = set(folder.rglob("*"))
        tables = _tables(self._function)
        before = copy.deepcopy(tables)
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()), without_judges():
                return self._function(list(items), **more)
        finally:
            if tables:
                self._function.__globals__.update(before)
            if printed.getvalue().strip():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / PRINTED).write_text(printed.getvalue(), encoding="utf-8", errors="replace")
            self._files = {path for path in folder.rglob("*") if path.is_file()} - others


def clear(args: Args) -> None:
    """Remove what an earlier scoring of the same run left."""
    shutil.rmtree(args.output_path, ignore_errors=True)


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has a parameter of that name."""
    try:
        return name in signature(function).parameters
    except (ValueError, TypeError):  # of some builtins nobody knows
        return False


def _tables(function: Callable[..., Any]) -> dict[str, Any]:
    """Lists and mappings of its module that a function reads: some add to them, and would count twice."""
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    known = getattr(function, "__globals__", {})
    return {name: known[name] for name in names if isinstance(known.get(name), (dict, list, set))}


def goes_beyond_one(aggregate: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> bool:
    """Whether a figure of at most 1 is one that counts to 100, or without end: then it is more than 1 of some items.

    Of the two halves the one with more is halved again, down to one item.
    """
    rest = items
    with contextlib.suppress(Exception, SystemExit):  # functions of the task, which may need some items together
        while len(rest) > 1:
            halves = rest[: len(rest) // 2], rest[len(rest) // 2 :]
            values = [float(aggregate(half)) for half in halves]
            if max(values) > 1:
                return True
            rest = halves[values[1] > values[0]]
    return False


def written(args: Args, run: Path) -> list[str]:
    """The files of a task by their paths inside the run directory; folders without any are removed."""
    folder = Path(args.output_path)
    for path in sorted(folder.rglob("*"), reverse=True):  # what is inside comes first
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()
    for path in (folder, folder.parent):
        with contextlib.suppress(OSError):
            path.rmdir()
    return sorted(path.relative_to(run.resolve()).as_posix() for path in folder.rglob("*") if path.is_file())
