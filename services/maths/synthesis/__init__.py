"""Balanced draws of real records for synthetic cohorts, after Skorupko et al. 2024 (arXiv 2403.19508)."""
