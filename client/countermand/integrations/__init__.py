"""Adapters to frameworks. None is imported by itself."""
