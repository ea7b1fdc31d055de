"""Countermand: authority for AI agents that can be taken back."""
