"""A run directory is read back whole, or the file and field that is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reports.synthetic import Sheet, write_run

from lladav_eval.errors import UsageError
from lladav_eval.reports.load import load_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    sheets = {
        "a": Sheet([1, 0, 1, 0], statuses={3: "failed"}, categories=["x", "x", "y", None], data_revision="abc"),
        "b": Sheet([0.5, 0.25], metric="anls", more_metrics={"exact": [0, 1]}),
    }
    return write_run(tmp_path / "run", sheets, model="toy model")


def test_everything_is_there(run: Path) -> None:
    data = load_run(run)
    assert (data.label, data.model, data.kind, data.protocol) == ("run", "toy model", "diffusion", "strict")
    assert (data.commit, data.dirty, data.version) == ("0123456789abcdef", False, "0123456789")
    assert data.date.startswith("20")
    assert list(data.tasks) == ["lladav_a", "lladav_b"]
    task = data.tasks["lladav_a"]
    assert (task.short, task.n, task.scored, task.failed, task.headline) == ("a", 4, 3, 1, "accuracy")
    assert task.metrics["accuracy"].value == 50.0
    assert task.metrics["accuracy"].low is not None
    assert task.data_revision == "abc"
    assert task.settings["steps"] == 2
    assert data.tasks["lladav_b"].metrics["exact"].value == 50.0
    sample = data.samples["lladav_a", 3]
    assert (sample.status, sample.error, sample.tokens, sample.metrics) == ("failed", "no picture", 2, {"accuracy": 0})
    assert [sample.category for sample in data.of_task("lladav_a")] == ["x", "x", "y", None]


def test_no_secret_reaches_a_report(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["sessions"][-1]["host"] = "machine.internal"
    manifest["spec"]["model"] = "openai:m@https://user:hunter2@example.org"
    (run / "manifest.json").write_text(json.dumps(manifest))
    data = load_run(run)
    shown = f"{data!r} {data.samples!r}"
    assert not any(word in shown for word in ("hunter2", "machine.internal", "example.org", "hidden"))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def drop(*names: str) -> Callable[[dict[str, Any]], Any]:
    def change(content: dict[str, Any]) -> None:
        for name in names[:-1]:
            content = content[name]
        del content[names[-1]]

    return change


def put(value: Any, *names: str) -> Callable[[dict[str, Any]], Any]:
    def change(content: dict[str, Any]) -> None:
        for name in names[:-1]:
            content = content[name]
        content[names[-1]] = value

    return change


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("results.json", drop("tasks", "lladav_a", "n"), r"results.json: tasks.lladav_a.n is missing; expected int"),
        ("results.json", put("4", "tasks", "lladav_a", "n"), r"tasks.lladav_a.n is '4'; expected int"),
        ("results.json", put(True, "tasks", "lladav_a", "n"), r"tasks.lladav_a.n is True"),
        ("results.json", put(5, "tasks", "lladav_a", "n"), r"tasks.lladav_a.n is 5; expected the sum"),
        ("results.json", put({}, "tasks"), r"tasks is {}; expected at least one"),
        ("results.json", put("x", "tasks", "lladav_a", "headline"), r"headline is 'x'; expected one of .*accuracy"),
        ("results.json", put("percent", "tasks", "lladav_a", "scale"), r"lladav_a.scale is 'percent'"),
        ("results.json", put("x", "tasks", "lladav_a", "metrics", "accuracy", "value"), r"accuracy.value is 'x'"),
        ("results.json", put(None, "tasks", "lladav_a", "metrics", "accuracy", "high"), r"high is None; expected a"),
        ("results.json", put(2, "schema"), r"schema is 2; expected 1"),
        ("results.json", drop("protocol"), r"protocol is missing"),
        ("manifest.json", drop("tasks", "lladav_b"), r"manifest.json: tasks.lladav_b is missing"),
        ("manifest.json", put([], "sessions"), r"sessions is \[\]"),
        ("manifest.json", put(1, "model", "kind"), r"model.kind is 1; expected str"),
        ("results.json", put("official", "protocol"), "protocol is 'official', but manifest.json says 'strict': run"),
        ("results.json", put("weights-2", "fingerprint"), "fingerprint is 'weights-2', but manifest.json says"),
        ("results.json", put("2.0", "tasks", "lladav_a", "version"), "lladav_a.version is '2.0', but manifest.json"),
        ("results.json", put({"steps": 1}, "tasks", "lladav_a", "settings"), "settings.steps is 1, but manifest.json"),
    ],
)
def test_what_is_wrong_is_named(run: Path, file: str, change: Callable[[dict[str, Any]], Any], expected: str) -> None:
    edit(run / file, change)
    with pytest.raises(UsageError, match=expected):
        load_run(run)


@pytest.mark.parametrize("file", ["manifest.json", "results.json", "samples.jsonl"])
def test_json_that_is_nested_without_end_is_named(run: Path, file: str) -> None:
    (run / file).write_text("[" * 100_000)
    with pytest.raises(UsageError, match=rf"{file}.* valid JSON \(.*recursion"):
        load_run(run)


def test_a_run_is_of_the_commit_that_it_began_on(run: Path) -> None:
    edit(run / "results.json", put({"commit": "beef", "dirty": True}, "code", "git"))
    loaded = load_run(run)
    assert (loaded.commit, loaded.dirty) == ("0123456789abcdef", False)
    edit(run / "manifest.json", drop("code"))
    loaded = load_run(run)
    assert (loaded.commit, loaded.dirty) == ("beef", True)


def test_a_kind_that_says_nothing_of_decoding_is_unstated(run: Path) -> None:
    edit(run / "manifest.json", put("endpoint", "model", "kind"))
    assert load_run(run).kind == "unstated"


@pytest.mark.parametrize(
    ("fingerprint", "revision"),
    [("local:0a1b", "local:0a1b"), ("ab" * 20, "ab" * 20), ("375b93a6b15b633b", None), (None, None)],
)
def test_only_a_pinned_fingerprint_is_a_revision(run: Path, fingerprint: str | None, revision: str | None) -> None:
    edit(run / "manifest.json", put(fingerprint, "tasks", "lladav_b", "dataset_fingerprint"))
    tasks = load_run(run).tasks
    assert (tasks["lladav_b"].data_revision, tasks["lladav_a"].data_revision) == (revision, "abc")


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_refused(tmp_path: Path, status: str) -> None:
    with pytest.raises(UsageError, match=f"not finished \\({status}\\).*resume"):
        load_run(write_run(tmp_path / "run", {"a": Sheet([1])}, status=status))


@pytest.mark.parametrize("name", ["manifest.json", "results.json", "samples.jsonl"])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(UsageError, match=name):
        load_run(run)


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        load_run(tmp_path / "nothing")


def test_bad_lines_of_samples(run: Path) -> None:
    path = run / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for content, expected in (
        ([*lines[:1], lines[1][:40]], "line 2: not valid JSON"),
        ([*lines, lines[0]], "line 7: doc_id is 0; expected given once"),
        (lines[1:], "3 samples of lladav_a, but results.json says 4"),
        (["[1]\n"], "line 1 must be a JSON object"),
        ([lines[0].replace('"doc_id": 0', '"doc_id": "0"')], "line 1: doc_id is '0'"),
        ([lines[0].replace('"status": "scored"', '"status": "odd"')], "line 1: status is 'odd'"),
        ([lines[0].replace("lladav_a", "lladav_c")], "lladav_c is not in results.json"),
    ):
        path.write_text("".join(content))
        with pytest.raises(UsageError, match=expected):
            load_run(run)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            '"status": "scored"',
            '"status": "unparsed"',
            "2 samples of lladav_a are scored, but results.json says 3: run",
        ),
        (
            '{"accuracy": 0}',
            '{"accuracy": 1}',
            r"mean accuracy of lladav_a is 75\.0000, but results\.json says 50\.0000",
        ),
        (
            '{"anls": 0.5, ',
            '{"anls": 0.6, ',
            r"mean anls of lladav_b is 42\.5000, but results\.json says 37\.5000: run",
        ),
    ],
)
def test_samples_that_are_not_those_of_the_figures_are_refused(run: Path, old: str, new: str, expected: str) -> None:
    path = run / "samples.jsonl"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"samples\.jsonl: .*{expected}"):
        load_run(run)


def test_a_figure_is_held_against_the_samples_that_have_it(run: Path) -> None:
    """A figure that is no mean, or one of some samples, can't be worked out from their values."""
    path = run / "samples.jsonl"
    path.write_text(path.read_text().replace('{"accuracy": 0}', '{"accuracy": 1}', 1))
    edit(run / "results.json", put(False, "tasks", "lladav_a", "metrics", "accuracy", "is_mean"))
    assert load_run(run).tasks["lladav_a"].metrics["accuracy"].value == 50


def test_not_a_number_is_refused(run: Path) -> None:
    path = run / "samples.jsonl"
    path.write_text(path.read_text().replace('"seconds": 0.5', '"seconds": NaN', 1))
    with pytest.raises(UsageError, match="line 1: seconds is nan; expected a finite number"):
        load_run(run)


def test_a_directory_that_the_run_loop_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The synthetic runs look like real ones: a real one can be read."""
    from runs import toy

    from lladav_eval.records import RunSpec
    from lladav_eval.runs.execute import execute
    from lladav_eval.runs.store import RunDirectory

    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=6), monkeypatch)
    model = toy.ToyModel(fail=frozenset({2}))
    execute(RunSpec(tasks=("lladav_toy_a",), model="toy"), lambda: model, RunDirectory(tmp_path / "run"))
    data = load_run(tmp_path / "run")
    assert (data.model, len(data.samples), data.tasks["lladav_toy_a"].failed) == ("toy", 6, 1)
    assert data.samples["lladav_toy_a", 2].error == "the logits are not finite"


def test_runs_that_did_not_record_whether_a_figure_is_a_mean(run: Path) -> None:
    """They gave an interval to means alone."""
    place = ("tasks", "lladav_a", "metrics", "accuracy")
    edit(run / "results.json", drop(*place, "is_mean"))
    assert load_run(run).tasks["lladav_a"].metrics["accuracy"].is_mean
    for end in ("low", "high"):
        edit(run / "results.json", put(None, *place, end))
    assert not load_run(run).tasks["lladav_a"].metrics["accuracy"].is_mean


def test_a_task_without_samples_is_refused(run: Path) -> None:
    for count in ("n", "scored", "failed"):
        edit(run / "results.json", put(0, "tasks", "lladav_a", count))
    with pytest.raises(UsageError, match=r"results\.json.*\bn\b.*at least 1"):
        load_run(run)
