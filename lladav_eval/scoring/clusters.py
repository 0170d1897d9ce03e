"""Which rows of a benchmark aren't independent, as they ask about one picture, video or document, or repeat a question.

Intervals and tests treat such rows as one observation: 300 videos with three questions each are no 900 samples. It
comes from the row alone. AI2D and ChartQA have pictures with several questions too, but their rows don't say which.
"""

from __future__ import annotations

from collections.abc import Mapping

from lladav_eval.scoring.categories import cell
from lladav_eval.scoring.families.mmbench import ROLL
from lladav_eval.scoring.rows import Row

CLUSTER_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "mmbench": ("index",),
    "mmbench_circular": ("index",),
    "muirbench": ("idx", "counterpart_idx"),
    "mme": ("category", "question_id"),
    "pope": ("image_source",),
    "videomme": ("videoID",),
    "mlvu": ("video_name",),
    "mvbench": ("video",),
    "seedbench": ("data_id",),
    "docvqa": ("docId",),
    "infovqa": ("image_url",),
    "mathverse": ("problem_index",),
}
"""Family -> the columns of a row that tell."""


def cluster_of(family: str, row: Row) -> str | None:
    """What the row shares with others; None where it stands alone, or the data at hand don't tell."""
    cells = [cell(row, column) for column in CLUSTER_COLUMNS.get(family, ())]
    known = [value for value in cells if value is not None]
    if not known or len(known) < len(cells):
        return None
    if family in ("mmbench", "mmbench_circular"):  # the rolls of a question
        return str(int(known[0]) % ROLL) if known[0].isdecimal() else None
    if family == "muirbench":  # a question and its unanswerable counterpart
        known.sort()
    return "/".join(known)
