"""Doors to models: ours for lmms-eval, and everything our run loop can ask."""
