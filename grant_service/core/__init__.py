"""The rules, and nothing else: no transport, no driver, no clock of its own."""
