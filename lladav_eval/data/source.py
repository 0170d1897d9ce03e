"""Where the rows of a task come from: a local folder, the folder of fetched data, or the hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lladav_eval.data.archive import unpack
from lladav_eval.data.hub import Hub, RemoteFile, Selection
from lladav_eval.data.layout import ENDINGS, NoSuchSplit, Split, choose_files
from lladav_eval.data.lock import Entry, PinnedFile, missing_files, pin, read_lock, update_lock, wrong_files
from lladav_eval.data.table import Table
from lladav_eval.errors import EnvironmentError_, TaskError, UsageError

DATA_VARIABLE = "LLADAV_EVAL_DATA"
_PIN_ANEW = "put the pinned data back, or pin these with `lladav-eval data lock --accept-new-revision`"


def default_data_dir() -> Path:
    """The folder of fetched data: $LLADAV_EVAL_DATA, else lladav_eval/data in the user's cache folder."""
    chosen = os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lladav_eval" / "data"


def open_table(
    dataset_path: str,
    dataset_name: str | None,
    split: str,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    revision: str | None = None,
    hub: Hub | None = None,
) -> Table:
    """Open one split.

    With ``data_dir``, its files are read and the network is never touched; so with ``offline``, from the folder of
    fetched data. Otherwise the hub is asked for the split's revision, and what is missing is fetched first.

    Args:
        dataset_path, dataset_name, split: as in a task's YAML.
        revision: the branch or commit wanted from the hub; None is its main branch.

    Raises:
        NoSuchSplit: no such configuration or split (a TaskError).
        TaskError: no such data set, or files that can't be read.
        UsageError: the data changed since they were pinned in the lock file; names old and new revision.
        EnvironmentError_: the hub is needed and can't be reached.
    """
    asked = Split(dataset_path, dataset_name, split)
    if data_dir is None and not offline:
        hub = hub or Hub()
        fetch(plan_fetch(asked, default_data_dir(), hub, revision=revision), hub)
    root = default_data_dir() if data_dir is None else Path(data_dir)
    if data_dir is not None and not root.is_dir():
        raise UsageError(f"--data {root}: no such folder")
    entry = read_lock(root).get(asked.name)
    if entry is not None:
        return _open_pinned(asked, root, entry)
    if data_dir is None:
        raise EnvironmentError_(
            f"{asked.name} has not been fetched to {root}: run the command once without --offline, "
            "or give local files with --data DIR"
        )
    return Table(asked.name, local_files(asked, root), root)


def local_files(split: Split, root: Path) -> list[Path]:
    """The files of a split in a local folder without a lock. Raises NoSuchSplit naming the places looked at."""
    base = root / split.dataset
    folders = [base, base / "data"] + ([base / split.config, base / "data" / split.config] if split.config else [])
    names = [
        path.relative_to(base).as_posix() for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())
    ]
    wanted = f"{root / split.folder / split.split}.parquet or .jsonl"
    try:
        return [base / name for name in choose_files(names, split)]
    except NoSuchSplit as error:
        named = [name for name in names if Path(name).name.startswith(f"{split.split}.")]
        other = next((name for name in named if not name.endswith(ENDINGS)), None)
        unread = f"; {other} is in another format, write its rows in one of these" if other else ""
        raise NoSuchSplit(f"{error}; looked for {wanted}{unread}") from None


def _open_pinned(split: Split, root: Path, entry: Entry) -> Table:
    local, reasons = entry.revision.startswith("local:"), missing_files(root, entry)
    if reasons:
        fix = _PIN_ANEW if local else "fetch it again"
        raise TaskError(f"{split.name} is not as pinned in the lock file: {reasons[0]}; {fix}")
    files = [root / file.path for file in entry.tables]
    if not local:
        return Table(split.name, files, root, entry.revision)
    table = Table(split.name, files, root)
    if table.revision != entry.revision:
        raise changed(split, entry.revision, table.revision, _PIN_ANEW)
    return table


def pin_local(split: Split, root: Path, accept_new_revision: bool = False) -> Entry:
    """Pin the files of a split that lie in a local folder. What the hub's revision pins, and is unchanged, stays so.

    Raises:
        UsageError: other data are pinned and ``accept_new_revision`` is not set.
    """
    pinned = read_lock(root).get(split.name)
    wrong = wrong_files(root, pinned) if pinned is not None else []
    if pinned is not None and not wrong:
        return pinned
    files = local_files(split, root)
    entry = Entry(Table(split.name, files, root).revision, tuple(pin(root, file) for file in files))
    if pinned is not None and not accept_new_revision:
        fix = f"{wrong[0]}; take the new data with --accept-new-revision"
        raise changed(split, pinned.revision, entry.revision, fix)
    update_lock(root, {split.name: entry})
    return entry


def changed(split: Split, old: str, new: str, fix: str) -> UsageError:
    """The error for data that aren't those that were pinned."""
    return UsageError(f"the data set {split.name} changed: pinned revision {old}, now {new}; {fix}")


@dataclass(frozen=True)
class FetchPlan:
    """What a fetch would do."""

    root: Path
    selection: Selection
    missing: tuple[RemoteFile, ...]
    """Files to download."""
    pinned: Entry | None
    """What the lock file says now."""

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.missing)

    @property
    def entry(self) -> Entry:
        """What the lock file says afterwards; media pinned before stay."""
        media = _pinned(self.selection, self.selection.media)
        if not media and self.pinned is not None and self.pinned.revision == self.selection.revision:
            media = self.pinned.media
        return Entry(self.selection.revision, _pinned(self.selection, self.selection.tables), media)


def plan_fetch(
    split: Split,
    root: Path,
    hub: Hub,
    *,
    revision: str | None = None,
    media: Sequence[str] = (),
    accept_new_revision: bool = False,
) -> FetchPlan:
    """Ask the hub what there is and compare it with the lock file; nothing is downloaded.

    A new revision whose files of this split are the same is no change, and the pinned one stays.

    Raises:
        UsageError: the files changed since they were pinned and ``accept_new_revision`` is not set.
    """
    pinned = read_lock(root).get(split.name)
    selection = hub.select(split, revision, media)
    if pinned is not None and pinned.revision != selection.revision:
        same = pinned.tables == _pinned(selection, selection.tables)
        if media and pinned.media:
            same = same and pinned.media == _pinned(selection, selection.media)
        if same:
            selection = hub.select(split, pinned.revision, media)
        elif not accept_new_revision:
            fix = (
                "keep the old one with --offline, or take the new one with "
                "`lladav-eval data fetch --accept-new-revision`"
            )
            raise changed(split, pinned.revision, selection.revision, fix)
    known = {file.path: file for file in (*pinned.tables, *pinned.media)} if pinned else {}
    missing = tuple(file for file in selection.files if not _is_there(file, selection, root, known))
    return FetchPlan(root, selection, missing, pinned)


def fetch(plan: FetchPlan, hub: Hub, report: Callable[[RemoteFile], None] | None = None) -> None:
    """Download what the plan lists, unpack archives of media, pin the revision. Called again, it goes on."""
    split = plan.selection.split
    if plan.missing and plan.pinned is not None and plan.pinned.revision != plan.selection.revision:
        update_lock(plan.root, {split.name: None})  # half old, half new must not pass for either
    hub.download(plan.selection, plan.missing, plan.root, report)
    folder = plan.root / split.dataset
    for file in plan.selection.media:
        if file.path.endswith(".zip"):
            unpack(folder / file.path, folder)
    if plan.entry != plan.pinned:
        update_lock(plan.root, {split.name: plan.entry})


def _pinned(selection: Selection, files: tuple[RemoteFile, ...]) -> tuple[PinnedFile, ...]:
    return tuple(PinnedFile(f"{selection.split.dataset}/{file.path}", file.size, file.hash) for file in files)


def _is_there(file: RemoteFile, selection: Selection, root: Path, known: dict[str, PinnedFile]) -> bool:
    """Whether a file is there as pinned; one that nothing pins counts as missing, and its checksum decides later."""
    path = root / selection.split.dataset / file.path
    pinned = known.get(f"{selection.split.dataset}/{file.path}")
    return pinned is not None and pinned.hash == file.hash and path.is_file() and path.stat().st_size == file.size
