"""What the adapters to HTTP clients have in common: which requests are writes, and what their answers say.

It imports no HTTP client.
"""
