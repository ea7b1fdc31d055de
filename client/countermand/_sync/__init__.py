# Derived from client/countermand/_async/__init__.py by scripts/unasync.py. Do not edit.
"""One of the two clients. Async is written, sync is derived from it: see scripts/unasync.py."""
