"""Masked-diffusion sampling: the denoising loop, which sees token ids and logits but never the model."""
