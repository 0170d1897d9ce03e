"""Which files hold a split: by name, by the card of a data set, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lladav_eval.data.layout import Split, choose_files
from lladav_eval.data.recipe import MEDIA_PATTERNS, read_recipe
from lladav_eval.errors import TaskError

SHARDED = [f"data/test-0000{index}-of-00003-0123abcd.parquet" for index in range(3)]
ONE = "test-00000-of-00001.parquet"


@pytest.mark.parametrize(
    ("paths", "split", "expected"),
    [
        (["README.md", "test.parquet"], Split("a/b", None, "test"), ["test.parquet"]),
        (["test.jsonl", "val.jsonl"], Split("a/b", None, "test"), ["test.jsonl"]),
        (SHARDED[::-1], Split("a/b", None, "test"), SHARDED),
        ([ONE, ONE.replace("test", "test_mini")], Split("a/b", None, "test"), [ONE]),
        ([f"std (10)/{ONE}", f"vision/{ONE}"], Split("MMMU/Pro", "std (10)", "test"), [f"std (10)/{ONE}"]),
        (["en/dev.parquet", "en/test.parquet", "cn/dev.parquet"], Split("a/b", "en", "dev"), ["en/dev.parquet"]),
        (["dev_20230712_circular.jsonl"], Split("a/b", None, "dev_20230712_circular"), ["dev_20230712_circular.jsonl"]),
    ],
)  # fmt: skip
def test_files_by_name(paths: list[str], split: Split, expected: list[str]) -> None:
    assert list(choose_files(paths, split)) == expected


CARD: list[dict[str, Any]] = [
    {"config_name": "val", "default": True, "data_files": [{"split": "val", "path": "mmstar.parquet"}]},
    {"config_name": "sub", "data_files": "json/sub.json"},
    {"config_name": "full", "data_dir": "Full", "data_files": {"test": ["test-*"], "dev": "dev-*"}},
]
FILES = [
    "mmstar.parquet",
    "json/sub.json",
    "Full/test-00000-of-00001.parquet",
    "Full/dev-00000-of-00001.parquet",
    "x.py",
]


@pytest.mark.parametrize(
    ("config", "split", "expected"),
    [
        (None, "val", "mmstar.parquet"),
        ("val", "val", "mmstar.parquet"),
        ("sub", "train", "json/sub.json"),
        ("full", "dev", "Full/dev-00000-of-00001.parquet"),
    ],
)
def test_files_by_the_card(config: str | None, split: str, expected: str) -> None:
    assert choose_files(FILES, Split("a/b", config, split), CARD) == (expected,)


@pytest.mark.parametrize(
    ("paths", "configs", "split", "message"),
    [
        (["test.parquet", "val.parquet"], [], Split("a/b", None, "dev"), "a/b has no split 'dev'; it has: test, val"),
        (
            ["en/dev.parquet"],
            [],
            Split("a/b", "fr", "dev"),
            "the configuration 'fr' of a/b has no split 'dev'; it has: none",
        ),
        (
            FILES,
            CARD,
            Split("a/b", "nope", "val"),
            "no configuration 'nope'; choose dataset_name among: full, sub, val",
        ),
        (FILES, CARD[1:], Split("a/b", None, "val"), "no default configuration; choose dataset_name among: full, sub"),
        (FILES, CARD, Split("a/b", None, "test"), "a/b has no split 'test'; it has: val"),
        (FILES[1:], CARD, Split("a/b", None, "val"), "a/b:val has no files"),
        (FILES, ["val"], Split("a/b", None, "val"), r"a/b: the configs of its card are \['val'\], and must be a list"),
        (FILES, {"val": {}}, Split("a/b", None, "val"), "a/b: the configs of its card are {'val': {}}, and must be"),
        (FILES, "val", Split("a/b", None, "val"), "a/b: the configs of its card are val, and must be a list"),
        (SHARDED[:1] + SHARDED[2:], [], Split("a/b", None, "test"), "lacks shard 1 of 3"),
        (SHARDED[:2], [], Split("a/b", None, "test"), "lacks shard 2 of 3"),
        (["test.parquet", "test.jsonl"], [], Split("a/b", None, "test"), "more than once"),
        (["test.parquet", "data/test.parquet"], [], Split("a/b", None, "test"), "more than once"),
        (["test.parquet", *SHARDED], [], Split("a/b", None, "test"), "more than once"),
    ],
)
def test_what_is_not_there_or_not_clear(paths: list[str], configs: Any, split: Split, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        choose_files(paths, split, configs)


@pytest.mark.parametrize(
    ("dataset", "config", "split"),
    [("../a", None, "t"), ("/etc", None, "t"), ("a/../b", None, "t"), ("a", "..", "t"), ("a", "", "t"),
     ("a", None, "x/y"),
     ("a", None, ""), ("a\\b", None, "t"), ("a//b", None, "t"), ("", None, "t"), ("~/a", None, "t")],
)  # fmt: skip
def test_names_that_could_leave_the_folder_are_refused(dataset: str, config: str | None, split: str) -> None:
    with pytest.raises(TaskError, match="can't be the name of a"):
        Split(dataset, config, split)


def test_recipes_from_yaml() -> None:
    assert read_recipe({"dataset_path": "parquet", "test_split": "test"}) is None
    plain = read_recipe(
        {"dataset_path": "a/b", "dataset_name": "c", "validation_split": "val", "metadata": [{"version": 1}]}
    )
    assert plain is not None
    assert (plain.split, plain.revision, plain.media, plain.size_gb) == (Split("a/b", "c", "val"), None, (), None)
    video = read_recipe(
        {
            "dataset_path": "a/b",
            "test_split": "t",
            "dataset_kwargs": {"video": True, "revision": "video"},
            "metadata": {"size_gb": 1.5},
        }
    )
    assert video is not None
    assert (video.revision, video.media, video.size_gb) == ("video", MEDIA_PATTERNS, 1.5)
    precise = read_recipe({"dataset_path": "a/b", "test_split": "t", "metadata": {"media": ["star/*"]}})
    assert precise is not None
    assert precise.media == ("star/*",)
