"""Where an answer ends: the search for stop strings, as token sequences."""

from __future__ import annotations

from collections.abc import Sequence


def first_occurrence(answer: Sequence[int], sequence: Sequence[int]) -> int | None:
    """Index at which ``sequence`` first occurs in ``answer``; None if it doesn't."""
    wanted = list(sequence)
    for start in range(len(answer) - len(wanted) + 1):
        if answer[start] == wanted[0] and list(answer[start : start + len(wanted)]) == wanted:
            return start
    return None


def updated_stop(answer: Sequence[int], sequences: Sequence[Sequence[int]], stop: int | None) -> int | None:
    """The stop position after a denoising step: an index into the answer, or None while there is none.

    Args:
        answer: all answer ids, masks included, without the suffix.
        sequences: stop sequences in the order the task lists them.
        stop: the position found by earlier steps.

    The order of ``sequences`` matters, and official scores depend on how. Until something is found they are tried in
    order and the first one present wins, even if a later one would stop the answer earlier. Afterwards only the first
    of the list is looked for again, and it can move the stop to an earlier position, never to a later one.

    Source: the stop search of ``generate_with_embeds`` in the authors' modeling_llada.py.
    """
    for sequence in sequences[:1] if stop is not None else sequences:
        found = first_occurrence(answer, sequence)
        if found is not None:
            return found if stop is None else min(found, stop)
    return stop
