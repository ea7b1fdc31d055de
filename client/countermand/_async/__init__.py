"""One of the two clients. Async is written, sync is derived from it: see scripts/unasync.py."""
