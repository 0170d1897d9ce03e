"""A benchmark's rows, from the data room, as lmms-eval's task code reads them; media stay undecoded.

lmms-eval's own download fetches every split, unpinned, and lets ``datasets`` decode images (which turns them by their
EXIF data and fills cut-off ones with grey). Here one pinned split is opened, and cells of media stay bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lladav_eval.errors import TaskError

if TYPE_CHECKING:
    from lmms_eval.api.task import ConfigurableTask

    from lladav_eval.data.table import Table


class Docs:
    """Rows of a table: what ConfigurableTask uses of a ``datasets.Dataset``, and no more."""

    def __init__(self, table: Table, rows: Sequence[int] | None = None, columns: Sequence[str] | None = None) -> None:
        self.table = table
        self.places: Sequence[int] = range(len(table)) if rows is None else rows
        """Where the rows stand in the table."""
        self.column_names = list(table.columns if columns is None else columns)

    @property
    def features(self) -> dict[str, None]:
        """Column names, as the keys of a mapping."""
        return dict.fromkeys(self.column_names)

    @property
    def _fingerprint(self) -> str:
        """Read by the run's manifest: which data these are."""
        return self.table.revision

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: int | str) -> Any:
        """One row, or a whole column of text."""
        if isinstance(key, str):
            return [self.table.row(row, (key,))[key] for row in self.places]
        return self.table.row(self.places[key], self.column_names)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def where(self, index: int) -> str:
        """File and row, for errors."""
        return self.table.where(self.places[index])

    def select(self, indices: Sequence[int]) -> Docs:
        """These rows only."""
        return Docs(self.table, [self.places[index] for index in indices], self.column_names)

    def without_media(self) -> Docs:
        """The same rows without the columns that hold media."""
        return Docs(self.table, self.places, [name for name in self.column_names if name in self.table.text_columns])


def rows_where(table: Table, where: Mapping[str, Any], columns: Iterable[str] = ()) -> list[tuple[int, dict[str, Any]]]:
    """(position in the table, these text columns) of the rows that ``where`` chooses."""
    read = tuple(dict.fromkeys((*columns, *where)))
    return [
        (place, row)
        for place, row in enumerate(table.rows(read))
        if all(row[name] == value for name, value in where.items())
    ]


def _chosen(table: Table, process_docs: Callable[[Docs], Any] | None, where: Mapping[str, Any]) -> Docs:
    """The task's rows. Raises TaskError where scoring recorded answers, which goes by ``where``, would take others."""
    named: Sequence[int] = [place for place, _ in rows_where(table, where)] if where else range(len(table))
    if where and not named:
        raise TaskError(f"no row has {dict(where)}: the split is empty for this task")
    docs: Any = Docs(table)
    if process_docs is not None:
        try:
            docs = process_docs(docs)
        except AttributeError as error:
            offered = "column_names, rows[COLUMN] and select(INDICES)"
            raise TaskError(f"process_docs: {error}; a benchmark's rows have {offered}") from None
    if not isinstance(docs, Docs) or list(docs.places) != list(named):
        chosen = f"those with {dict(where)}" if where else "all, as there is no `where`"
        raise TaskError(f"process_docs must choose the same rows as metadata.where ({chosen}), in their order")
    return docs


def benchmark_task(config: Mapping[str, Any], table: Table) -> ConfigurableTask:
    """lmms-eval's task object for a YAML's content, on the rows of ``table``."""
    from lmms_eval.api.task import ConfigurableTask

    class BenchmarkTask(ConfigurableTask):  # type: ignore[misc]
        """Reads its rows from the data room instead of downloading them."""

        def download(self, dataset_kwargs: Any = None) -> None:
            docs = _chosen(table, self.config.process_docs, (self.config.metadata or {}).get("where") or {})
            split = self.config.test_split or self.config.validation_split
            self.dataset = {split: docs}
            self.dataset_no_image = {split: docs.without_media()}

    return BenchmarkTask(config=dict(config), model_name="lladav")
