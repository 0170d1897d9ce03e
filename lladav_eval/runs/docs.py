"""A benchmark's rows, from the data room, as lmms-eval's task code reads them; media stay undecoded.

lmms-eval's own download fetches every split, unpinned, and lets ``datasets`` decode images (which turns them by their
EXIF data and fills cut-off ones with grey). Here one pinned split is opened, and cells of media stay bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmms_eval.api.task import ConfigurableTask

    from lladav_eval.data.table import Table


class Docs:
    """Rows of a table: what ConfigurableTask uses of a ``datasets.Dataset``, and no more."""

    def __init__(self, table: Table, rows: Sequence[int] | None = None, columns: Sequence[str] | None = None) -> None:
        self.table = table
        self._rows = range(len(table)) if rows is None else rows
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
        return len(self._rows)

    def __getitem__(self, key: int | str) -> Any:
        """One row, or a whole column of text."""
        if isinstance(key, str):
            return [self.table.row(row, (key,))[key] for row in self._rows]
        return self.table.row(self._rows[key], self.column_names)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def where(self, index: int) -> str:
        """File and row, for errors."""
        return self.table.where(self._rows[index])

    def select(self, indices: Sequence[int]) -> Docs:
        """These rows only."""
        return Docs(self.table, [self._rows[index] for index in indices], self.column_names)

    def without_media(self) -> Docs:
        """The same rows without the columns that hold media."""
        return Docs(self.table, self._rows, [name for name in self.column_names if name in self.table.text_columns])


def benchmark_task(config: Mapping[str, Any], table: Table) -> ConfigurableTask:
    """lmms-eval's task object for a YAML's content, on the rows of ``table``."""
    from lmms_eval.api.task import ConfigurableTask

    class BenchmarkTask(ConfigurableTask):  # type: ignore[misc]
        """Reads its rows from the data room instead of downloading them."""

        def download(self, dataset_kwargs: Any = None) -> None:
            docs = Docs(table)
            if self.config.process_docs is not None:
                docs = self.config.process_docs(docs)
            split = self.config.test_split or self.config.validation_split
            self.dataset = {split: docs}
            self.dataset_no_image = {split: docs.without_media()}

    return BenchmarkTask(config=dict(config), model_name="lladav")
