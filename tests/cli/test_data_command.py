"""``lladav-eval data``: fetch, list, lock, verify and export through the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from data_samples import lines, parquet_bytes, rows, text, write
from hub_server import HubState, Repository, running_hub

from lladav_eval.cli import data as data_command
from lladav_eval.cli.main import app, invoke
from lladav_eval.data.lock import read_lock
from lladav_eval.data.source import DATA_VARIABLE, open_table
from lladav_eval.runs import tasks as tasks_module

if not any(group.typer_instance is data_command.app for group in app.registered_groups):
    data_command.register(app)

YAML = {
    "one.yaml": "task: lladav_one\ndataset_path: some/set\ntest_split: test\nmetadata: {size_gb: 0.1}\n",
    "two.yaml": "task: lladav_two\ndataset_path: some/set\ndataset_name: sub\nvalidation_split: val\n",
    "own.yaml": "task: lladav_own\ndataset_path: parquet\ntest_split: test\n",
    "both.yaml": "group: lladav_both\ntask: [lladav_one, lladav_two, lladav_own]\n",
}


@pytest.fixture
def hub_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubState]:
    """A hub that the commands find as the hub."""
    with running_hub() as state:
        state.repositories["some/set"] = Repository(
            {
                "data/test-00000-of-00002.parquet": parquet_bytes(rows(5)),
                "data/test-00001-of-00002.parquet": parquet_bytes(rows(4, start=5)),
                "sub/val.jsonl": lines(map(text, rows(3))),
            }
        )
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        yield state


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Tasks of our own, and a folder of fetched data."""
    for name, content in YAML.items():
        write(tmp_path / "tasks" / name, content.encode())
    monkeypatch.setattr(tasks_module, "tasks_dir", lambda: tmp_path / "tasks")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "fetched"))
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")  # --offline sets them; they must not outlive the test
    tasks_module._list_tasks.cache_clear()
    yield tmp_path / "fetched"
    tasks_module._list_tasks.cache_clear()


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(("data", *arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_fetch_shows_sizes_first_and_asks_nothing(
    hub_state: HubState, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "fetch", "--task", "both", "--dry-run")
    assert code == 0
    assert "some/set:test  2 files, 6.4 kB; to fetch 6.4 kB; revision" in out
    assert "to fetch in all:" in out
    assert hub_state.downloads() == []
    assert not folder.exists()
    code, out, err = call(capsys, "fetch", "--task", "both")
    assert code == 0
    assert "some/set:test  ready" in out
    assert "some/set/sub:val  ready" in out
    assert "[2/2] data/test-00001-of-00002.parquet" in err
    assert len(hub_state.downloads()) == 3
    code, out, _ = call(capsys, "fetch", "--task", "both")
    assert (code, len(hub_state.downloads())) == (0, 3)
    assert "to fetch in all: 0 bytes" in out


def test_list_says_what_is_there(hub_state: HubState, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "list")
    assert code == 0
    assert "comes with the task" in out
    assert "ready" not in out
    call(capsys, "fetch", "--task", "one")
    _, out, _ = call(capsys, "list")
    assert out.count("ready, pinned") == 1
    (folder / "some" / "set" / "data" / "test-00000-of-00002.parquet").unlink()
    assert "incomplete, pinned" in call(capsys, "list")[1]


def test_a_changed_data_set_and_the_flag(hub_state: HubState, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "fetch", "--task", "one")
    repository = hub_state.repositories["some/set"]
    old = repository.commit
    repository.files["data/test-00001-of-00002.parquet"] = parquet_bytes(rows(4, start=70))
    code, _, err = call(capsys, "fetch", "--task", "one")
    assert code == 2
    assert old in err
    assert repository.commit in err
    assert err.count("\n") == 1
    assert call(capsys, "fetch", "--task", "one", "--accept-new-revision")[0] == 0
    assert read_lock(folder)["some/set:test"].revision == repository.commit


def test_verify_and_lock(hub_state: HubState, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "verify")
    assert (code, "nothing is pinned" in err) == (2, True)
    call(capsys, "fetch", "--task", "one")
    assert call(capsys, "verify")[:2] == (0, "1 splits checked, 0 files differ\n")
    code, _, err = call(capsys, "verify", "--task", "two")
    assert (code, "some/set/sub:val is not pinned" in err) == (2, True)
    path = folder / "some" / "set" / "data" / "test-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    code, _, err = call(capsys, "verify")
    assert code == 1
    assert f"error: {path} is not the pinned file" in err


def test_lock_pins_a_folder_made_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "mine" / "some" / "set" / "test.jsonl", lines(map(text, rows(3))))
    code, out, _ = call(capsys, "lock", "--task", "one", "--data", str(tmp_path / "mine"))
    assert code == 0
    assert "some/set:test  pinned at local:" in out
    path.write_bytes(lines(map(text, rows(4))))
    code, _, err = call(capsys, "lock", "--task", "one", "--data", str(tmp_path / "mine"))
    assert (code, err.count("local:")) == (2, 2)
    assert call(capsys, "lock", "--task", "one", "--data", str(tmp_path / "mine"), "--accept-new-revision")[0] == 0


def test_tasks_of_ones_own_are_known_by_their_folder(
    hub_state: HubState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "task: lladav_theirs\ndataset_path: some/set\ndataset_name: sub\nvalidation_split: val\n"
    write(tmp_path / "theirs" / "theirs.yaml", text.encode())
    theirs = ("--include-path", str(tmp_path / "theirs"))
    for command in (("fetch",), ("lock",), ("verify",), ("export", "--out", str(tmp_path / "out"))):
        code, _, err = call(capsys, *command, "--task", "theirs", *theirs)
        assert code == 0, err
        assert call(capsys, *command, "--task", "theirs")[0] == 2
    assert "\ntheirs" not in call(capsys, "list")[1].replace("│ ", "\n")
    assert "\ntheirs" in call(capsys, "list", *theirs)[1].replace("│ ", "\n")


@pytest.mark.parametrize("text_only", [False, True])
def test_export_writes_a_folder_for_data(
    hub_state: HubState, tmp_path: Path, capsys: pytest.CaptureFixture[str], text_only: bool
) -> None:
    out = tmp_path / "out"
    flags = ["--text-only"] if text_only else []
    assert call(capsys, "export", "--task", "both", "--out", str(out), *flags)[0] == 0
    assert (out / "some" / "set" / "test.parquet").is_file()
    assert (out / "some" / "set" / "sub" / "val.jsonl").is_file()
    table = open_table("some/set", None, "test", data_dir=out)
    assert table.revision == hub_state.repositories["some/set"].commit
    expected = rows(9)
    if text_only:
        assert list(table.rows()) == [text(row) for row in expected]
    else:
        assert [row["image"]["bytes"] for row in table.rows()] == [row["image"]["bytes"] for row in expected]
    assert list(open_table("some/set", "sub", "val", data_dir=out).rows()) == [text(row) for row in rows(3)]
    assert call(capsys, "verify", "--data", str(out))[0] == 0
    code, _, err = call(capsys, "export", "--task", "one", "--out", str(out), "--offline")
    assert (code, "is there already" in err) == (2, True)
    assert not list(out.rglob("*.part"))


def test_export_copies_the_files_that_rows_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "mine"
    write(source / "some" / "set" / "pictures" / "1.png", b"one")
    write(
        source / "some" / "set" / "test.jsonl",
        lines([{"q": 1, "image": {"path": "pictures/1.png"}}, {"q": 2, "image": None}]),
    )
    out = tmp_path / "out"
    assert call(capsys, "export", "--task", "one", "--data", str(source), "--out", str(out))[0] == 0
    table = open_table("some/set", None, "test", data_dir=out)
    assert Path(table.row(0)["image"]["path"]).read_bytes() == b"one"
    assert Path(table.row(0)["image"]["path"]).is_relative_to(out)
    (source / "some" / "set" / "pictures" / "1.png").unlink()
    code, _, err = call(capsys, "export", "--task", "one", "--data", str(source), "--out", str(tmp_path / "again"))
    assert code == 2
    assert "the media file" in err
    assert not (tmp_path / "again" / "some" / "set" / "test.jsonl").exists()


def test_export_says_that_videos_stay_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tasks" / "one.yaml").write_text(YAML["one.yaml"] + "dataset_kwargs: {video: true}\n")
    write(tmp_path / "mine" / "some" / "set" / "test.jsonl", lines([{"video": "1.mp4"}]))
    export = ["export", "--task", "one", "--data", str(tmp_path / "mine"), "--out"]
    code, _, err = call(capsys, *export, str(tmp_path / "out"))
    note = f"note: some/set:test: its videos aren't pinned, copy them to {tmp_path / 'out' / 'some' / 'set'}"
    assert (code, err.strip()) == (0, note)
    assert call(capsys, *export, str(tmp_path / "text"), "--text-only")[2] == ""


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXTS, CELLS = pa.array(["007", "x"]), pa.array([{"bytes": b"png", "path": None}] * 2, IMAGE)
PATHLESS = pa.array([{"bytes": b"png", "path": None}] * 2, pa.struct([("bytes", pa.binary()), ("path", pa.null())]))


def shards(folder: Path, *columns: pa.Array) -> Path:
    """One shard of some/set:test for each content of the column "c"."""
    (folder / "some" / "set").mkdir(parents=True)
    for number, column in enumerate(columns):
        names = ["question", "c"] if number % 2 == 0 else ["c", "question"]
        found = pa.table({"question": ["a", "b"], "c": column}).select(names)
        pq.write_table(
            found.replace_schema_metadata({"kept": "yes"}),
            folder / "some" / "set" / f"test-{number:05}-of-{len(columns):05}.parquet",
        )
    return folder


@pytest.mark.parametrize(
    "columns",
    [
        (pa.nulls(2), TEXTS),
        (TEXTS, pa.nulls(2)),
        (pa.array([7, 8], pa.int32()), pa.array([1, None], pa.int64())),
        (pa.array([0.1, 8], pa.float32()), pa.array([1, None], pa.float64())),
        (TEXTS, TEXTS.cast(pa.large_string()), pa.nulls(2)),
        (pa.nulls(2), CELLS),
        (PATHLESS, CELLS),
        (TEXTS, TEXTS),
    ],
    ids=lambda columns: "-".join(str(column.type)[:12] for column in columns),
)
def test_export_joins_shards_of_different_types(
    columns: tuple[pa.Array, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = shards(tmp_path / "mine", *columns), tmp_path / "out"
    assert call(capsys, "export", "--task", "one", "--data", str(given), "--out", str(out))[0] == 0
    source, target = (open_table("some/set", None, "test", data_dir=folder) for folder in (given, out))
    assert list(target.rows()) == list(source.rows())
    assert target.text_columns == source.text_columns == (("question",) if CELLS in columns else ("question", "c"))
    metadata = pq.read_schema(out / "some" / "set" / "test.parquet").metadata or {}
    assert (b"kept" in metadata) == (columns in ((TEXTS, TEXTS), (TEXTS, pa.nulls(2)))), "metadata can name types"


@pytest.mark.parametrize(
    "columns",
    [
        (pa.array([7, 8]), TEXTS),
        (TEXTS, pa.array([7, 8])),
        (pa.array([7, 8]), pa.array([4.5, None])),
        (pa.array([4.5, None]), pa.array([7, 8])),
        (TEXTS, TEXTS.cast(pa.binary())),
        (CELLS, pa.array([b"png", None])),
        (pa.array([1, 2]), pa.array([True, False])),
    ],
    ids=lambda columns: "-".join(str(column.type)[:12] for column in columns),
)
def test_export_changes_no_value_to_join_shards(
    columns: tuple[pa.Array, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = shards(tmp_path / "mine", *columns), tmp_path / "out"
    code, _, err = call(capsys, "export", "--task", "one", "--data", str(given), "--out", str(out))
    assert (code, err.count("\n")) == (2, 1)
    assert "of-00002.parquet: the column 'c' is of type " in err
    assert "write all of them with one type" in err
    assert not list(out.rglob("*.parquet*"))


def test_export_of_lines_keeps_odd_text_and_media_of_some_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "mine", tmp_path / "out"
    write(source / "some" / "set" / "1.png", b"one")
    given = [{"q": "\ud83d \u00e9"}, {"q": "b", "image": {"path": "1.png"}}, {"q": "c", "image": None}]
    write(source / "some" / "set" / "test.jsonl", lines(given))
    assert call(capsys, "export", "--task", "one", "--data", str(source), "--out", str(out))[0] == 0
    found = list(open_table("some/set", None, "test", data_dir=out).rows())
    assert [row["q"] for row in found] == [row["q"] for row in given]
    assert [row.get("image") for row in found] == [None, {"path": str(out / "some" / "set" / "1.png")}, None]
    assert (out / "some" / "set" / "1.png").read_bytes() == b"one"


def test_export_gives_links_the_names_that_cells_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "mine", tmp_path / "out"
    write(source / "some" / "set" / "blobs" / "0a", b"one")
    (source / "some" / "set" / "images").mkdir()
    (source / "some" / "set" / "images" / "0.png").symlink_to("../blobs/0a")
    (source / "some" / "set" / "pictures").symlink_to("images")
    cells = [{"path": "images/0.png"}, [{"path": "pictures/0.png"}, None, "images/0.png"], " "]
    write(source / "some" / "set" / "test.jsonl", lines([{"image": cell} for cell in cells]))
    assert call(capsys, "export", "--task", "one", "--data", str(source), "--out", str(out))[0] == 0
    first, second, blank = (row["image"] for row in open_table("some/set", None, "test", data_dir=out).rows())
    assert blank == " "
    for cell in (first, second[0], second[2]):
        assert Path(cell["path"]).is_relative_to(out)
        assert Path(cell["path"]).read_bytes() == b"one"


def test_tasks_without_a_data_set_and_unknown_ones(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "fetch", "--task", "own")
    assert (code, "come with the task" in err) == (2, True)
    code, _, err = call(capsys, "fetch", "--task", "ome")
    assert (code, "did you mean one" in err) == (2, True)


def test_the_real_variable_leads_to_the_hub(hub_state: HubState, tmp_path: Path) -> None:
    """HF_ENDPOINT, in a process of its own; and offline afterwards with a hub that is gone."""
    code = (
        "import sys; from pathlib import Path; from lladav_eval.runs import tasks\n"
        "folder = Path(sys.argv.pop(1)); tasks.tasks_dir = lambda: folder\n"
        "from lladav_eval.cli import data, main\n"
        "if not any(g.typer_instance is data.app for g in main.app.registered_groups): data.register(main.app)\n"
        "main.main()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "tasks"), "data"]
    environment = dict(os.environ)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        environment.pop(name)
    fetched = subprocess.run([*command, "fetch", "-t", "one"], env=environment, capture_output=True, text=True)
    assert fetched.returncode == 0, fetched.stderr
    assert "Traceback" not in fetched.stderr
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    gone = subprocess.run([*command, "fetch", "-t", "one"], env=environment, capture_output=True, text=True)
    assert gone.returncode == 3
    assert gone.stderr.strip().splitlines()[-1].startswith("error: the hub can't give some/set:test")
    out = str(tmp_path / "out")
    offline = [*command, "export", "-t", "one", "--out", out, "--offline"]
    assert subprocess.run(offline, env=environment, capture_output=True).returncode == 0
