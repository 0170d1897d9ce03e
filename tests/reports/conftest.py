"""Settings of the reports' tests."""

from __future__ import annotations

from hypothesis import settings

# A shared machine can be slow; a test that takes long is no wrong test.
settings.register_profile("reports", deadline=None)
settings.load_profile("reports")
