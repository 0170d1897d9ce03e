"""The LLaDA-V model: SigLIP tower, connector, LLaDA transformer, and how checkpoints become one of them."""
