"""Sampling diffusion models for many callers at once: families of models, one engine of rows, records of images."""
