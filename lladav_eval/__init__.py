"""Benchmark evaluation for LLaDA-V, a masked-diffusion vision-language model.

model = lladav_eval.load("pocket")
request = lladav_eval.Request("Read the digits.", images=(image,), mode="no_think")
params = lladav_eval.SamplingParams(gen_length=8, block_length=8, steps=8)
print(model.generate([request], params)[0].text)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lladav_eval.records import Generation, Request, SamplingParams

if TYPE_CHECKING:
    from lladav_eval.loading import load
    from lladav_eval.pipeline import LladaV

__version__ = "0.1.0"
__all__ = ["Generation", "LladaV", "Request", "SamplingParams", "load"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for, so that ``lladav-eval --help`` stays fast."""
    if name in ("LladaV", "load"):
        from lladav_eval import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'lladav_eval' has no attribute {name!r}")
