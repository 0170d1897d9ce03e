"""Examples to training tensors: the same ids, pixels and visual tokens as the product makes, a whole batch at once.

All examples of a batch are of one lesson and so of one length; B examples, T positions, A answer positions,
M media tokens. tests/pocket compares every lesson with ``lladav_eval.processing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from lladav_eval.model.config import ModelConfig
from lladav_eval.model.connector import visual_tokens
from lladav_eval.model.language import PackedLayout
from lladav_eval.model.lladav import LladavModel
from lladav_eval.pocket.data import FRAMES_SEEN, Example, Pixels, enlarge
from lladav_eval.pocket.vocabulary import SYSTEM_MESSAGE
from lladav_eval.records import Layout


@dataclass(frozen=True)
class Batch:
    """Tensors of B examples of one lesson."""

    before: Tensor
    """(B, n) prompt ids up to the media."""
    after: Tensor
    """(B, m) prompt ids behind the media."""
    answers: Tensor
    """(B, A) answer ids, padded with <|eot_id|>."""
    lengths: Tensor
    """(B,) answer ids before the first <|eot_id|>."""
    tiles: Tensor | None
    """(B, tiles, 3, S, S) normalized pixels; None without media."""
    arrange: Tensor | None
    """(M, tiles * P + 1): media tokens as a linear map of the tile features and the newline embedding."""
    cells: Tensor
    """(B, 9) digit of each cell, -1 where empty; (B, 0) for lessons without a board."""


class Encoder:
    """Examples to batches for one tokenizer and one model size."""

    def __init__(self, tokenizer: Tokenizer, config: ModelConfig) -> None:
        self.tokenizer, self.config = tokenizer, config
        self.eot = self._id("<|eot_id|>")
        self.mask = self._id("<|mdm_mask|>")
        self.digit_ids = torch.tensor([self._id(str(digit)) for digit in range(10)])
        self.blank = self._id("Ġ")
        self._head = self._ids(
            "<|startoftext|><|start_header_id|>system<|end_header_id|>\n\n"
            f"{SYSTEM_MESSAGE}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        )
        self._tail = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"

    def _id(self, token: str) -> int:
        index = self.tokenizer.token_to_id(token)
        if index is None:
            raise ValueError(f"{token!r} is not in the pocket tokenizer")
        return int(index)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def batch(self, examples: Sequence[Example], gen_length: int) -> Batch:
        """Tensors of examples of one lesson."""
        media = examples[0].images or examples[0].frames
        after, answers, lengths = [], [], []
        for example in examples:
            # The authors drop the first token behind a placeholder, here the line break.
            text = "\n" + example.question + " /no_think" if media else example.question
            after.append(self._ids(text + self._tail)[1 if media else 0 :])
            answer = self._ids(example.answer)
            lengths.append(len(answer))
            answers.append(answer + [self.eot] * (gen_length - len(answer)))
        tiles, arrange = None, None
        if media:
            stacked = np.stack([tile_pixels(example, self.config.vision.image_size) for example in examples])
            tiles = (torch.from_numpy(stacked).permute(0, 1, 4, 2, 3).float() / 255 - 0.5) / 0.5
            height, width = media[0].shape[:2]
            arrange = arrangement(layout_of(examples[0]), (width, height), tiles.shape[1], self.config)
        return Batch(
            torch.tensor([self._head] * len(examples)),
            torch.tensor(after),
            torch.tensor(answers),
            torch.tensor(lengths),
            tiles,
            arrange,
            torch.tensor([example.cells for example in examples]),
        )


def layout_of(example: Example) -> Layout:
    """The layout the product gives to the example's media."""
    if example.frames:
        return "video"
    return "anyres" if len(example.images) == 1 else "pad"


def tile_pixels(example: Example, tile: int) -> Pixels:
    """(tiles, S, S, 3) of one example: what the product cuts out of pictures whose sides are multiples of S."""
    if example.frames:
        stored = [Image.fromarray(enlarge(example.frames[index])) for index in FRAMES_SEEN]
        return np.stack([np.asarray(frame.resize((tile, tile), Image.Resampling.BICUBIC)) for frame in stored])
    if len(example.images) > 1:
        return np.stack(example.images)
    picture = example.images[0]
    height, width = picture.shape[:2]
    base = np.asarray(Image.fromarray(picture).resize((tile, tile), Image.Resampling.BICUBIC))
    grid = picture.reshape(height // tile, tile, width // tile, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)
    return np.concatenate((base[None], grid))


@cache
def arrangement(layout: Layout, size: tuple[int, int], tiles: int, config: ModelConfig) -> Tensor:
    """(M, tiles * P + 1) linear map of the connector's arrangement, read off by sending unit vectors through it."""
    patches = config.vision.grid**2
    units = torch.eye(tiles * patches + 1)
    return visual_tokens(units[:-1].view(tiles, patches, -1), layout, size, units[-1], config)


@cache
def packed_layout(batch_size: int, length: int, first: int, count: int) -> PackedLayout:
    """Equal sequences whose outputs are wanted at positions ``first`` to ``first + count``."""
    wanted = torch.arange(first, first + count)
    return PackedLayout.build([length] * batch_size, [wanted] * batch_size, torch.device("cpu"))


def tile_features(model: LladavModel, tiles: Tensor) -> Tensor:
    """(B, tiles * P, D) projected features of (B, tiles, 3, S, S)."""
    features: Tensor = model.model.mm_projector(model.model.vision_tower(tiles.flatten(0, 1)))
    return features.view(len(tiles), -1, features.shape[-1])


def embed_prompt(model: LladavModel, batch: Batch) -> Tensor:
    """(B, T - A, D) embeddings of the prompts, media included."""
    embed = model.model.embed_tokens
    parts = [embed(batch.before)]
    if batch.tiles is not None and batch.arrange is not None:
        features = tile_features(model, batch.tiles)
        newline = model.model.image_newline.expand(len(features), 1, -1)
        parts.append(batch.arrange @ torch.cat((features, newline), dim=1))
    return torch.cat([*parts, embed(batch.after)], dim=1)


def answer_logits(model: LladavModel, prompt: Tensor, answers: Tensor) -> Tensor:
    """(B, A, V) logits for the A answer positions given what stands there now.

    A causal model predicts each position from the one before; a bidirectional one from the position itself.
    """
    embeddings = torch.cat((prompt, model.model.embed_tokens(answers)), dim=1)
    size, length = embeddings.shape[:2]
    count = answers.shape[1]
    first = length - count - (1 if model.config.causal else 0)
    hidden = model(embeddings.flatten(0, 1), packed_layout(size, length, first, count))
    return model.logits(hidden).view(size, count, -1)
