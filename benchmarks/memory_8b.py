"""Peak memory of the real 8B sizes on a CPU: random bfloat16 weights in shards, loaded and run for one short prompt.

    python benchmarks/memory_8b.py [--directory DIR] [--keep]

Writes 17 GB of shards with the official names and shapes under DIR (default: the system's temporary directory), one
tensor at a time, then loads them with the code every run uses and answers one question without an image, in a process
of its own whose peak (VmHWM) is reported, once every weight has been read. Needs 20 GB of free disk and about 19 GiB of
free memory; Linux only. The shards are deleted at the end. By hand, not in CI. The last line is JSON; exit code 1 if
the peak is 20 GiB or more.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lladav_eval.model.checkpoint import empty_model, load_model
from lladav_eval.model.config import parse_config, read_config
from lladav_eval.model.official import OFFICIAL_FIELDS, OFFICIAL_VOCABULARY
from lladav_eval.pipeline import LladaV
from lladav_eval.pocket.vocabulary import write_tokenizer
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.records import Request, SamplingParams

LIMIT_GIB = 20.0
SHARD_BYTES = 3_000_000_000
GIB = 1 << 30

Shapes = dict[str, tuple[int, ...]]


def shards(shapes: Shapes) -> Iterator[Shapes]:
    """Weights in order, cut into parts of at most ``SHARD_BYTES``."""
    part: Shapes = {}
    size = 0
    for name, shape in shapes.items():
        weight = 2 * math.prod(shape)
        if part and size + weight > SHARD_BYTES:
            yield part
            part, size = {}, 0
        part[name] = shape
        size += weight
    yield part


def write_shard(path: Path, shapes: Shapes, generator: torch.Generator) -> None:
    """One safetensors file, written tensor by tensor (the library's own writer holds the whole shard)."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            is_norm = "norm" in name and name.endswith("weight")
            tensor = torch.empty(shape, dtype=torch.bfloat16).normal_(float(is_norm), 0.02, generator=generator)
            file.write(tensor.flatten().view(torch.uint8).numpy().data)


def write_checkpoint(directory: Path) -> int:
    """Config, tokenizer (the pocket's: the official one isn't needed to fill memory) and shards; bytes of weights."""
    (directory / "config.json").write_text(json.dumps(OFFICIAL_FIELDS))
    write_tokenizer(directory)
    model = empty_model(parse_config(OFFICIAL_FIELDS))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    parts = list(shards(shapes))
    generator = torch.Generator().manual_seed(0)
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        write_shard(directory / file, part, generator)
        weight_map.update(dict.fromkeys(part, file))
        print(f"wrote {file}", flush=True)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return 2 * sum(math.prod(shape) for shape in shapes.values())


def peak_gib() -> float:
    """Most memory this process ever had resident, mapped files included."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / GIB


def measure(directory: Path) -> dict[str, Any]:
    """Load and answer; to be called in a fresh process."""
    imported = peak_gib()
    started = time.perf_counter()
    config = read_config(directory)
    model = load_model(directory, config, OFFICIAL_VOCABULARY, torch.device("cpu"), torch.bfloat16)
    loaded, load_seconds = peak_gib(), time.perf_counter() - started
    whole = LladaV(model, ChatTokenizer.from_dir(directory), directory, "official sizes, random weights")
    started = time.perf_counter()
    answer = whole.generate([Request("List each digit")], SamplingParams(gen_length=2, block_length=2, steps=2))[0]
    if answer.status != "ok":
        raise SystemExit(f"the model gave no answer: {answer.error}")
    answer_seconds, answered = time.perf_counter() - started, peak_gib()
    for parameter in model.parameters():  # weights stay mapped to their files: bring in those the answer had no use for
        parameter.amax()
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights_gib": round(sum(parameter.nbytes for parameter in model.parameters()) / GIB, 2),
        "prompt_tokens": answer.prompt_tokens,
        "forward_passes": answer.forward_passes,
        "load_seconds": round(load_seconds, 1),
        "answer_seconds": round(answer_seconds, 1),
        "peak_gib_imported": round(imported, 2),
        "peak_gib_loaded": round(loaded, 2),
        "peak_gib_answered": round(answered, 2),
        "peak_gib": round(peak_gib(), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="where the shards go")
    parser.add_argument("--keep", action="store_true", help="leave the shards there")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    if shutil.disk_usage(arguments.directory).free < 20e9:
        parser.error(f"{arguments.directory} has less than 20 GB free: give another --directory")
    folder = Path(tempfile.mkdtemp(prefix="lladav-8b-", dir=arguments.directory))
    try:
        written = write_checkpoint(folder)
        print(f"{written / 1e9:.1f} GB in {folder}", flush=True)
        command = [sys.executable, __file__, "--measure", str(folder)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    result = json.loads(output.splitlines()[-1])
    print(json.dumps({**result, "limit_gib": LIMIT_GIB, "torch": torch.__version__}))
    if result["peak_gib"] >= LIMIT_GIB:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
