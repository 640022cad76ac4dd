"""Balanced synthetic cohorts: real records lend prompts and masks, a generative model draws the images."""
