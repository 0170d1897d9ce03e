"""SigLIP vision tower as LLaDA-V uses it: without its last encoder layer, without its pooling head.

Source: train/llava/model/multimodal_encoder/siglip_encoder.py of the authors. They always delete one encoder layer,
whatever ``mm_vision_select_layer`` says, and read the hidden state before the final norm. The norm's weights are in
the checkpoint, so it is kept here and left unused.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lladav_eval.model.config import VisionConfig
from lladav_eval.model.kernels import Linear, attention


class PatchEmbeddings(nn.Module):
    """Pixels (B, 3, S, S) to patch embeddings with learned positions (B, P, C)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.position_embedding = nn.Embedding(config.grid**2, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        patches: Tensor = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        return patches + self.position_embedding.weight


class VisionAttention(nn.Module):
    """Multi-head attention over the patches of one tile."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.q_proj = Linear(config.hidden_size, config.hidden_size)
        self.k_proj = Linear(config.hidden_size, config.hidden_size)
        self.v_proj = Linear(config.hidden_size, config.hidden_size)
        self.out_proj = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed: Tensor = self.out_proj(attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class VisionFeedForward(nn.Module):
    """Two linear layers with the tanh approximation of GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class VisionLayer(nn.Module):
    """Pre-norm encoder layer."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = VisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionFeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionEncoder(nn.Module):
    """All published layers but the last."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers - 1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class VisionModel(nn.Module):
    """Embeddings and encoder under the parameter names of the checkpoint."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = PatchEmbeddings(config)
        self.encoder = VisionEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.encoder(self.embeddings(pixels))
        return features


class VisionTower(nn.Module):
    """Pixels (B, 3, S, S) in [-1, 1] to patch features (B, P, C)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        # The checkpoint nests the tower twice: model.vision_tower.vision_tower.vision_model.*
        self.vision_tower = nn.ModuleDict({"vision_model": VisionModel(config)})

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.vision_tower["vision_model"](pixels)
        return features
