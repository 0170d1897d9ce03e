"""Plain lmms-eval with our plugin and our tasks, as a user types it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "lladav_eval" / "pocket" / "checkpoints" / "pocket"


def arguments(out: Path, limit: int) -> list[str]:
    return [
        *("--model", "lladav", "--model_args", f"pretrained={CHECKPOINT}"),
        *("--include_path", str(ROOT / "tasks"), "--tasks", "lladav_pocket_digits", "--batch_size", "4"),
        *("--limit", str(limit), "--output_path", str(out), "--log_samples"),
    ]


def answers(out: Path) -> dict[int, str]:
    """doc_id -> answer, of all sample files below ``out``."""
    found: dict[int, str] = {}
    for path in out.rglob("*_samples_*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            answer = sample["filtered_resps"]
            found[sample["doc_id"]] = answer if isinstance(answer, str) else answer[0]
    return found


def run(command: list[str]) -> str:
    """What it printed. lmms-eval exits with 0 even where its evaluation broke off."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    printed = done.stdout[-3000:] + done.stderr[-3000:]
    assert done.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    out = tmp_path_factory.mktemp("alone")
    printed = run([str(Path(sys.executable).with_name("lmms-eval")), *arguments(out, 12)])
    found = answers(out)
    assert found, printed
    return found


def test_the_command_answers_and_scores_the_pocket_digits(alone: dict[int, str]) -> None:
    assert sorted(alone) == list(range(12))
    assert all(answer.isdigit() for answer in alone.values())


def test_our_own_run_gives_the_same_answers(alone: dict[int, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    task = ["--task", "pocket_digits", "--model", "pocket", "--limit", "12", "--out", str(out)]
    run([sys.executable, "-m", "lladav_eval", "run", *task])
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {sample["doc_id"]: sample["text"] for sample in samples} == alone


@pytest.mark.slow
def test_two_processes_share_the_work_and_agree(alone: dict[int, str], tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29517"]
    run([*launch, "-m", "lmms_eval", *arguments(tmp_path, 12)])
    assert answers(tmp_path) == alone
