"""InfographicVQA (validation): questions on infographics, asked like DocVQA's.

Source: tasks/infovqa of the authors' fork, whose prompt is the one they use for DocVQA.
"""

from __future__ import annotations

from lladav_eval.prompts.docvqa import doc_to_text, doc_to_visual

__all__ = ["doc_to_text", "doc_to_visual"]
