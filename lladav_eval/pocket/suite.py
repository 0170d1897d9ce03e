"""Write the shipped test rows: tasks/pocket/data/*.parquet and one mp4 file per video row.

    python -m lladav_eval.pocket.suite --out tasks/pocket/data

Rows come from the test digits only and from seeds that training never uses, so the files can always be made again
(the mp4 bytes may differ between versions of x264; the frames do not).
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import av
import numpy as np
import pandas as pd
from PIL import Image

from lladav_eval.pocket.data import TASKS, Example, Pixels, enlarge

ROWS = {"digits": 250, "choice": 300, "yesno": 300, "chart": 250, "counts": 250, "images": 250, "video": 150}
TEST_SEED = 20_000
"""Training seeds stay far below; every task draws from its own stream."""
FRAME_RATE = 8


def shipped_examples(task: str, rows: int | None = None) -> list[Example]:
    """The shipped rows of a task, or the first few of them."""
    rng = np.random.default_rng([TEST_SEED, list(TASKS).index(task)])
    return [TASKS[task](rng, "test") for _ in range(ROWS[task] if rows is None else rows)]


def png(picture: Pixels) -> bytes:
    """Lossless bytes of a picture, with one channel if it is grey."""
    grey = bool((picture == picture[:, :, :1]).all())
    stream = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if grey else picture).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def write_video(path: Path, frames: tuple[Pixels, ...]) -> None:
    """Encode frames with x264 at a quality where a moving digit stays sharp."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "20", "preset": "slow"})
        stream.height, stream.width = enlarge(frames[0]).shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(enlarge(frame), format="rgb24")))
        container.mux(stream.encode())


def write_task(task: str, out: Path) -> None:
    """Write one task's rows and media into ``out``."""
    rows = []
    for index, example in enumerate(shipped_examples(task)):
        row: dict[str, object] = {"id": index, "question": example.question, "answer": example.answer}
        if example.frames:
            row["video"] = f"video_{index:03d}.mp4"
            write_video(out / str(row["video"]), example.frames)
        else:
            row["images"] = [{"bytes": png(picture)} for picture in example.images]
        rows.append(row)
    pd.DataFrame(rows).to_parquet(out / f"{task}.parquet", index=False)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write the test rows of the pocket suite.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        write_task(task, arguments.out)


if __name__ == "__main__":
    main()
