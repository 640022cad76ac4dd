"""Schemas for data sets whose layout is known: the name of a file is the name of its schema."""
