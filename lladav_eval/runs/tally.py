"""What the figures of a task's metrics are made of: items of the samples, and which samples failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lladav_eval.errors import TaskError


class Tally:
    """Items by metric, in the order of the samples.

    A task may give a sample some of its metrics only, as lmms-eval's ChartQA does for its two parts: such a metric is
    a figure of the samples that have it. Which failed samples would have had it, their empty answers tell.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.items: dict[str, list[Any]] = {name: [] for name in names}
        self.clusters: dict[str, list[str | None]] = {name: [] for name in names}
        """Of the items."""
        self._doc_ids: dict[str, list[int]] = {name: [] for name in names}
        self._failed: list[tuple[int, str | None]] = []
        self._in_part: set[str] = set()

    def add(self, doc_id: int, items: Mapping[str, Any], cluster: str | None) -> None:
        """A sample that didn't fail."""
        for name, found in self.items.items():
            if name in items:
                found.append(items[name])
                self.clusters[name].append(cluster)
                self._doc_ids[name].append(doc_id)
            else:
                self._in_part.add(name)

    def add_failed(self, doc_id: int, cluster: str | None) -> None:
        """A sample that failed."""
        self._failed.append((doc_id, cluster))

    def failed(self, name: str, empty: Callable[[int], Mapping[str, Any]]) -> list[tuple[int, str | None]]:
        """(doc_id, cluster) of the failed samples that count in a metric: all but those whose empty answer has others.

        ``empty`` gives the items of a sample's empty answer. Raises TaskError if it does, about a metric that other
        samples lack.
        """
        return [(doc_id, cluster) for doc_id, cluster in self._failed if self._counts(name, doc_id, empty)]

    def in_order(self, name: str, failed: Sequence[tuple[int, str | None]], empty: Sequence[Any]) -> list[Any]:
        """Items of a metric by doc_id, with the ``empty`` ones of its ``failed`` samples among them."""
        every = zip([*self._doc_ids[name], *(doc_id for doc_id, _ in failed)], [*self.items[name], *empty], strict=True)
        return [item for _, item in sorted(every, key=lambda pair: pair[0])]

    def could_have(self, doc_id: int, empty: Callable[[int], Mapping[str, Any]]) -> list[str]:
        """The metrics of a failed sample: those that its empty answer gives, or all where that gives none.

        Raises TaskError if ``empty`` does.
        """
        names = list(self.items)
        return names if len(names) == 1 else [name for name in names if name in empty(doc_id)] or names

    def _counts(self, name: str, doc_id: int, empty: Callable[[int], Mapping[str, Any]]) -> bool:
        try:
            return name in self.could_have(doc_id, empty)
        except TaskError:
            if name in self._in_part:
                raise
            return True
