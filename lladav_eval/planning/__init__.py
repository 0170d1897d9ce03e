"""Estimates of a run without running it: tokens, floating-point operations, memory, time."""
