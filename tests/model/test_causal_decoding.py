"""A causal model computes one position a token and keeps the rest; the truth is the whole forward pass each time."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_model import random_model, small_config
from torch import Tensor

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.language import PackedLayout
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Query

LENGTHS = (3, 17, 17, 60)
TOKENS = 40
"""More than a store has room for at first."""


@pytest.fixture(scope="module")
def model() -> LladavModel:
    return random_model(dataclasses.replace(small_config(32, 200, 256), causal=True), seed=1, spread=0.2)


def bind(model: LladavModel) -> BoundPrompts:
    """Prompts of all lengths; all but the first show five tokens of an image."""
    generator = torch.Generator().manual_seed(3)
    prompts, visuals = [], []
    for length in LENGTHS:
        ids = torch.randint(0, model.config.vocab_size, (length,), generator=generator)
        shown = 5 if length > 5 else 0
        ids[1 : 1 + shown] = IMAGE_PLACEHOLDER_ID
        prompts.append(ids)
        visuals.append(torch.randn(shown, model.config.hidden_size, generator=generator))
    return BoundPrompts(model, prompts, visuals)


def whole_pass(bound: BoundPrompts, name: int, ids: Tensor) -> Tensor:
    """Logits (V,) at the last position, every position computed."""
    last = torch.tensor([len(ids) - 1])
    layout = PackedLayout.build([len(ids)], [last], bound.model.device)
    embeddings = bound.embed([Query(name, ids, last)])
    return bound.model.logits(bound.model(embeddings, layout))[0]


def ask(bound: BoundPrompts, sequences: dict[int, Tensor]) -> dict[int, Tensor]:
    queries = [Query(name, ids, torch.tensor([len(ids) - 1])) for name, ids in sequences.items()]
    return dict(zip(sequences, (rows[0] for rows in bound(queries)), strict=True))


@torch.inference_mode()
def test_logits_are_those_of_the_whole_pass(model: LladavModel) -> None:
    bound = bind(model)
    sequences = dict(enumerate(bound.token_ids))
    for step in range(TOKENS):
        if step == 20:
            del sequences[1]  # a finished sample leaves the batch
        for name, logits in ask(bound, sequences).items():
            torch.testing.assert_close(logits, whole_pass(bound, name, sequences[name]), rtol=1e-4, atol=1e-4)
            sequences[name] = torch.cat((sequences[name], logits.argmax().view(1)))


@torch.inference_mode()
def test_other_ids_begin_anew(model: LladavModel) -> None:
    bound = bind(model)
    ids = bound.token_ids[3]
    ask(bound, {3: ids})
    changed = ids.clone()
    changed[0] = (changed[0] + 1) % model.config.vocab_size
    followers = [torch.cat((changed, torch.tensor([7]))), torch.cat((ids, torch.tensor([7, 8]))), ids, changed[:-1]]
    for other in followers:
        logits = ask(bound, {3: other})[3]
        torch.testing.assert_close(logits, whole_pass(bound, 3, other), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_number_that_is_used_again_remembers_nothing(model: LladavModel) -> None:
    bound = bind(model)
    ask(bound, {3: bound.token_ids[3]})
    bound.release(3)
    assert not bound.stores
    assert not bound.followed


@torch.inference_mode()
def test_only_the_last_position_may_be_asked_about(model: LladavModel) -> None:
    bound = bind(model)
    with pytest.raises(ValueError, match="last position"):
        bound([Query(0, bound.token_ids[0], torch.tensor([0]))])
