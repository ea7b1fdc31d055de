"""Measures the sidecar: `make bench`. docs/performance.md has the figures and the method."""
