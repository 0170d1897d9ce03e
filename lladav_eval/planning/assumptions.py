"""What the samples of a benchmark usually are, for estimates where its rows aren't at hand.

Rows are the sizes of the splits, as the task files' descriptions have them. Sizes of images and lengths of questions
are round numbers of ours for the kind of picture (photographs of COCO, charts, scanned pages), not measurements; every
estimate that uses them says so.
"""

from __future__ import annotations

from dataclasses import dataclass

CHARACTERS_PER_TOKEN = 4
"""Of English text under LLaDA's vocabulary, roughly."""
TEMPLATE_TOKENS = 60
"""System message, turns and the thinking mode of the chat template."""


@dataclass(frozen=True)
class Typical:
    """The typical sample of a benchmark."""

    rows: int
    text: int
    """Tokens of the question with its options and instruction."""
    size: tuple[int, int] = (0, 0)
    """(width, height) of the image in pixels, where there is one."""
    images: int = 1
    frames: bool = False
    """Whether it is about a video."""

    def says(self, frames: int) -> str:
        """The assumption in words."""
        if self.frames:
            shown = f"a video of {frames} frames"
        elif self.images == 1:
            shown = f"an image of {self.size[0]}x{self.size[1]}"
        else:
            shown = f"{self.images} images"
        return f"{self.rows:,} rows, each with {shown} and {self.text} tokens of text"


_FAMILIES = {
    "ai2d": Typical(3088, 80, (600, 450)),
    "chartqa": Typical(2500, 40, (850, 600)),
    "docvqa": Typical(5349, 60, (1750, 2250)),
    "infovqa": Typical(2801, 60, (1000, 2500)),
    "mathverse": Typical(788, 60, (500, 400)),
    "mathvista": Typical(1000, 120, (500, 400)),
    "mlvu": Typical(2174, 80, frames=True),
    "mmbench": Typical(4329, 80, (500, 400)),
    "mmbench_circular": Typical(4329, 80, (500, 400)),
    "mme": Typical(2374, 40, (640, 480)),
    "mmmu": Typical(900, 120, (700, 500)),
    "mmmu_pro_standard": Typical(1730, 200, (700, 500)),
    "mmmu_pro_vision": Typical(1730, 40, (1600, 1000)),
    "mmstar": Typical(1500, 80, (500, 400)),
    "muirbench": Typical(2600, 120, images=4),
    "mvbench": Typical(200, 120, frames=True),
    "ocrbench": Typical(1000, 40, (800, 600)),
    "pope": Typical(9000, 30, (640, 480)),
    "realworldqa": Typical(765, 60, (1500, 1000)),
    "seedbench": Typical(14240, 80, (640, 480)),
    "videomme": Typical(2700, 120, frames=True),
}

_TASKS = {"lladav_seedbench_video": Typical(3757, 80, frames=True)}
"""Tasks unlike the rest of their family."""


def typical(task: str, family: str) -> Typical:
    """The typical sample of a task. Every family of benchmarks has one."""
    return _TASKS.get(task) or _FAMILIES[family]
