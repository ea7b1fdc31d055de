"""Tokens: bytes only. What a token may do is the store's business."""
