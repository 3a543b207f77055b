"""The frozen diffusion model: loading, quantization, latents, losses of candidate tokens."""
