"""Names, groups and listings without any heavy import; errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import toy

from lladav_eval.errors import TaskError
from lladav_eval.runs import tasks as tasks_module
from lladav_eval.runs.tasks import list_tasks, load_tasks, resolve_tasks, tasks_dir


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=2), monkeypatch)


def test_short_names_groups_and_repeats() -> None:
    assert resolve_tasks(["toy_b"]) == ("lladav_toy_b",)
    assert resolve_tasks(["lladav_toy_b", "toy", " toy_a"]) == ("lladav_toy_b", "lladav_toy_a")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("toy_aa", "did you mean toy_a"),
        ("zzz", "`lladav-eval tasks` lists all"),
        ("", "lists all"),
        ("../x", "unknown"),
    ],
)
def test_an_unknown_task_is_named_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(TaskError, match=hint):
        resolve_tasks([name])


def test_a_listing_says_what_there_is(tasks: Path) -> None:
    entries = list_tasks()
    assert entries["lladav_toy"].members == ("lladav_toy_a", "lladav_toy_b")
    assert entries["lladav_toy_a"].description == "colours of small images"
    assert entries["lladav_toy_a"].dataset == "parquet"


def test_included_yaml_and_added_folders(tasks: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "mine.yaml").write_text(f"include: {tasks}/lladav_toy_a.yaml\ntask: lladav_mine\n")
    entries = list_tasks([more])
    assert entries["lladav_mine"].description == "colours of small images"
    assert resolve_tasks(["mine"], [more]) == ("lladav_mine",)
    with pytest.raises(TaskError, match="does not exist"):
        list_tasks([tmp_path / "gone"])
    with pytest.raises(TaskError, match=r"mine\.yaml is a file: name the folder that it is in"):
        list_tasks([more / "mine.yaml"])


def test_a_name_in_two_files_is_refused_and_in_an_added_folder_it_wins(tasks: Path, tmp_path: Path) -> None:
    copy = tasks / "a_copy.yaml"
    copy.write_text((tasks / "lladav_toy_a.yaml").read_text())
    with pytest.raises(TaskError, match=r"lladav_toy_a is in two files, .*a_copy.yaml and .*lladav_toy_a.yaml: give"):
        resolve_tasks(["toy"])
    assert resolve_tasks(["toy_b"]) == ("lladav_toy_b",)
    (tmp_path / "more").mkdir()
    copy.rename(tmp_path / "more" / "mine.yaml")
    assert resolve_tasks(["toy_a"], [tmp_path / "more"]) == ("lladav_toy_a",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [", "can't be read"),
        ("- 1", "not a YAML mapping"),
        ("a: !!python/object/apply:os.getcwd []", "can't be"),
    ],
)
def test_a_broken_or_hostile_yaml_is_named(tasks: Path, text: str, message: str) -> None:
    (tasks / "bad.yaml").write_text(text)
    with pytest.raises(TaskError, match=message):
        list_tasks()


def test_a_group_that_contains_itself_is_an_error(tasks: Path) -> None:
    (tasks / "_group.yaml").write_text("group: lladav_toy\ntask: [lladav_toy]\n")
    with pytest.raises(TaskError, match="contains itself"):
        resolve_tasks(["toy"])


def test_groups_of_groups_and_aliases(tasks: Path) -> None:
    inner = "{group: inner, task: [lladav_toy_b]}"
    (tasks / "_mine.yaml").write_text(f"group: mine\ntask: [{{task: lladav_toy_a, task_alias: A}}, {inner}]\n")
    assert resolve_tasks(["mine"]) == ("lladav_toy_a", "lladav_toy_b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "group: mine\ntask: [{task: lladav_toy_a, num_fewshot: 2}]",
            "can't hold .*num_fewshot.*: give a name, or a task",
        ),
        ("group: mine\ntask: [{include: x.yaml}]", "can't hold .*x.yaml"),
        ("group: mine\ntask: [3]", "can't hold 3"),
        ("group: mine\ntask: [[lladav_toy_a]]", "can't hold"),
        ("group: mine\ntask: &a [{task: *a}]", "can't hold"),
        ("group: [a, b]\ntask: [lladav_toy_a]", "`group` must be their common name"),
        ("task: [lladav_toy_a]", "`group` must be their common name, not None"),
    ],
)
def test_a_group_that_would_change_its_tasks_is_refused(tasks: Path, text: str, message: str) -> None:
    (tasks / "_mine.yaml").write_text(text)
    with pytest.raises(TaskError, match=message) as caught:
        list_tasks()
    assert "_mine.yaml" in str(caught.value)


def test_the_projects_own_tasks_resolve_without_heavy_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from lladav_eval.runs.tasks import resolve_tasks; print(*resolve_tasks(['pocket']));"
        "print(sorted({'torch', 'lmms_eval', 'datasets', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = done.stdout.splitlines()
    assert "lladav_pocket_digits" in names.split()
    assert heavy == "[]"
    monkeypatch.undo()
    assert (tasks_dir() / "pocket").is_dir()


def test_a_stand_in_imports_the_package_only_when_something_of_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sleepy").mkdir()
    (tmp_path / "sleepy" / "__init__.py").write_text("from sleepy.inner import value\n")
    (tmp_path / "sleepy" / "inner.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    tasks_module._import_when_used("sleepy")
    import sleepy

    assert "sleepy.inner" not in sys.modules
    assert sleepy.value == 7
    assert sys.modules["sleepy"].__file__ == str(tmp_path / "sleepy" / "__init__.py")
    with pytest.raises(AttributeError):
        _ = sleepy.nothing
    for name in ("sleepy", "sleepy.inner"):
        monkeypatch.delitem(sys.modules, name)
    tasks_module._import_when_used("no_such_package")
    assert "no_such_package" not in sys.modules


@pytest.mark.slow
def test_loading_a_task_does_not_import_evaluate(tasks: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lladav_eval.runs import tasks;"
        f"tasks.tasks_dir = lambda: Path({str(tasks)!r}); print(list(tasks.load_tasks(['lladav_toy_a'])));"
        "print('evaluate.evaluator' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["['lladav_toy_a']", "False"]


def test_what_is_wrong_with_a_data_set_is_said(tasks: Path) -> None:
    toy.write_tasks(tasks, rows=0)
    with pytest.raises(
        TaskError, match=r"the task lladav_toy_a can't be loaded: .*\(ArrowInvalid: BatchSize must be greater than 0"
    ):
        load_tasks(["lladav_toy_a"])
