"""The Countermand sidecar: decides whether an action may still happen."""
