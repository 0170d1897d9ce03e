"""The functions that the YAML names."""

from __future__ import annotations

import inspect
import json

import pytest
from example_rows import RIGHT, ROWS, WRONG

from lladav_eval.errors import TaskError
from lladav_eval.scoring import lmms
from lladav_eval.scoring.registry import FAMILIES, get_scorer


@pytest.mark.parametrize("family", FAMILIES)
def test_items_and_figures(family: str) -> None:
    process, strict = getattr(lmms, f"{family}_results"), getattr(lmms, f"{family}_strict")
    right, wrong = process(ROWS[family], [RIGHT[family]]), process(ROWS[family], [WRONG[family]])
    json.dumps([right, wrong])
    assert right["status"] == "scored"
    assert right["extracted"] is not None
    value = strict([right["strict"], right["strict"]])
    assert value == (200 if family == "mme" else 1.0)
    if family != "mme":
        assert 0 <= strict([right["strict"], wrong["strict"], process(ROWS[family], [""])["strict"]]) < 1
    assert process(ROWS[family], [""])["official_status"] == "empty"
    assert right["needs_judge"] is (family == "mathverse")
    if family != "mathverse":
        assert getattr(lmms, f"{family}_official")([right["official"], right["official"]]) == value


def test_a_judge_s_replies_settle_the_official_item() -> None:
    judged = lmms.results("mathverse", ROWS["mathverse"], ["it is two root three"], ["2√3", "1"])
    assert (judged["official"], judged["needs_judge"], judged["strict"]) == (1.0, False, 0.0)


def test_functions_have_a_source_and_stay_the_same() -> None:
    assert lmms.mmmu_results is lmms.mmmu_results
    assert "process_results" in inspect.getsource(lmms.mmmu_results)


def test_unknown_names_and_no_samples() -> None:
    with pytest.raises(AttributeError):
        _ = lmms.gqa_results
    with pytest.raises(AttributeError):
        _ = lmms.mmmu_harsh
    with pytest.raises(TaskError):
        lmms.figure("mmmu", "strict", [])


@pytest.mark.parametrize("family", [name for name in FAMILIES if get_scorer(name).shares is not None])
def test_an_item_that_is_no_mean_can_be_scored_again(family: str) -> None:
    item = getattr(lmms, f"{family}_results")(ROWS[family], [RIGHT[family]])["strict"]
    assert json.loads(json.dumps(item)) == item
