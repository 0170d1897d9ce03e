"""What the official protocol asks of a judge model, as data: prompts out, stored replies in. No network here.

A family whose official rule can't settle every answer has a ``Judge``. Asked with the replies so far, it gives the next
prompt, or None once the answer is settled; scored with them, it gives the official score. Replies are stored with the
sample, so that scoring again calls nobody. Without a reply the sample is "unparsed" and worth 0, with the detail
``needs_judge``: then the official column isn't filled, and whoever shows it must say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lladav_eval.records import Score
from lladav_eval.scoring.rows import Row

NEEDS_JUDGE = "needs_judge"
"""The detail of a score that waits for a judge's reply."""


@dataclass(frozen=True)
class JudgeCall:
    """One prompt for the judge, as the benchmark's own script sends it (temperature 0, one user message)."""

    purpose: str
    """"extract", "match" or "choose"."""
    prompt: str
    max_tokens: int


@dataclass(frozen=True)
class Judge:
    """How one family uses a judge."""

    model: str
    """The judge of the LLaDA-V authors' evaluation; another one gives another protocol."""
    next_call: Callable[[Row, str, Sequence[str]], JudgeCall | None]
    """(row, prediction, replies so far) -> what to ask next; None if the answer is settled."""
    score: Callable[[Row, str, Sequence[str], int], Score]
    """(row, prediction, replies, doc_id) -> official score."""
    takes_extractions: bool = False
    """Whether the family's stored predictions usually are the judge's extractions already (MathVista): then the
    answer rule alone is applied to them."""


def unsettled(details: Mapping[str, object] | None = None) -> Score:
    """The score of a sample that waits for the judge."""
    return Score(0.0, None, "unparsed", {**(details or {}), NEEDS_JUDGE: True})


def is_unsettled(score: Score) -> bool:
    """Whether the official score waits for a judge's reply."""
    return bool(score.details.get(NEEDS_JUDGE))


@cache
def prompt_template(name: str) -> str:
    """The text of scoring/judge_prompts/<name>.txt."""
    path = Path(__file__).with_name("judge_prompts") / f"{name}.txt"
    return path.read_text(encoding="utf-8").strip()
