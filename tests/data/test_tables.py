"""Tables: values, laziness, shards, media cells, and one clear error for every kind of damage."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_samples import lines, parquet_bytes, rows, text, write

from lladav_eval.data.table import Table
from lladav_eval.errors import MediaError, TaskError


def table(*files: Path, root: Path | None = None) -> Table:
    return Table("a/b:test", files, root or files[0].parent)


def test_parquet_rows_come_back_as_written(tmp_path: Path) -> None:
    given = rows(11)
    split = table(write(tmp_path / "test.parquet", parquet_bytes(given)))
    assert len(split) == 11
    assert split.columns == ("question", "answer", "options", "image")
    assert split.text_columns == ("question", "answer", "options")
    for index in (0, 10, 3, 4, 4, 1):
        assert split.row(index) == text(given[index]) | {"image": {"bytes": given[index]["image"]["bytes"]}}
    assert list(split.rows(split.text_columns)) == [text(row) for row in given]
    assert split.row(7, ["options", "question"]) == {"options": ["a", "b7"], "question": given[7]["question"]}
    assert list(split.rows([])) == [{}] * 11


def test_shards_are_one_table_in_order(tmp_path: Path) -> None:
    given = rows(9)
    files = [
        write(tmp_path / f"test-{index:05}-of-00003.parquet", parquet_bytes(given[3 * index : 3 * index + 3], group=2))
        for index in range(3)
    ]
    split = table(*files)
    assert [row["answer"] for row in split.rows(["answer"])] == list(range(9))
    assert [split.row(index, ["answer"])["answer"] for index in (8, 0, 5)] == [8, 0, 5]
    assert "00002" in split.where(7)
    assert "row 7 (1 of this file)" in split.where(7)


def test_media_columns_are_not_read_unless_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "test.parquet", parquet_bytes(rows(8), group=8))
    group = pq.ParquetFile(path).metadata.row_group(0)
    damaged = bytearray(path.read_bytes())
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema.startswith("image."):
            first = column.dictionary_page_offset or column.data_page_offset
            damaged[first : first + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(bytes(damaged))
    split = table(path)
    assert [row["answer"] for row in split.rows(split.text_columns)] == list(range(8))
    assert split.row(3, ["question"])["question"] == "What is 3? é"
    with pytest.raises(TaskError, match=r"test\.parquet: rows from 0 on can't be read"):
        split.row(0)
    with pytest.raises(TaskError, match="can't be read"):
        split.row(0)


def test_jsonl_rows_and_media(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(b"png")
    given: list[dict[str, Any]] = [
        {"question": "a b", "image": {"path": "pictures/1.png"}},
        {"question": "\u2028 kept", "image": None},
        {"question": "c", "image": {"bytes": base64.b64encode(b"raw").decode()}},
        {"question": "d", "image": [{"path": "pictures/1.png"}, None]},
    ]
    split = table(write(tmp_path / "test.jsonl", b"\xef\xbb\xbf" + lines(given)))
    assert split.text_columns == ("question",)
    found = {"path": str((tmp_path / "pictures" / "1.png").resolve())}
    assert [row["image"] for row in split.rows()] == [found, None, {"bytes": b"raw"}, [found, None]]
    assert split.row(0) == {"question": "a b", "image": found}
    assert split.row(1) == given[1]
    assert split.where(1).endswith("test.jsonl, row 1 (line 2)")


def test_a_json_list_is_a_table_too(tmp_path: Path) -> None:
    split = table(
        write(tmp_path / "sub.json", json.dumps([{"q": 1, "v": {"path": "x.mp4"}}, {"q": 2, "v": None}]).encode())
    )
    assert split.row(0)["v"] == {"path": str(tmp_path / "x.mp4")}
    assert split.row(0)["v"] == {"path": str(tmp_path / "x.mp4")}, "reading a row must not change it"
    assert [row["q"] for row in split.rows(["q"])] == [1, 2]


def test_the_digest_is_of_the_text_whatever_the_format(tmp_path: Path) -> None:
    given = rows(5)
    parquet = table(write(tmp_path / "1.parquet", parquet_bytes(given)))
    other_images = [text(row) | {"image": {"bytes": b"other", "path": None}} for row in given]
    repainted = table(write(tmp_path / "2.parquet", parquet_bytes(other_images, group=2)))
    json_lines = table(write(tmp_path / "3.jsonl", lines([text(row) | {"image": None} for row in given])))
    assert parquet.revision == repainted.revision == json_lines.revision
    assert parquet.revision.startswith("local:")
    changed = [text(row) | {"answer": 7} for row in given]
    assert table(write(tmp_path / "4.jsonl", lines(changed))).revision != parquet.revision


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret.png", "must be relative"),
        ("pictures/../../secret.png", "must be relative"),
        ("/etc/hostname", "must be relative"),
        ("C:\\secret.png", "must be relative"),
        ("..\\secret.png", "must be relative"),
        ("", "must be relative"),
        ("link/secret.png", "leads out of the data folder"),
        ("link.png", "leads out of the data folder"),
        (7, "must be relative"),
        ("x" * 3000, "no file can have this name"),
        ("a\ud800.png", "no file can have this name"),
    ],
)
def test_media_paths_that_leave_the_folder_are_refused(tmp_path: Path, path: str, reason: str) -> None:
    write(tmp_path / "secret.png", b"secret")
    root = tmp_path / "data"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    split = table(write(root / "test.jsonl", lines([{"q": "a", "image": {"path": path}}])))
    with pytest.raises(MediaError, match=rf"test.jsonl, row 0 .*{reason}"):
        split.row(0)
    assert split.row(0, ["q"]) == {"q": "a"}


@pytest.mark.parametrize(
    "cell",
    [
        {"path": "/etc/hostname", "width": 4},
        {"path": "../secret.png", "bytes": None, "width": 4},
        [{"path": "1.png"}, "/etc/hostname"],
        [{"path": "1.png"}, "../secret.png"],
        [{"path": "1.png"}, 7],
        [[{"path": "/etc/hostname", "x": 1}]],
    ],
)
def test_whatever_names_a_file_is_held_inside_the_folder(tmp_path: Path, cell: Any) -> None:
    split = table(write(tmp_path / "test.jsonl", lines([{"q": "a", "image": cell}])))
    assert split.text_columns == ("q",)
    with pytest.raises(MediaError, match=r"test\.jsonl, row 0 .* is refused: it must be relative"):
        split.row(0)


def test_media_with_more_than_bytes_and_path(tmp_path: Path) -> None:
    """A struct of width and path is a medium in parquet as well as in JSON, and its path is held inside the folder."""
    cells = [{"path": "1.png", "width": 4}, {"path": "/etc/hostname", "width": 4}]
    path = tmp_path / "test.parquet"
    pq.write_table(pa.table({"q": ["a", "b"], "image": cells}), path)
    for split in (
        table(path),
        table(write(tmp_path / "test.jsonl", lines([{"q": q, "image": c} for q, c in zip("ab", cells, strict=True)]))),
    ):
        assert split.text_columns == ("q",)
        assert split.row(0)["image"] == {"path": str(tmp_path / "1.png")}
        with pytest.raises(MediaError, match="must be relative"):
            split.row(1)


def test_media_are_found_from_the_split_up_to_the_root(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "images" / "1.png", b"png")
    split = table(
        write(tmp_path / "a" / "b" / "c" / "test.jsonl", lines([{"i": {"path": "images/1.png"}}])), root=tmp_path
    )
    assert split.row(0)["i"] == {"path": str(tmp_path / "a" / "b" / "images" / "1.png")}


GOOD = lines([{"q": 1}, {"q": 2}])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.jsonl", GOOD[:-5], r"test\.jsonl, line 2: the file ends in the middle of this line"),
        ("test.jsonl", GOOD + b"{oops}\n", r"test\.jsonl, line 3 is not JSON"),
        ("test.jsonl", GOOD + b"[1]\n", r"test\.jsonl, line 3 is not a JSON object but list"),
        ("test.jsonl", b'{"q": 1}\n\n{"q": 2}\n', r"test\.jsonl, line 2 is empty"),
        ("test.jsonl", b'{"q": "\xff"}\n', r"test\.jsonl, line 1 is not JSON"),
        ("test.jsonl", b"[" * 100_000 + b"\n", r"test\.jsonl, line 1 is not a row: it is nested too deeply"),
        ("test.jsonl", b"", "the split a/b:test has no rows"),
        ("test.json", b'{"q": 1}', "must be a list of rows, not dict"),
        ("test.json", b'[{"q": 1}, 2]', "row 1 is not a JSON object but int"),
        ("test.json", b"[{", "is not JSON"),
        ("test.parquet", b"", r"test\.parquet is empty \(0 bytes\)"),
        ("test.parquet", b"not parquet at all", r"test\.parquet is not a parquet file"),
        ("test.parquet", parquet_bytes(rows(8))[:-20], "is not a parquet file, or is cut off"),
        ("test.parquet", parquet_bytes([]), "the split a/b:test has no rows"),
        ("test.csv", b"a,b", r"can't read test\.csv"),
    ],
)
def test_damaged_files_are_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(TaskError, match=message) as caught:
        table(path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_unknown_columns_and_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "test.parquet", parquet_bytes(rows(3)))
    for split in (table(path), table(write(tmp_path / "test.jsonl", lines(map(text, rows(3)))))):
        with pytest.raises(TaskError, match=r"lacks the columns 'hint', 'x' of a/b:test: it has question, answer"):
            split.row(0, ["question", "hint", "x"])
        with pytest.raises(TaskError, match="lacks the column 'hint'"):
            list(split.rows(["hint"]))
        for index in (-1, 3):
            with pytest.raises(IndexError, match="rows 0 to 2"):
                split.row(index)


def test_a_row_without_a_column_that_others_have(tmp_path: Path) -> None:
    given = [{"q": 1, "a": 2, "image": {"bytes": ""}}, {"q": 1}]
    for path, content in (("test.jsonl", lines(given)), ("test.json", json.dumps(given).encode())):
        split = table(write(tmp_path / path, content))
        assert split.row(1) == {"q": 1}
        assert list(split.rows(["a"])) == [{"a": 2}, {"a": None}]
        assert split.row(1, split.columns) == {"q": 1, "a": None, "image": None}


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary()),
        pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())]),
    ],
)  # fmt: skip
def test_bytes_are_media_however_arrow_keeps_them(tmp_path: Path, kind: pa.DataType) -> None:
    cell = {"bytes": b"p", "path": None} if pa.types.is_struct(kind) else b"p"
    columns = {"q": pa.array(["a"], pa.string_view()), "image": pa.array([cell], kind)}
    if not pa.types.is_dictionary(kind):
        columns["several"] = pa.array([[cell]], pa.large_list(kind))
    pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    split = table(tmp_path / "test.parquet")
    assert split.text_columns == ("q",)
    assert split.row(0) == {
        "q": "a", "image": {"bytes": b"p"}, **({"several": [{"bytes": b"p"}]} if len(columns) == 3 else {})
    }  # fmt: skip


def test_shards_with_other_columns_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "test-00000-of-00002.parquet", parquet_bytes(rows(2)))
    second = tmp_path / "test-00001-of-00002.parquet"
    pq.write_table(pa.table({"question": ["x"]}), second)
    with pytest.raises(TaskError, match=r"00001-of-00002.parquet has other columns than .*: answer, image, options"):
        table(first, second)


def test_a_large_split_opens_at_once_and_stays_small(tmp_path: Path) -> None:
    """17,997 rows with 0.9 GB of images: only the footer and the text are read."""
    path = tmp_path / "test.parquet"
    schema = pa.schema(
        [("question", pa.string()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    )
    content = pa.array([b"\x89PNG" * 12_500] * 500)
    with pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=False, write_statistics=False) as writer:
        for start in range(0, 17_997, 500):
            count = min(500, 17_997 - start)
            questions = pa.array([f"question {index} " * 20 for index in range(start, start + count)])
            names = pa.array(["1.png"] * count)
            images = pa.StructArray.from_arrays([content[:count], names], fields=list(schema.field("image").type))
            writer.write_table(pa.Table.from_arrays([questions, images], schema=schema))
    code = f"""
import json, time
from pathlib import Path
from lladav_eval.data.table import Table
begin = time.perf_counter()
table = Table("a/b:test", [Path({str(path)!r})], Path({str(tmp_path)!r}))
opened = time.perf_counter() - begin
count = sum(1 for row in table.rows(table.text_columns))
text = time.perf_counter() - begin - opened
size = len(table.row(17_000)["image"]["bytes"])
status = Path("/proc/self/status").read_text()  # ru_maxrss would count the process that started this one
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps(dict(opened=opened, text=text, count=count, size=size, peak=peak)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    facts = json.loads(out)
    print(facts)
    assert facts["count"] == 17_997
    assert facts["size"] == 50_000
    assert facts["opened"] < 2
    assert facts["text"] < 5
    assert facts["peak"] < 500, "MiB"
