"""Keeps the messages of libraries off the terminal, in our own process and only inside a command."""

from __future__ import annotations

import os
import sys
import warnings


def quiet_libraries(offline: bool = False) -> None:
    """Set up logging and the hub before anything heavy is imported; ``--debug`` leaves all messages on.

    ``offline`` forbids the network to huggingface_hub, datasets and transformers, which read it once, at import.
    """
    if offline:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
            os.environ[name] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if os.environ.get("LLADAV_EVAL_DEBUG"):
        return
    for name, level in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("DATASETS_VERBOSITY", "error"),
        ("HF_HUB_VERBOSITY", "error"),
        ("HF_DATASETS_DISABLE_PROGRESS_BARS", "1"),
        ("LOGURU_AUTOINIT", "0"),  # lmms-eval logs by loguru, whose default sink is stderr
    ):
        os.environ.setdefault(name, level)
    warnings.simplefilter("ignore")
    datasets = sys.modules.get("datasets")
    if datasets is not None:  # already imported, by a program that calls us: too late for its variables
        datasets.disable_progress_bars()
        datasets.logging.set_verbosity_error()
