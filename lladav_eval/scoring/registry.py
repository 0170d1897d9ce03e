"""Which scorer belongs to which benchmark family. Light: a family's module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.rows import Protocol, Row

if TYPE_CHECKING:
    from lladav_eval.scoring.judging import Judge

_MODULES = {
    "mmmu": "mmmu",
    "mmmu_pro_standard": "mmmu",
    "mmmu_pro_vision": "mmmu",
    "muirbench": "muirbench",
    "mmstar": "mmstar",
    "mme": "mme",
    "seedbench": "seedbench",
    "mmbench": "mmbench",
    "mmbench_circular": "mmbench",
    "mathverse": "mathverse",
    "mathvista": "mathvista",
    "ai2d": "ai2d",
    "realworldqa": "realworldqa",
    "chartqa": "chartqa",
    "docvqa": "anls",
    "infovqa": "anls",
    "mlvu": "mlvu",
    "videomme": "videomme",
    "mvbench": "mvbench",
    "pope": "pope",
    "ocrbench": "ocrbench",
}
FAMILIES = tuple(_MODULES)
"""Every family that has a scorer."""


@dataclass(frozen=True)
class Scorer:
    """How one benchmark family is scored under both protocols."""

    family: str
    columns: tuple[str, ...]
    """Text columns of a row that scoring reads; media columns are never needed."""
    score: Callable[[Row, str, Protocol, int], Score]
    """(row, prediction, protocol, doc_id) -> Score. Pure; never raises on any prediction text, TaskError on a bad row.
    A guess of an official scorer gives the status "unparsed" and the value of the guess."""
    aggregate: Callable[[Sequence[Score]], dict[str, float]]
    """All samples of a split -> metrics on 0-100 (MME: its sums; OCRBench also ``correct``). Every sample counts."""
    headline: Mapping[Protocol, str]
    """The metric to show first."""
    shares: Callable[[Sequence[Score]], list[float]] | None = None
    """None where the headline is the mean of the samples' values. Else each sample's share in it: numbers whose mean is
    the headline (a fraction, MME: its points), so that intervals and tests can be made of them."""
    points: bool = False
    """Whether the headline is in the benchmark's own points rather than on 0-100."""
    optional: tuple[str, ...] = ()
    """Columns that are used where the data set has them."""
    identity: str | None = None
    """The column that must be different in every row; None where the benchmark's own ids repeat."""
    named: str | None = None
    """The column by which other tools name rows, where that isn't ``identity``; rows that share a name ask the same."""
    judge: Judge | None = None
    """What the official protocol asks of a judge model; None if its rule settles every answer."""


def get_scorer(family: str) -> Scorer:
    """The scorer of a family. Raises TaskError for an unknown one."""
    if family not in _MODULES:
        raise TaskError(f"no scorer for the benchmark family {family!r}; there are: {', '.join(FAMILIES)}")
    name = f"lladav_eval.scoring.families.{_MODULES[family]}"
    try:
        scorer = import_module(name).SCORERS[family]
    except ModuleNotFoundError as error:
        raise TaskError(
            f"the scorer of {family} can't be imported ({error}): add {name}, or mend its line here"
        ) from error
    except (KeyError, AttributeError):
        raise TaskError(f"{name} has no SCORERS[{family!r}]: add it") from None
    assert isinstance(scorer, Scorer)
    return scorer
