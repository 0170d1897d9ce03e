"""Fetching over real HTTP: only what is needed, resumed, checked, pinned; and every way it can go wrong."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import zipfile
from pathlib import Path
from typing import Any

import pytest
from data_samples import lines, parquet_bytes, rows, text, write
from hub_server import HubState, Repository

from lladav_eval.data.hub import Hub
from lladav_eval.data.layout import NoSuchSplit, Split
from lladav_eval.data.lock import LOCK_NAME, read_lock, wrong_files
from lladav_eval.data.source import DATA_VARIABLE, fetch, open_table, pin_local, plan_fetch
from lladav_eval.errors import EnvironmentError_, TaskError, UsageError

ASKED = Split("some/set", None, "test")
FIRST, SECOND = "data/test-00000-of-00002.parquet", "data/test-00001-of-00002.parquet"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched data."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "fetched"))
    return tmp_path / "fetched"


@pytest.fixture
def repository(hub_state: HubState) -> Repository:
    """A data set of two shards and a second, unwanted split."""
    files = {
        "README.md": b"card",
        FIRST: parquet_bytes(rows(5)),
        SECOND: parquet_bytes(rows(4, start=5)),
        "data/train-00000-of-00001.parquet": parquet_bytes(rows(50)),
    }
    hub_state.repositories["some/set"] = Repository(files)
    return hub_state.repositories["some/set"]


def opened(state: HubState, **options: Any) -> list[int]:
    table = open_table("some/set", None, "test", hub=Hub(state.url), **options)
    return [row["answer"] for row in table.rows(["answer"])]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to open a connection fails the test."""

    def refuse(*args: Any, **options: Any) -> None:
        pytest.fail(f"the network was touched: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_only_the_asked_split_is_fetched_and_pinned(hub_state: HubState, repository: Repository, root: Path) -> None:
    assert opened(hub_state) == list(range(9))
    assert hub_state.downloads() == [Path(FIRST).name, Path(SECOND).name]
    table = open_table("some/set", None, "test", hub=Hub(hub_state.url))
    assert table.revision == repository.commit
    assert len(hub_state.downloads()) == 2, "nothing is fetched twice"
    entry = read_lock(root)["some/set:test"]
    assert entry.revision == repository.commit
    assert [file.path for file in entry.tables] == [f"some/set/{FIRST}", f"some/set/{SECOND}"]
    assert wrong_files(root, entry) == []


def test_the_plan_shows_sizes_before_anything_is_fetched(
    hub_state: HubState, repository: Repository, root: Path
) -> None:
    plan = plan_fetch(ASKED, root, Hub(hub_state.url))
    assert plan.size == len(repository.files[FIRST]) + len(repository.files[SECOND])
    assert hub_state.downloads() == []
    assert not root.exists()


def test_offline_and_local_folders_never_touch_the_network(
    hub_state: HubState, repository: Repository, root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    opened(hub_state)
    write(tmp_path / "local" / "some" / "set" / "test.jsonl", lines(map(text, rows(3))))
    request.getfixturevalue("no_network")
    assert opened(hub_state, offline=True) == list(range(9))
    assert opened(hub_state, data_dir=root) == list(range(9)), "a fetched folder serves as --data"
    assert opened(hub_state, data_dir=tmp_path / "local") == [0, 1, 2]
    with pytest.raises(EnvironmentError_, match=r"some/set:val has not been fetched .*without --offline, .*--data DIR"):
        open_table("some/set", None, "val", offline=True)
    with pytest.raises(
        NoSuchSplit, match=r"has no split 'val'; it has: test; looked for .*/some/set/val\.parquet or .jsonl"
    ):
        open_table("some/set", None, "val", data_dir=tmp_path / "local")
    write(tmp_path / "local" / "some" / "set" / "sub" / "val.tsv", b"index\timage\n")
    with pytest.raises(
        NoSuchSplit, match=r"val\.parquet or \.jsonl; sub/val\.tsv is in another format, write its rows"
    ):
        open_table("some/set", "sub", "val", data_dir=tmp_path / "local")
    with pytest.raises(UsageError, match="no such folder"):
        open_table("some/set", None, "val", data_dir=tmp_path / "nowhere")


def test_a_cut_download_goes_on_where_it_stopped(hub_state: HubState, repository: Repository, root: Path) -> None:
    repository.files[FIRST] = _padded(12_500_000)  # huggingface_hub writes chunks of 10 MB
    hub_state.cut_after = 11_500_000
    with contextlib.suppress(EnvironmentError_):  # some releases of huggingface_hub don't go on by themselves
        opened(hub_state)
    opened(hub_state)
    ranges = [line for line in hub_state.requests if line.startswith("GET") and "bytes=" in line and FIRST in line]
    assert ranges, "the second request must ask for the rest only"
    assert int(ranges[0].split("bytes=")[1].rstrip("-")) > 0
    assert opened(hub_state, offline=True) == list(range(9))


def _padded(size: int) -> bytes:
    """A larger parquet file of the same rows: the images are incompressible."""
    import random

    values = rows(5)
    values[0]["image"]["bytes"] = random.Random(0).randbytes(size)
    return parquet_bytes(values)


def test_a_new_commit_with_the_same_files_is_no_change(hub_state: HubState, repository: Repository, root: Path) -> None:
    opened(hub_state)
    old = repository.commit
    repository.note = "a new README"
    repository.files["data/train-00000-of-00001.parquet"] = parquet_bytes(rows(1))
    assert repository.commit != old
    assert opened(hub_state) == list(range(9))
    assert read_lock(root)["some/set:test"].revision == old
    (root / "some" / "set" / SECOND).unlink()
    assert opened(hub_state) == list(range(9)), "what is missing comes from the pinned commit"
    assert hub_state.requests[-1].startswith(f"GET /datasets/some/set/resolve/{old}/")


def test_changed_data_are_an_error_until_accepted(hub_state: HubState, repository: Repository, root: Path) -> None:
    opened(hub_state)
    old = repository.commit
    repository.files[SECOND] = parquet_bytes(rows(4, start=50))
    new = repository.commit
    with pytest.raises(
        UsageError, match=rf"pinned revision {old}, now {new}; .*--offline.*--accept-new-revision"
    ) as caught:
        opened(hub_state)
    assert caught.value.exit_code == 2
    assert opened(hub_state, offline=True) == list(range(9))
    plan = plan_fetch(ASKED, root, Hub(hub_state.url), accept_new_revision=True)
    assert [file.path for file in plan.missing] == [SECOND]
    fetch(plan, Hub(hub_state.url))
    assert read_lock(root)["some/set:test"].revision == new
    assert opened(hub_state) == [0, 1, 2, 3, 4, 50, 51, 52, 53]


def test_a_stopped_change_leaves_neither_revision(hub_state: HubState, repository: Repository, root: Path) -> None:
    opened(hub_state)
    repository.files[FIRST] = parquet_bytes(rows(5, start=100))
    plan = plan_fetch(ASKED, root, Hub(hub_state.url), accept_new_revision=True)

    def stop(file: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(plan, Hub(hub_state.url), stop)
    with pytest.raises(EnvironmentError_, match="has not been fetched"):
        opened(hub_state, offline=True)
    assert opened(hub_state)[:5] == [100, 101, 102, 103, 104]


def test_bytes_that_are_not_what_the_hub_said(hub_state: HubState, repository: Repository, root: Path) -> None:
    hub_state.garble = True
    with pytest.raises(EnvironmentError_, match="arrived damaged and was removed"):
        opened(hub_state)
    assert read_lock(root) == {}
    hub_state.garble = False
    assert opened(hub_state) == list(range(9))


def test_a_stale_file_is_never_taken_for_the_new_one(hub_state: HubState, repository: Repository, root: Path) -> None:
    write(root / "some" / "set" / FIRST, b"x" * len(repository.files[FIRST]))
    assert opened(hub_state) == list(range(9))


@pytest.mark.parametrize("name", ["../../victim.mp4", "/victim.mp4", "a/../../victim.mp4", "a\\victim.mp4"])
def test_a_hub_that_names_files_outside_of_the_data_set(
    hub_state: HubState, repository: Repository, root: Path, name: str
) -> None:
    victim = root.parent / "victim.mp4"
    victim.write_bytes(b"mine")
    repository.files[name] = b"theirs"
    with pytest.raises(TaskError, match="names a file outside of the data set"):
        opened(hub_state)
    assert victim.read_bytes() == b"mine"


def test_names_the_hub_does_not_know(hub_state: HubState, repository: Repository, root: Path) -> None:
    hub = Hub(hub_state.url)
    with pytest.raises(TaskError, match="the hub has no data set no/set"):
        open_table("no/set", None, "test", hub=hub)
    with pytest.raises(TaskError, match="some/set has no split 'val'; it has: test, train"):
        open_table("some/set", None, "val", hub=hub)
    with pytest.raises(TaskError, match="the configuration 'x' of some/set has no split 'test'"):
        open_table("some/set", "x", "test", hub=hub)
    with pytest.raises(TaskError, match="some/set has no such revision"):
        open_table("some/set", None, "test", hub=hub, revision="nope")
    repository.gated = True
    with pytest.raises(EnvironmentError_, match=r"some/set wants a login: .*hf auth login"):
        opened(hub_state)
    assert not root.exists()


def test_without_the_hub_the_error_says_what_to_do(root: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hub = Hub(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(
            EnvironmentError_,
            match=r"the hub can't give some/set:test .*check the network.*`run` and `score` .*--data DIR.*--offline",
        ) as caught:
            open_table("some/set", None, "test", hub=hub)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_told_before_fetching(
    hub_state: HubState, repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("usage", (), {"free": 10})())
    with pytest.raises(EnvironmentError_, match=r"GB are needed in .* make room"):
        opened(hub_state)
    assert hub_state.downloads() == []


def test_configurations_of_the_card(hub_state: HubState, root: Path) -> None:
    card = {"configs": [{"config_name": "val", "data_files": [{"split": "val", "path": "mmstar.parquet"}]}]}
    hub_state.repositories["a/MMStar"] = Repository({"mmstar.parquet": parquet_bytes(rows(2))}, card)
    assert len(open_table("a/MMStar", None, "val", hub=Hub(hub_state.url))) == 2
    hub_state.repositories["a/MVBench"] = Repository(
        {"json/sub.json": json.dumps([{"q": 1}]).encode()},
        {"configs": [{"config_name": "sub", "data_files": "json/sub.json"}]},
    )
    assert open_table("a/MVBench", "sub", "train", hub=Hub(hub_state.url)).row(0) == {"q": 1}


def test_media_archives_are_fetched_and_unpacked(hub_state: HubState, root: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("data/1.mp4", b"frames" * 100)
    files = {
        "test-00000-of-00001.parquet": parquet_bytes(rows(2)),
        "v_1.zip": buffer.getvalue(),
        "more/2.mp4": b"two" * 300,
    }
    hub_state.repositories["a/video"] = Repository(files)
    hub, split = Hub(hub_state.url), Split("a/video", None, "test")
    plan = plan_fetch(split, root, hub, media=("*.zip", "*.mp4"))
    assert plan.size == sum(map(len, files.values()))
    fetch(plan, hub)
    assert (root / "a" / "video" / "data" / "1.mp4").read_bytes() == b"frames" * 100
    assert (root / "a" / "video" / "more" / "2.mp4").is_file()
    assert plan_fetch(split, root, hub, media=("*.zip", "*.mp4")).missing == ()
    entry = read_lock(root)[split.name]
    assert [file.path for file in entry.media] == ["a/video/more/2.mp4", "a/video/v_1.zip"]
    open_table("a/video", None, "test", hub=hub)
    assert read_lock(root)[split.name] == entry, "opening the table keeps what is known of the media"


def test_pinned_local_data(tmp_path: Path) -> None:
    path = write(tmp_path / "some" / "set" / "test.jsonl", lines(map(text, rows(3))))
    entry = pin_local(ASKED, tmp_path)
    assert open_table("some/set", None, "test", data_dir=tmp_path).revision == entry.revision
    assert pin_local(ASKED, tmp_path) == entry
    path.write_bytes(path.read_bytes().replace(b"b1", b"b9"))  # the same size
    with pytest.raises(UsageError, match=rf"revision {entry.revision}, now local:.*--accept-new-revision"):
        open_table("some/set", None, "test", data_dir=tmp_path)
    with pytest.raises(UsageError, match=r"test.jsonl is not the pinned file: .*--accept-new-revision"):
        pin_local(ASKED, tmp_path)
    new = pin_local(ASKED, tmp_path, accept_new_revision=True)
    assert open_table("some/set", None, "test", data_dir=tmp_path).revision == new.revision != entry.revision
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(TaskError, match=r"not as pinned in the lock file: .*test\.jsonl has .*--accept-new-revision"):
        open_table("some/set", None, "test", data_dir=tmp_path)


def _lock(*tables: object) -> bytes:
    entry = {"revision": "a", "tables": tables}
    return json.dumps({"version": 1, "splits": {"some/set:test": entry}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"version": 9}',
        b'{"version": 1}',
        _lock(),
        _lock({"path": "../x", "size": 1, "hash": "h"}),
        _lock({"path": "/x", "size": 1, "hash": "h"}),
        _lock({"path": "x"}),
    ],
)
def test_a_damaged_lock_file(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "some" / "set" / "test.jsonl", lines(map(text, rows(3))))
    write(tmp_path / LOCK_NAME, content)
    with pytest.raises(UsageError, match=r"the lock file .*lladav-eval.lock.json"):
        open_table("some/set", None, "test", data_dir=tmp_path)
