"""Measurements of the running service, by hand.

`python -m benchmarks --help`. Figures: docs/performance.md.
"""
