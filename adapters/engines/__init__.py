"""Engines: what runs the experts."""
