"""Entry point of group ``lmms_eval.models``: lets plain ``lmms-eval --model lladav`` find us. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest


def lladav() -> ModelManifest:
    """What lmms-eval needs to know to load ``--model lladav``."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="lladav", simple_class_path="lladav_eval.adapters.lmms.Lladav", aliases=("llada_v",))
