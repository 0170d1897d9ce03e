"""The sizes of a model from its config alone; no weights are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lladav_eval.errors import CheckpointError, EnvironmentError_, UsageError, one_line
from lladav_eval.model.checkpoint import HUB_NAME, OFFICIAL, find_checkpoint
from lladav_eval.model.config import ModelConfig, parse_config, read_config
from lladav_eval.model.official import OFFICIAL_FIELDS, OFFICIAL_VOCABULARY
from lladav_eval.processing.chat import ChatTokenizer

OFFICIAL_SOURCE = "those of the authors' files, as the hub wasn't asked or reached"


@dataclass(frozen=True)
class Sizes:
    """What an estimate needs of a model."""

    config: ModelConfig
    vocabulary: int
    tokenizer: ChatTokenizer | None
    """None where only config.json is at hand."""
    source: str
    """Where the sizes come from."""


def find_sizes(name: str, offline: bool = False) -> Sizes:
    """Sizes of an embedded model, a directory (config.json is enough), or a hub name (only config.json is fetched).

    Raises:
        UsageError: another kind of model.
        CheckpointError: no such model, or a config that isn't a LLaDA-V's.
        EnvironmentError_: the hub is needed and can't be reached.
    """
    kind = name.partition(":")[0]
    if kind in ("hf", "openai", "lmms", "replay"):
        raise UsageError(f"{name}: only LLaDA-V checkpoints can be planned; {kind}: models can be run")
    if HUB_NAME.fullmatch(name) and not Path(name).expanduser().exists():
        return _from_hub(name, offline)
    directory = find_checkpoint(name, offline)
    config = read_config(directory)
    tokenizer = ChatTokenizer.from_dir(directory) if (directory / "tokenizer.json").is_file() else None
    vocabulary = _vocabulary(config) if tokenizer is None else len(tokenizer)
    return Sizes(config, vocabulary, tokenizer, str(directory / "config.json"))


def _from_hub(name: str, offline: bool) -> Sizes:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        config = read_config(Path(hf_hub_download(name, "config.json", local_files_only=offline)).parent)
        return Sizes(config, _vocabulary(config), None, f"config.json of {name}")
    except RepositoryNotFoundError:
        raise CheckpointError(f"{name}: the hub has no such model, or it is private; check the name") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if name == OFFICIAL:
            return Sizes(
                parse_config(OFFICIAL_FIELDS),
                OFFICIAL_VOCABULARY,
                None,
                OFFICIAL_SOURCE,
            )
        reason = "is not in the local cache" if offline else f"could not be fetched ({one_line(error)})"
        raise EnvironmentError_(
            f"config.json of {name} {reason}; give a directory that holds it, or plan for {OFFICIAL}"
        ) from None


def _vocabulary(config: ModelConfig) -> int:
    """Without a tokenizer to cut it, the vocabulary is the config's; the official tokenizer's length is known."""
    return OFFICIAL_VOCABULARY if config.vocab_size == OFFICIAL_FIELDS["vocab_size"] else config.vocab_size
