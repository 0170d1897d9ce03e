"""Train the pocket model and its autoregressive twin, each start to finish from one seed.

    python -m lladav_eval.pocket.train [--out DIR] [--only pocket|pocket-ar] [--seed N] [--steps N]

One thread, float32. Two lessons of the first study are built in (CARD.md): the loss is a plain mean over the masked
answer tokens, without the 1/t weights of the LLaDA paper, and the number of masked tokens is drawn evenly from one to
all, so that the model often sees a partial answer and learns to read it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from lladav_eval.model.config import parse_config
from lladav_eval.model.language import Layer
from lladav_eval.model.lladav import LladavModel
from lladav_eval.pocket.batches import Batch, Encoder, answer_logits, embed_prompt, tile_features
from lladav_eval.pocket.data import Example, any_board
from lladav_eval.pocket.exercises import GEN_LENGTH, LESSONS, TEXT_EXERCISES
from lladav_eval.pocket.sizes import config_fields
from lladav_eval.pocket.vocabulary import write_tokenizer

CHECKPOINTS = Path(__file__).parent / "checkpoints"
MODELS = ("pocket", "pocket-ar")
TAIL_WEIGHT = 0.2
"""Weight of the <|eot_id|> tokens behind the first one: needed, but trivial once the first is right."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run besides the code."""

    steps: int = 7800
    warm_up_steps: int = 2000
    """Tower and connector alone, on the digit in each cell."""
    batch_size: int = 8
    """Examples of one lesson; lessons are kept apart so that a batch has one length and needs no padding."""
    lessons_at_once: int = 4
    """Different lessons whose gradients make one update, so that no lesson undoes the last one's."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 2.0
    seed: int = 0
    log_every: int = 250


def lesson_weights(progress: float) -> dict[str, float]:
    """How often each lesson comes up, by progress from 0 to 1.

    First text only: finding an equal token and reading its neighbour is learned about ten times sooner so, and carries
    over to pictures, whose features the warm-up has laid beside the digits' embeddings.
    """
    if progress < 0.31:
        return dict.fromkeys(TEXT_EXERCISES, 1.0)
    tasks = {"digits": 0.8, "choice": 1.2, "yesno": 1.0, "chart": 1.1, "counts": 1.3, "images": 0.9, "video": 0.7}
    return {**tasks, "options": 0.3, "presence": 0.5, "places": 0.5, "lookup": 0.1, "option": 0.2, "spelled": 0.2}


def draw_masks(rng: Generator, answers: Tensor) -> Tensor:
    """(B, A) bool: which answer positions are hidden, at least one each.

    Short answers mostly hide their first token, which carries the content. Otherwise half of the examples hide an
    even draw of one to A tokens and a quarter one to four; the rest hide every second token, or all, from some point
    on: states that confident-first decoding goes through.
    """
    size, length = answers.shape
    masks = np.zeros((size, length), dtype=bool)
    for row in masks:
        kind = rng.random()
        if length == 2:
            row[:] = (True, False) if kind < 0.5 else (True, True) if kind < 0.95 else (False, True)
        elif kind < 0.75:
            most = length if kind < 0.5 else min(4, length)
            row[rng.permutation(length)[: rng.integers(1, most + 1)]] = True
        elif kind < 0.85:
            row[2 * int(rng.integers(length // 2)) + 1 :: 2] = True
        else:
            row[int(rng.integers(length)) :] = True
    return torch.from_numpy(masks)


def answer_loss(model: LladavModel, batch: Batch, mask_id: int, rng: Generator) -> Tensor:
    """Mean cross-entropy of the masked answer tokens, or of the next token for a causal model."""
    prompt = embed_prompt(model, batch)
    places = torch.arange(batch.answers.shape[1])[None]
    weights = torch.ones_like(batch.answers, dtype=torch.float32)
    if model.config.causal:
        inputs = batch.answers
        weights[places > batch.lengths[:, None]] = 0.0
    else:
        masks = draw_masks(rng, batch.answers)
        inputs = batch.answers.masked_fill(masks, mask_id)
        weights[places > batch.lengths[:, None]] = TAIL_WEIGHT
        weights = weights * masks
    logits = answer_logits(model, prompt, inputs)
    losses = F.cross_entropy(logits.flatten(0, 1), batch.answers.flatten(), reduction="none").view_as(weights)
    return (losses * weights).sum() / weights.sum()


def perception_loss(model: LladavModel, batch: Batch, encoder: Encoder) -> tuple[Tensor, float]:
    """Cross-entropy and accuracy of the digit in each cell, scored against the language model's token embeddings."""
    assert batch.tiles is not None
    features = tile_features(model, batch.tiles[:, 1:])
    labels = torch.cat((encoder.digit_ids, torch.tensor([encoder.blank])))
    scores = features @ model.model.embed_tokens.weight[labels].T
    wanted = torch.where(batch.cells < 0, 10, batch.cells)
    accuracy = (scores.argmax(-1) == wanted).float().mean().item()
    return F.cross_entropy(scores.flatten(0, 1), wanted.flatten()), accuracy


def new_model(encoder_vocabulary: int, bos: int, eos: int, twin: bool, seed: int) -> LladavModel:
    """A model with random weights."""
    torch.manual_seed(seed)
    model = LladavModel(parse_config(config_fields(encoder_vocabulary, bos, eos, twin)))
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.3)
    torch.nn.init.normal_(model.model.image_newline, std=0.3)
    torch.nn.init.normal_(model.lm_head.weight, std=0.05)
    with torch.no_grad():
        # Two coordinates start equal everywhere. They act as a bias of queries and keys, so that heads for a fixed
        # distance are quickly learned; a bidirectional model with rotary positions has no other sense of place.
        model.model.embed_tokens.weight[:, :2] = 1.0
        model.model.image_newline[:2] = 1.0
        last = [*model.model.mm_projector.modules()][-1]
        assert isinstance(last, nn.Linear)
        last.weight[:2] = 0.0
        last.bias[:2] = 1.0
        for layer in model.model.layers:
            # One head in four starts with equal queries and keys: attention by similarity, which matching needs.
            assert isinstance(layer, Layer)
            size = layer.self_attn.head_size
            layer.self_attn.k_proj.weight[:size] *= 1.4
            layer.self_attn.q_proj.weight[:size] = layer.self_attn.k_proj.weight[:size]
    return model


def _optimizer(model: LladavModel, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up over 200 steps, then cosine to 2 % of the peak."""
    return min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _update(model: LladavModel, optimizer: torch.optim.Optimizer, rate: float, clip: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def warm_up(model: LladavModel, encoder: Encoder, recipe: Recipe, rng: Generator) -> Iterator[dict[str, float]]:
    """Teach tower and connector to see digits; yields log lines."""
    optimizer = _optimizer(model, recipe)
    for step in range(recipe.warm_up_steps):
        examples = [any_board(rng, "train") for _ in range(4 * recipe.batch_size)]
        loss, accuracy = perception_loss(model, encoder.batch(examples, 1), encoder)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        _update(model, optimizer, recipe.learning_rate * _rate(step, recipe.warm_up_steps), recipe.clip)
        if step % recipe.log_every == 0 or step == recipe.warm_up_steps - 1:
            yield {"warm_up": step, "loss": round(loss.item(), 4), "cell_accuracy": round(accuracy, 4)}


def lessons(model: LladavModel, encoder: Encoder, recipe: Recipe, rng: Generator) -> Iterator[dict[str, float]]:
    """Train everything on the mixture; yields log lines with the mean loss of each lesson since the last one."""
    optimizer = _optimizer(model, recipe)
    losses: dict[str, list[float]] = {name: [] for name in LESSONS}
    for step in range(recipe.steps):
        weights = lesson_weights(step / recipe.steps)
        names = list(weights)
        shares = np.array([weights[name] for name in names])
        drawn = rng.choice(len(names), size=recipe.lessons_at_once, replace=False, p=shares / shares.sum())
        optimizer.zero_grad(set_to_none=True)
        for name in (names[int(index)] for index in drawn):
            examples: list[Example] = [LESSONS[name](rng, "train") for _ in range(recipe.batch_size)]
            loss = answer_loss(model, encoder.batch(examples, GEN_LENGTH[name]), encoder.mask, rng)
            (loss / recipe.lessons_at_once).backward()
            losses[name].append(loss.item())
        _update(model, optimizer, recipe.learning_rate * _rate(step, recipe.steps), recipe.clip)
        if (step + 1) % recipe.log_every == 0:
            means = {key: round(sum(values) / len(values), 4) for key, values in losses.items() if values}
            losses = {key: [] for key in LESSONS}
            yield {"step": step + 1, **means}


def train(recipe: Recipe, out: Path, twin: bool) -> LladavModel:
    """Run the recipe and write a checkpoint directory with its log, ``training_log.jsonl``."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(out)
    ids = json.loads((out / "generation_config.json").read_text(encoding="utf-8"))
    fields = config_fields(tokenizer.get_vocab_size(), ids["bos_token_id"], ids["eos_token_id"], twin)
    (out / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    model = new_model(tokenizer.get_vocab_size(), ids["bos_token_id"], ids["eos_token_id"], twin, recipe.seed)
    encoder = Encoder(tokenizer, model.config)
    rng = np.random.default_rng(recipe.seed)
    started = time.process_time()
    with (out / "training_log.jsonl").open("w", encoding="utf-8") as log:
        _write(log, {"recipe": vars(recipe), "twin": twin, "parameters": sum(p.numel() for p in model.parameters())})
        for stage in (warm_up, lessons):
            for line in stage(model, encoder, recipe, rng):
                save(model, out)
                _write(log, {**line, "cpu_minutes": round((time.process_time() - started) / 60, 2)})
    save(model, out)
    return model


def _write(log: IO[str], line: dict[str, object]) -> None:
    text = json.dumps(line)
    log.write(text + "\n")
    log.flush()
    print(text, flush=True)


def save(model: LladavModel, out: Path) -> None:
    """Write model.safetensors in half precision, which a float32 load restores without loss."""
    weights = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Command line of ``make pocket``."""
    defaults = Recipe()
    parser = argparse.ArgumentParser(description="Train the pocket model and its autoregressive twin.")
    parser.add_argument("--out", type=Path, default=CHECKPOINTS, help="directory to write pocket/ and pocket-ar/ into")
    parser.add_argument("--only", choices=MODELS, help="train one of the two, for instance each in its own process")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else MODELS:
        train(Recipe(steps=arguments.steps, seed=arguments.seed), arguments.out / name, twin=name == "pocket-ar")


if __name__ == "__main__":
    main()
