from __future__ import annotations

from pathlib import Path

import pytest
from toy_processing import make_config, write_tokenizer

from lladav_eval.model.config import ModelConfig
from lladav_eval.processing.chat import ChatTokenizer


@pytest.fixture
def tokenizer_dir(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path)


@pytest.fixture(scope="session")
def toy_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer.from_dir(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="session")
def toy_config() -> ModelConfig:
    return make_config(16)
