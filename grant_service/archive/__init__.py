"""The archive: files that hold what the store lets go of, and that reports are still told from."""
