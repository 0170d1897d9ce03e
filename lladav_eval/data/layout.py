"""Which files of a folder or a repository hold the rows of one split.

The same rules serve a local data folder (DIR/<dataset_path>/[<dataset_name>/]<split>.parquet or .jsonl), a folder
fetched from the hub, and the file list of the hub itself: there, the ``configs`` of the data set's card come first, as
in the ``datasets`` library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from lladav_eval.errors import TaskError

ENDINGS = (".parquet", ".jsonl", ".json")
_SHARD = re.compile(r"(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})(?:-[0-9a-f]+)?")
_NAME = re.compile(r"[^/\\\0]+(?:/[^/\\\0]+)*")
"""A relative path without backslashes; the parts are checked apart."""


class NoSuchSplit(TaskError):
    """The data set is there, or may be, but not this configuration or split of it."""


@dataclass(frozen=True)
class Split:
    """One split of one configuration of a data set, by its names on the hub."""

    dataset: str
    """``dataset_path`` of a task: "lmms-lab-encoder/ChartQA"."""
    config: str | None
    """``dataset_name`` of a task; None is the data set's default configuration."""
    split: str

    def __post_init__(self) -> None:
        for field, value in (("dataset", self.dataset), ("configuration", self.config), ("split", self.split)):
            if value is None and field == "configuration":
                continue
            parts = value.split("/") if isinstance(value, str) else []
            plain = bool(parts) and _NAME.fullmatch(str(value)) and not {".", "..", "~"} & set(parts)
            if not plain or (field == "split" and len(parts) > 1):
                raise TaskError(f"{value!r} can't be the name of a {field}: it must be plain, without .. or a root")

    @property
    def folder(self) -> str:
        """Where the split lies in a local data folder, relative to it."""
        return self.dataset if self.config is None else f"{self.dataset}/{self.config}"

    @property
    def name(self) -> str:
        """How the split is called in tables, errors and the lock file."""
        return f"{self.folder}:{self.split}"


def choose_files(paths: Sequence[str], split: Split, configs: Sequence[Mapping[str, Any]] = ()) -> tuple[str, ...]:
    """The files of ``paths`` (POSIX, relative to the data set's folder) with the rows of the split, in row order.

    Args:
        configs: the ``configs`` of the data set's card, if there is one.

    Raises:
        NoSuchSplit: no such configuration or split; the known ones are named.
        TaskError: a missing shard, or two candidates.
    """
    rows = [path for path in paths if path.endswith(ENDINGS)]
    if configs:
        return _complete(_declared(rows, split, configs), split)
    groups = _groups(rows, split.config)
    if split.split not in groups:
        known = ", ".join(sorted(groups)) or "none"
        where = f"the configuration {split.config!r} of {split.dataset}" if split.config else split.dataset
        raise NoSuchSplit(f"{where} has no split {split.split!r}; it has: {known}")
    return _complete(groups[split.split], split)


def _declared(paths: Sequence[str], split: Split, configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Files by the card's own list."""
    if not isinstance(configs, list) or not all(isinstance(config, Mapping) for config in configs):
        raise TaskError(
            f"{split.dataset}: the configs of its card are {str(configs)[:60]}, and must be a list of mappings with "
            "config_name and data_files: ask its owner, or give local files with --data DIR"
        )
    names = [str(config.get("config_name", "default")) for config in configs]
    if split.config is not None:
        chosen = [config for config, name in zip(configs, names, strict=True) if name == split.config]
    else:
        chosen = [config for config, name in zip(configs, names, strict=True) if config.get("default")]
        chosen = chosen or [config for config, name in zip(configs, names, strict=True) if name == "default"]
        chosen = chosen or (list(configs) if len(configs) == 1 else [])
    if len(chosen) != 1:
        asked = f"no configuration {split.config!r}" if split.config else "no default configuration"
        raise NoSuchSplit(f"{split.dataset} has {asked}; choose dataset_name among: {', '.join(sorted(names))}")
    patterns = dict(_patterns(chosen[0]))
    if not patterns:  # a card may name a configuration without its files
        return _groups(paths, split.config).get(split.split, [])
    if split.split not in patterns:
        raise NoSuchSplit(f"{split.folder} has no split {split.split!r}; it has: {', '.join(sorted(patterns))}")
    wanted = [pattern.removeprefix("./") for pattern in patterns[split.split]]
    return [path for path in sorted(paths) if any(fnmatchcase(path, pattern) for pattern in wanted)]


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """(split, patterns) of one card configuration; files without a split belong to "train", as in ``datasets``."""
    files = config.get("data_files")
    folder = str(config.get("data_dir") or "").strip("/")

    def below(value: Any) -> list[str]:
        patterns = [str(pattern) for pattern in (value if isinstance(value, list) else [value])]
        return [f"{folder}/{pattern}" if folder else pattern for pattern in patterns]

    if isinstance(files, Mapping):
        for split, value in files.items():
            yield str(split), below(value)
    elif isinstance(files, list) and all(isinstance(item, Mapping) for item in files):
        for item in files:
            yield str(item.get("split", "train")), below(item.get("path", []))
    elif files:
        yield "train", below(files)


def _groups(paths: Sequence[str], config: str | None) -> dict[str, list[str]]:
    """split -> files, by where a file lies and what it is called: [data/][<config>/]<split>[-<shard>].<ending>."""
    folders = (f"{config}/", f"data/{config}/") if config else ("", "data/")
    groups: dict[str, list[str]] = {}
    for path in sorted(paths):
        for folder in folders:
            inner = path.removeprefix(folder)
            if path.startswith(folder) and "/" not in inner:
                stem = _stem(inner)
                shard = _SHARD.fullmatch(stem)
                groups.setdefault(shard["split"] if shard else stem, []).append(path)
                break
    return groups


def _stem(path: str) -> str:
    return PurePosixPath(path).name.rsplit(".", 1)[0]


def _complete(paths: Sequence[str], split: Split) -> tuple[str, ...]:
    """The shards in order. Raises TaskError if one is missing or the split is there more than once."""
    if not paths:
        raise TaskError(f"{split.name} has no files of rows ({', '.join(ENDINGS)})")
    shards = {path: _SHARD.fullmatch(_stem(path)) for path in paths}
    found = {path: (int(match["index"]), int(match["count"])) for path, match in shards.items() if match}
    counts = {count for _, count in found.values()}
    indices = sorted(index for index, _ in found.values())
    doubled = len({_stem(path) for path in paths}) < len(paths)
    if doubled or len(counts) > 1 or len(set(indices)) < len(indices) or 0 < len(found) < len(paths):
        raise TaskError(f"{split.name} is there more than once ({', '.join(sorted(paths))}): keep one of them")
    if not found:
        return tuple(sorted(paths))
    missing = sorted(set(range(max(counts))) - set(indices))
    if missing:
        raise TaskError(f"{split.name} lacks shard {missing[0]} of {max(counts)} (counted from 0): fetch it again")
    return tuple(sorted(found, key=lambda path: found[path]))
