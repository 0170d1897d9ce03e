"""The published scores: every row obeys the rules, and the paper's tables are complete."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lladav_eval.errors import UsageError
from lladav_eval.reports.reference import COLUMNS, Reference, load_references, reference_dir

PAPER = "arXiv:2505.16933v2 Tables 2-3"
WIZWAND = "wizwand.com/paper/68fa79101e209131cea7bebe"


@pytest.fixture(scope="module")
def references() -> list[Reference]:
    return load_references()


def test_every_file_is_read(references: list[Reference]) -> None:
    lines = sum(len(path.read_text().splitlines()) - 1 for path in reference_dir().glob("*.csv"))
    assert len(references) == lines > 250


# Typed from the paper once more, apart from the files: LLaDA-V and LLaMA3-V of Tables 2 and 3.
COLUMNS_OF_THE_PAPER = (
    "mmmu", "mmmu_pro_standard", "mmmu_pro_vision", "mmstar", "mme:cognition", "mme:perception", "seedbench_image",
    "mmbench", "mathverse", "mathvista", "ai2d", "chartqa", "docvqa", "infovqa", "realworldqa", "seedbench_video",
    "muirbench", "mlvu", "videomme",
)  # fmt: skip
ROWS_OF_THE_PAPER = {
    "LLaDA-V": "48.6 35.2 18.6 60.1 491 1507 74.8 82.9 28.5 59.7 77.8 78.3 83.9 66.3 63.2 53.7 48.3 59.5 56.1",
    "LLaMA3-V": "45.4 28.3 14.5 56.5 446 1581 76.6 79.8 29.0 62.1 81.1 77.8 86.2 58.9 66.0 55.0 47.4 57.5 55.8",
}


@pytest.mark.parametrize("model", ROWS_OF_THE_PAPER)
def test_the_papers_own_rows_are_complete(references: list[Reference], model: str) -> None:
    found = {
        item.benchmark + (f":{item.metric}" if item.benchmark == "mme" else ""): item.value
        for item in references
        if (item.model, item.source) == (model, PAPER)
    }
    values = map(float, ROWS_OF_THE_PAPER[model].split())
    assert found == dict(zip(COLUMNS_OF_THE_PAPER, values, strict=True))


def test_counts_of_the_papers_other_rows(references: list[Reference]) -> None:
    counts = Counter(item.model for item in references if item.source == PAPER)
    assert counts == {
        "LLaDA-V": 19, "LLaMA3-V": 19, "Qwen2-VL-7B": 7, "DeepSeek-VL2": 6, "LLaVA-OneVision-7B": 15,
        "MAmmoTH-VL": 13, "Cambrian-1-8B": 5, "Janus-Pro-7B": 4, "Emu3": 6, "MetaMorph": 5, "Show-o": 2,
        "JanusFlow": 5, "Orthus": 2, "D-DiT": 1,
    }  # fmt: skip


def test_counts_of_the_newer_models(references: list[Reference]) -> None:
    path = "diffusion_models.csv"
    names = Counter(line.split(",")[0] for line in (reference_dir() / path).read_text().splitlines()[1:])
    assert names == {
        "LaViDa-L-8B": 12, "Dimple-7B": 8, "MMaDA-8B": 11, "Lumina-DiMOO-8B": 10, "LaViDa-O": 10, "LLaDA-o": 14,
        "DiffusionVL-7B": 14, "DiffusionVL-3B": 10, "SDAR-VL-8B": 11, "Dream-VL-7B": 9, "PerceptionDLM-Base-8B": 10,
        "Fast-dVLM-3B": 8, "LLaDA2.0-Uni": 10, "LLaDA-UI": 5,
    }  # fmt: skip
    assert {item.kind for item in references if item.model in names} == {"diffusion"}


def test_the_listing_this_project_began_with(references: list[Reference]) -> None:
    found = {item.benchmark: item.value for item in references if item.source == WIZWAND}
    assert found == {
        "mmbench": 82.9, "mme": 2000, "mvbench": 53.1, "chartqa": 78.3, "seedbench_image": 74.8, "mathvista": 50.6,
        "mmmu": 48.78, "ocrbench": 63.2, "mmstar": 60.32, "pope": None,
    }  # fmt: skip


def test_conflicting_values_stand_side_by_side(references: list[Reference]) -> None:
    found = [item for item in references if (item.model, item.benchmark) == ("LLaDA-V", "mathvista")]
    assert sorted(item.printed for item in found) == ["50.6", "52.4", "55.10", "59.2", "59.7", "59.7", "59.7"]
    assert len({(item.protocol, item.source) for item in found}) == len(found)


def test_of_1000_is_shown_on_100(references: list[Reference]) -> None:
    (item,) = [r for r in references if r.model == "LLaDA-V" and r.scale == "of_1000"]
    assert (item.value, item.shown, item.printed) == (632, 63.2, "63.2")


GOOD = "LLaDA-V,diffusion,mmmu,accuracy,48.6,percent,authors,somewhere,F,"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (GOOD.replace("diffusion", "magic"), "line 3: kind is 'magic'"),
        (GOOD.replace("accuracy", "luck"), "line 3: metric is 'luck'"),
        (GOOD.replace("percent", "parts"), "line 3: scale is 'parts'"),
        (GOOD.replace(",F,", ",maybe,"), "line 3: confidence is 'maybe'"),
        (GOOD.replace("48.6", "high"), "line 3: value is 'high'"),
        (GOOD.replace("48.6", "100.1"), "line 3: value is '100.1'; expected a number from 0 to 100"),
        (GOOD.replace("48.6", "nan"), "line 3: value is 'nan'"),
        (GOOD.replace("48.6", ""), "line 3: a row without a value needs a note"),
        (GOOD.replace("authors", "strict"), "line 3: the protocol 'strict' is reserved"),
        (GOOD.replace("somewhere", ""), "line 3: source is empty"),
        (GOOD.replace("LLaDA-V", " LLaDA-V"), "line 3: model is empty or has white space"),
        (GOOD.removesuffix(",F,"), "line 3: must have 10 cells"),
        (GOOD + ",more", "line 3: must have 10 cells"),
        (GOOD.replace("48.6", "50").replace("LLaDA-V", "other"), r"is there already \(scores.csv, line 2\)"),
    ],
)
def test_a_row_that_breaks_the_rules_is_named(tmp_path: Path, line: str, expected: str) -> None:
    header = ",".join(COLUMNS)
    (tmp_path / "scores.csv").write_text(f"{header}\n{GOOD.replace('LLaDA-V', 'other')}\n{line}\n")
    with pytest.raises(UsageError, match=expected):
        load_references(tmp_path)


@pytest.mark.parametrize(("scale", "highest"), [("percent", 100), ("points", 2800), ("of_1000", 1000)])
def test_a_value_lies_between_0_and_the_most_there_can_be(tmp_path: Path, scale: str, highest: int) -> None:
    def read(value: int) -> list[float | None]:
        line = GOOD.replace("48.6", str(value)).replace("percent", scale)
        (tmp_path / "scores.csv").write_text(f"{','.join(COLUMNS)}\n{line}\n")
        return [item.value for item in load_references(tmp_path)]

    assert (read(0), read(highest)) == ([0], [highest])
    for value in (-1, highest + 1):
        with pytest.raises(UsageError, match=f"expected a number from 0 to {highest}"):
            read(value)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("model,value\nx,1\n")
    with pytest.raises(UsageError, match=r"scores.csv: the columns must be model, kind"):
        load_references(tmp_path)
