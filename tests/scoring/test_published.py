"""Published answers of real models get the scores that the benchmarks' own scripts give them.

The answers are data of others and lie beside the checkout; without them these tests are skipped, loudly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lladav_eval.records import Score
from lladav_eval.scoring.aggregate import count
from lladav_eval.scoring.registry import get_scorer
from lladav_eval.scoring.rows import Protocol

FILES = (
    "mmmu/llava1.5_13b", "mmmu_pro_standard/gpt-4o_cot", "mmmu_pro_vision/gpt-4o_cot", "mme/LaVIN", "mathvista/bard",
    "mathvista/chatgpt_2shot_solution", "mathvista/llava_llama_2_13b", "mathvista/random_guess", "pope/llava-v1.5-13b",
    "mmbench_circular/llava-v1.5-13b", "seedbench/GPT-4V", "mmstar/llava_next_yi_34b", "chartqa/vila_13b",
    "ocrbench/vila_13b", "realworldqa/vila_13b", "docvqa/qwen2_vl_2b_instruct", "videomme/minicpm_head",
)  # fmt: skip
BANDS = {"mmmu": (36.67, 0.6), "mmmu_pro_standard": (55.0289, 0.5), "mmmu_pro_vision": (50.0578, 0.5)}
"""Scripts with a random guess: (their figure, how far chance may move it), as expected.json says."""
NAMES = {"f1": "f1_", "yes_ratio": "yes_ratio_"}


@pytest.fixture(scope="module")
def published(shared_dir: Path) -> Path:
    folder = shared_dir / "predictions"
    if not (folder / "expected.json").is_file():
        pytest.skip("the published answers (../shared/predictions) are not on this machine")
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def load(folder: Path, name: str) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
    entries = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    (entry,) = (entry for entry in entries if entry["predictions"] == f"{name}.jsonl")
    answers = sorted(lines(folder / entry["predictions"]), key=lambda line: line["doc_id"])
    return entry, lines(folder / entry["rows"]), [line["prediction"] for line in answers]


def score_all(family: str, rows: list[dict[str, Any]], texts: list[str], protocol: Protocol) -> list[Score]:
    scorer = get_scorer(family)
    if protocol == "official" and scorer.judge is not None and scorer.judge.takes_extractions:
        judge = scorer.judge
        return [
            judge.score(row, text, (text,), place) for place, (row, text) in enumerate(zip(rows, texts, strict=True))
        ]
    return [scorer.score(row, text, protocol, place) for place, (row, text) in enumerate(zip(rows, texts, strict=True))]


def wanted(entry: dict[str, Any]) -> dict[str, float]:
    """The figures of expected.json under our names."""
    skipped = {"task", "predictions", "rows", "n", "published", "note"}
    flat: dict[str, float] = {}
    for name, value in entry.items():
        if name in NAMES:
            flat |= {NAMES[name] + part: figure for part, figure in value.items()}
        elif name not in skipped:
            flat[name] = value
    return flat


@pytest.mark.parametrize("name", FILES)
def test_official_figures_to_the_last_digit(published: Path, name: str) -> None:
    entry, rows, texts = load(published, name)
    scores = score_all(entry["task"], rows, texts, "official")
    metrics = get_scorer(entry["task"]).aggregate(scores)
    assert count(score.status for score in scores).n == entry["n"]
    figures = wanted(entry)
    if entry["task"] in BANDS:
        centre, width = BANDS[entry["task"]]
        assert abs(metrics["accuracy"] - centre) <= width
        return
    assert figures, "expected.json gives no figure"
    for figure, value in figures.items():
        digits = len(repr(value).partition(".")[2]) if isinstance(value, float) else 0
        assert round(metrics[figure], digits) == value, figure


@pytest.mark.parametrize("name", FILES)
def test_strict_counts_every_sample_and_guesses_nothing(published: Path, name: str) -> None:
    entry, rows, texts = load(published, name)
    scores = score_all(entry["task"], rows, texts, "strict")
    counts = count(score.status for score in scores)
    assert counts.n == entry["n"]
    assert counts.empty == sum(not text.strip() for text in texts)
    assert all(score.value == 0 for score in scores if score.status != "scored")


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("mmmu")])
def test_guesses_do_not_depend_on_the_order(published: Path, name: str) -> None:
    entry, rows, texts = load(published, name)
    forward = score_all(entry["task"], rows, texts, "official")
    assert forward == score_all(entry["task"], rows[::-1], texts[::-1], "official")[::-1]


def test_every_file_is_tried(published: Path) -> None:
    entries = json.loads((published / "expected.json").read_text(encoding="utf-8"))
    assert {entry["predictions"].removesuffix(".jsonl") for entry in entries} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_table_of_the_docs_is_what_comes_out(published: Path, name: str) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/scores.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith(f"| {name} |")]
    assert table
    entry, rows, texts = load(published, name)
    scores = {protocol: score_all(entry["task"], rows, texts, protocol) for protocol in ("official", "strict")}  # type: ignore[arg-type]
    counts = {protocol: count(score.status for score in found) for protocol, found in scores.items()}
    for _, metric, n, _, official, strict, unparsed, empty, _ in table:
        for protocol, said in (("official", official), ("strict", strict)):
            figure = get_scorer(entry["task"]).aggregate(scores[protocol])[metric]
            assert round(figure, len(said.partition(".")[2])) == float(said), protocol
        assert unparsed == f"{counts['official'].unparsed} / {counts['strict'].unparsed}"
        assert (int(n), int(empty)) == (counts["strict"].n, counts["strict"].empty)
