"""How many tokens each denoising step fills."""

from __future__ import annotations


def transfer_counts(masked: int, steps: int) -> list[int]:
    """Share ``masked`` positions out over ``steps``, the earlier steps taking the remainder.

    Never increases, so once a step has nothing to fill the rest of the block has nothing either. The sum is what the
    block needs; masks inside the prompt may use some of it up (see loop.py).

    Source: ``get_num_transfer_tokens`` of the authors' modeling_llada.py; LLaDA paper, algorithm 4.
    """
    share, remainder = divmod(masked, steps)
    return [share + (step < remainder) for step in range(steps)]
