"""Plain lmms-eval with our plugin and our tasks, as a user types it, in a process of its own."""

from __future__ import annotations

import json
import os
import socket
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


TORCHRUN = ("torch.distributed.run", "--nproc_per_node", "2", "--master_port", "{port}")
ACCELERATE = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "{port}"),
)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate launch"])
def test_two_processes_share_the_work_over_gloo_and_agree(
    alone: dict[int, str], tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    watched = tmp_path / "watched.py"
    watched.write_text(WATCHED)
    words = [word.format(port=port) for word in launcher]
    run([sys.executable, "-m", *words, str(watched), str(tmp_path / "group"), *arguments(tmp_path / "out", 12)])
    assert sorted(path.read_text() for path in tmp_path.glob("group-*")) == [
        "0 of 2 gloo: 6 questions",
        "1 of 2 gloo: 6 questions",
    ]
    assert answers(tmp_path / "out") == alone


WATCHED = """
import atexit
import sys
import torch
import torch.distributed as group
from lladav_eval.adapters import lmms
from lmms_eval.__main__ import cli_evaluate

note = sys.argv.pop(1)

@atexit.register  # first of all, so that it is the last to be called
def left_open():
    if group.is_initialized():
        open(f"{note}-left-open-by-{group.get_rank()}", "w").close()

generate = lmms.Lladav.generate_until

def watched(self, requests):
    backend = group.distributed_c10d._get_default_group()._get_backend(torch.device("cpu")).name()
    with open(f"{note}-{group.get_rank()}", "w") as file:
        file.write(f"{group.get_rank()} of {group.get_world_size()} {backend}: {len(requests)} questions")
    return generate(self, requests)

lmms.Lladav.generate_until = watched
cli_evaluate()
"""
"""lmms-eval's command, with notes of the process group, of each process's share, and of a group left open."""
