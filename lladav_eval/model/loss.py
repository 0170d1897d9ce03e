"""The masked-diffusion training objective of LLaDA."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def masked_diffusion_loss(
    logits: Tensor, targets: Tensor, mask_probability: Tensor, answer_length: Tensor, sequences: int
) -> Tensor:
    """Cross-entropy at masked answer positions, weighted by 1/t and averaged over answers.

    Args:
        logits: (N, V) at every masked position of the batch.
        targets: (N,) the tokens behind the masks.
        mask_probability: (N,) with which each position's sequence was masked: (1 - eps) * t + eps, eps = 1e-3.
        answer_length: (N,) answer tokens, masked or not, of each position's sequence.
        sequences: number of sequences in the batch.

    Source: arXiv 2502.09992 equation 3 and 2505.16933 equation 2; ``LLaDAModelLM.forward`` in modeling_llada.py.
    """
    losses = F.cross_entropy(logits, targets, reduction="none") / mask_probability
    return (losses / answer_length).sum() / sequences
