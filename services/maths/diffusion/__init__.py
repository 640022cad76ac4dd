"""Diffusion models apart from their networks: noise schedules, scalings, samplers, guidance, embedding paths."""
