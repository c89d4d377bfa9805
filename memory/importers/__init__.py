"""Readers of review files, one module a format."""
