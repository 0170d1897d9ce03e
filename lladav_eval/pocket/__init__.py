"""The embedded default: two tiny trained checkpoints, their data, and how both were made (CARD.md)."""
