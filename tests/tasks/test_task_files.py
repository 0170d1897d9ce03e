"""The task files of the benchmarks: names, data sets, settings, metrics and groups."""

from __future__ import annotations

import importlib.util
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from lladav_eval.prompts.mvbench import FOLDERS
from lladav_eval.runs.tasks import list_tasks, read_task, resolve_tasks, tasks_dir
from lladav_eval.scoring.registry import FAMILIES, get_scorer
from lladav_eval.settings import translate

MVBENCH = {f"lladav_mvbench_{name}": f"mvbench/mvbench_{name}" for name in FOLDERS}

# Our task -> lmms-eval 0.7.3's file for the same data.
THEIRS = {
    "lladav_mmmu": "mmmu/mmmu_val",
    "lladav_mmmu_pro_standard": "mmmu_pro/mmmu_pro_standard",
    "lladav_mmmu_pro_vision": "mmmu_pro/mmmu_pro_vision",
    "lladav_mmstar": "mmstar/mmstar",
    "lladav_mme": "mme/mme",
    "lladav_seedbench": "seedbench/seedbench",
    "lladav_seedbench_image": "seedbench/seedbench",
    "lladav_seedbench_video": "seedbench/seedbench",
    "lladav_mmbench": "mmbench/mmbench_en_dev",
    "lladav_mmbench_circular": "mmbench/mmbench_en_dev",
    "lladav_mathverse_vision_intensive": "mathverse/mathverse_testmini_vision_intensive",
    "lladav_mathverse_vision_dominant": "mathverse/mathverse_testmini_vision_dominant",
    "lladav_mathverse_vision_only": "mathverse/mathverse_testmini_vision_only",
    "lladav_mathvista": "mathvista/mathvista_testmini_cot",
    "lladav_ai2d": "ai2d/ai2d",
    "lladav_chartqa": "chartqa/chartqa",
    "lladav_docvqa": "docvqa/docvqa_val",
    "lladav_infovqa": "infovqa/infovqa_val",
    "lladav_realworldqa": "realworldqa/realworldqa",
    "lladav_muirbench": "muirbench/muirbench",
    "lladav_mlvu": "mlvu/mlvu_dev",
    "lladav_videomme": "videomme/videomme",
    "lladav_pope": "pope/pope",
    "lladav_ocrbench": "ocrbench/ocrbench",
    **MVBENCH,
}

# eval/scripts/evaluate.sh of the authors: gen_length = block_length, steps, mode, stop strings.
SHORT = (2, 2, "no_think", ())
SETTINGS = {
    "lladav_chartqa": (16, 16, "no_think", ("\n",)),
    "lladav_docvqa": (32, 16, "no_think", ()),
    "lladav_infovqa": (32, 16, "no_think", ()),
    "lladav_mathvista": (96, 48, "think", ()),
    "lladav_mathverse_vision_intensive": (64, 32, "think", ()),
    "lladav_mathverse_vision_dominant": (64, 32, "think", ()),
    "lladav_mathverse_vision_only": (64, 32, "think", ()),
    "lladav_ocrbench": (32, 32, "no_think", ()),  # not in their script
}


class _Loader(yaml.SafeLoader):
    """Reads lmms-eval's YAML without importing its functions."""


_Loader.add_constructor("!function", lambda loader, node: str(node.value))


def read_theirs(path: Path) -> dict[str, Any]:
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    include = content.pop("include", None)
    return {**read_theirs(path.parent / include), **content} if include else content


def benchmarks() -> list[str]:
    return sorted(
        name for name, entry in list_tasks().items() if entry.kind == "task" and not name.startswith("lladav_pocket")
    )


def test_no_benchmark_is_missing_and_none_unchecked() -> None:
    assert benchmarks() == sorted(THEIRS)
    assert len(MVBENCH) == 20
    assert {read_task(name)["metadata"]["family"] for name in benchmarks()} == set(FAMILIES)


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_data_sets_are_those_of_lmms_eval_today(name: str) -> None:
    specification = importlib.util.find_spec("lmms_eval")
    assert specification is not None
    assert specification.origin is not None
    ours, theirs = read_task(name), read_theirs(Path(specification.origin).parent / "tasks" / f"{THEIRS[name]}.yaml")
    for key in ("dataset_path", "dataset_name", "test_split", "output_type"):
        assert ours.get(key, "generate_until") == theirs.get(key, "generate_until"), key
    # A token would ask for a login, which none of these data sets needs.
    theirs_kwargs = {key: value for key, value in theirs.get("dataset_kwargs", {}).items() if key != "token"}
    assert ours.get("dataset_kwargs", {}) == theirs_kwargs


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_settings_are_those_of_the_authors_script(name: str) -> None:
    kwargs = read_task(name)["generation_kwargs"]
    found = translate(kwargs, where=name)
    length, steps, mode, stop = SETTINGS.get(name, SHORT)
    params = found.params
    assert (params.gen_length, params.block_length, params.steps) == (length, length, steps)
    assert (found.mode, params.stop, found.num_frames) == (mode, stop, 32)
    assert (params.temperature, params.cfg_scale, params.remasking) == (0, 0, "low_confidence")
    assert "until" in kwargs, "lmms-eval would put its own stop string in"


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_functions_and_metrics_resolve(name: str) -> None:
    content = read_task(name)
    paths = [content[key] for key in ("doc_to_visual", "doc_to_text", "process_results")]
    paths += [content[key] for key in ("process_docs", "doc_to_target") if "!function" in content.get(key, "")]
    paths += [metric["aggregation"] for metric in content["metric_list"]]
    for path in paths:
        module, function = path.removeprefix("!function ").rsplit(".", 1)
        assert callable(getattr(import_module(module), function)), path
    assert [metric["metric"] for metric in content["metric_list"]] == ["official", "strict"]
    family = content["metadata"]["family"]
    assert content["process_results"].endswith(f".{family}_results")
    scale = content["metadata"].get("scale", "fraction")
    assert scale == ("points" if get_scorer(family).points else "fraction")


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_what_the_files_say_about_themselves(name: str) -> None:
    content = read_task(name)
    metadata = content["metadata"]
    assert metadata["description"]
    assert metadata["size_gb"] > 0
    assert not {"task", "doc_id", "repeats", "split"} & metadata.keys(), "lmms-eval would take them for its own"
    path = list_tasks()[name].path
    assert path.name == f"{name}.yaml"
    assert path.parent.parent == tasks_dir()


def test_groups() -> None:
    mvbench, mathverse = sorted(MVBENCH), [name for name in THEIRS if "mathverse" in name]
    paper = {name for name in THEIRS if THEIRS[name].split("/")[0] not in ("mvbench", "pope", "ocrbench")}
    paper -= {"lladav_seedbench", "lladav_mmbench_circular"}
    assert set(resolve_tasks(["paper"])) == paper
    seed = ["mmbench", "mme", "mmmu", "chartqa", "seedbench", "mathvista", "ocrbench", "mmstar", "pope"]
    assert set(resolve_tasks(["seed"])) == {f"lladav_{name}" for name in seed} | set(mvbench)
    assert set(resolve_tasks(["all"])) == set(THEIRS) - {"lladav_seedbench", "lladav_mmbench_circular"}
    assert sorted(resolve_tasks(["mvbench"])) == mvbench
    assert sorted(resolve_tasks(["mathverse"])) == sorted(mathverse)
    assert resolve_tasks(["mmmu_pro"]) == ("lladav_mmmu_pro_standard", "lladav_mmmu_pro_vision")


@pytest.mark.parametrize("short", ["seedbench", "mmbench", "mlvu", "videomme", "ai2d", "docvqa"])
def test_short_names(short: str) -> None:
    assert resolve_tasks([short]) == (f"lladav_{short}",)


def test_parts_say_which_rows_are_theirs() -> None:
    for kind in ("image", "video"):
        content = read_task(f"lladav_seedbench_{kind}")
        assert content["metadata"]["where"] == {"data_type": kind}
        assert content["process_docs"].endswith(f".only_{kind}")
