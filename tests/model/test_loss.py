"""The training loss where there is little to add up; recorded values are in test_golden_parity.py."""

from __future__ import annotations

import torch
from small_model import random_model, small_config

from lladav_eval.model.language import PackedLayout
from lladav_eval.model.loss import masked_diffusion_loss


def test_a_batch_without_a_mask_has_no_loss() -> None:
    model = random_model(small_config(16, 40, 64), 0, 0.4)
    nothing = torch.arange(0)
    layout = PackedLayout.build([5], [nothing], torch.device("cpu"))
    with torch.inference_mode():
        logits = model.logits(model(model.model.embed_tokens(torch.arange(5)), layout))
    assert logits.shape == (0, 40)
    assert masked_diffusion_loss(logits, nothing, torch.empty(0), torch.empty(0), 1) == 0
