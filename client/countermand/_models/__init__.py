"""What the sidecar answers, as small frozen values.

Times are by its store's clock, in UTC, and None where nothing happened.
"""
