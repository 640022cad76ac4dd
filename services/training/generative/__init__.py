"""Recipes of generative models: diffusion in pixels and in latents, what their text encoder learns from, upscaling."""
