"""Training: its tensors are the product's, a few steps learn something, and a seed decides everything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.lladav import LladavModel
from lladav_eval.pocket.batches import Encoder, answer_logits, embed_prompt
from lladav_eval.pocket.data import FRAMES_SEEN, Example, enlarge
from lladav_eval.pocket.exercises import GEN_LENGTH, LESSONS
from lladav_eval.pocket.train import Recipe, draw_masks, new_model, train
from lladav_eval.pocket.vocabulary import write_tokenizer
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.processing.prompt import prepare
from lladav_eval.records import Query, Request

TINY = Recipe(steps=6, warm_up_steps=4, batch_size=4, lessons_at_once=2, log_every=2)


def request_of(example: Example) -> Request:
    images = tuple(Image.fromarray(picture) for picture in example.images)
    video = tuple(Image.fromarray(enlarge(frame)) for frame in example.frames) or None
    return Request(example.question, images, video, "no_think", len(FRAMES_SEEN))


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize("lesson", LESSONS)
def test_training_sees_what_the_product_sees(lesson: str, twin: bool, tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    chat = ChatTokenizer.from_dir(tmp_path)
    model = new_model(tokenizer.get_vocab_size(), chat.bos_id, chat.eos_id, twin, seed=0)
    encoder = Encoder(tokenizer, model.config)
    example = LESSONS[lesson](np.random.default_rng(1), "train")
    batch = encoder.batch([example], GEN_LENGTH[lesson])
    with torch.no_grad():
        ours = answer_logits(model, embed_prompt(model, batch), batch.answers)[0]
        bound = BoundPrompts.bind(model, [prepare(request_of(example), chat, model.config)])
        ids = torch.cat((bound.token_ids[0], batch.answers[0]))
        start, end = len(bound.token_ids[0]), len(ids)
        if twin:  # token by token, each from those before
            steps = [Query(0, ids[:length], torch.tensor([length - 1])) for length in range(start, end)]
            theirs = torch.cat([bound([step])[0] for step in steps])
        else:
            theirs = bound([Query(0, ids, torch.arange(start, end))])[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_every_answer_hides_something_and_reveals_something() -> None:
    rng = np.random.default_rng(0)
    for length in (2, 4, 16):
        masks = draw_masks(rng, torch.zeros(400, length, dtype=torch.int64))
        counts = masks.sum(1)
        assert counts.min() >= 1
        assert (counts == length).any()
        assert (counts < length).float().mean() > 0.3


def _losses(directory: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (directory / "training_log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "cpu_minutes"} for line in lines[1:]]


@pytest.mark.parametrize("twin", [False, True])
def test_the_seed_decides_everything(tmp_path: Path, twin: bool) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train(TINY, first, twin)
    train(TINY, second, twin)
    assert _losses(first) == _losses(second)
    left, right = (load_file(directory / "model.safetensors") for directory in (first, second))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_the_seed_changes_the_weights() -> None:
    first, second = (new_model(400, 0, 1, False, seed) for seed in (0, 1))
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_a_short_run_learns(tmp_path: Path) -> None:
    train(Recipe(steps=60, warm_up_steps=60, batch_size=8, lessons_at_once=2, log_every=20), tmp_path, twin=False)
    lines = _losses(tmp_path)
    warm_up = [line["loss"] for line in lines if "warm_up" in line]
    steps = [line for line in lines if "step" in line]
    means = [np.mean([value for key, value in line.items() if key != "step"]) for line in steps]
    assert warm_up[-1] < 0.75 * warm_up[0]
    assert means[-1] < 0.92 * means[0]


def test_the_checkpoint_is_one_the_product_loads(tmp_path: Path) -> None:
    from lladav_eval import load

    model: LladavModel = train(TINY, tmp_path, twin=False)
    loaded = load(str(tmp_path), device="cpu", dtype="float32")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight.half().float(), loaded.model.state_dict()[name])
