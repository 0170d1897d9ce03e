"""LLaDA-V whole: tower, connector, transformer and head. What a sampler asks of them is in bound.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from lladav_eval.model.config import ModelConfig
from lladav_eval.model.connector import build_projector, visual_tokens
from lladav_eval.model.kernels import Linear
from lladav_eval.model.language import Layer, Mix, PackedLayout, RMSNorm, run_layers
from lladav_eval.model.vision import VisionTower
from lladav_eval.records import Prompt

TOWER_ELEMENTS = 16 * 729 * 1152
"""Of the hidden states that go through the tower together: 16 tiles at the official sizes, more of smaller ones."""


class Backbone(nn.Module):
    """Everything but the head, under the checkpoint's ``model.`` prefix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if config.text_only:
            return
        self.vision_tower = VisionTower(config.vision)
        self.mm_projector = build_projector(config)
        self.image_newline = nn.Parameter(torch.zeros(config.hidden_size))


class LladavModel(nn.Module):
    """The weights of one LLaDA-V checkpoint."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.cuda_graphs = False
        """Whether small steps of an approximate cache become CUDA graphs (graphs.py); not of a causal model."""
        self.model = Backbone(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    def encode_visuals(self, prompts: Sequence[Prompt]) -> list[list[Tensor]]:
        """Tokens (n, D) of every medium of every prompt; tiles of all prompts share the tower's batches."""
        pixels = [medium for prompt in prompts for medium in prompt.pixels]
        if not pixels:
            return [[] for _ in prompts]
        tiles = torch.cat(pixels)
        features = torch.cat([self._project(batch) for batch in tiles.split(tiles_at_once(self.config))])
        parts = iter(features.split_with_sizes([len(medium) for medium in pixels]))
        return [
            [
                visual_tokens(
                    next(parts),
                    prompt.layout,
                    prompt.image_sizes[index] if prompt.image_sizes else None,
                    self.model.image_newline,
                    self.config,
                )
                for index in range(len(prompt.pixels))
            ]
            for prompt in prompts
        ]

    def _project(self, tiles: Tensor) -> Tensor:
        """Pixels (B, 3, S, S) to features of the language model's width (B, P, D)."""
        features: Tensor = self.model.mm_projector(self.model.vision_tower(tiles.to(self.device, self.dtype)))
        return features

    def forward(self, embeddings: Tensor, layout: PackedLayout, mix_first: Mix | None = None) -> Tensor:
        """Final hidden states (N, D) at ``layout.outputs`` of packed embeddings (T, D), which may be overwritten.

        ``mix_first`` takes the place of the first layer's attention.
        """
        mixes = layout.mixes(self.config)
        if mix_first is not None:
            mixes[0] = mix_first
        # Kernels of causal attention want as many queries as keys.
        return self.run_layers(embeddings, layout.positions, mixes, layout.outputs, whole=self.config.causal)

    def compile_layers(self) -> None:
        """Run the transformer layers but for attention through ``torch.compile`` from now on."""
        for layer in self.model.layers:
            cast("Layer", layer).compile_rows()

    def run_layers(
        self, x: Tensor, positions: Tensor, mixes: Sequence[Mix], outputs: Tensor, whole: bool = False
    ) -> Tensor:
        """The transformer with the attention of each layer given (language.run_layers)."""
        return run_layers(list(self.model.layers), self.model.norm, x, positions, mixes, outputs, self.config, whole)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) in float32."""
        scores: Tensor = self.lm_head(hidden)
        return scores.float()


def tiles_at_once(config: ModelConfig) -> int:
    """Most tiles that go through the tower together; bounds its activations to about 1 GB."""
    return max(1, TOWER_ELEMENTS // (config.vision.grid**2 * config.vision.hidden_size))
