"""Metrics, baselines, benchmarks."""
