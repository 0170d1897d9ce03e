"""Data sets: tables of one split with lazily read media, where their files come from, and which revision is pinned."""
