"""The sidecar: issues revocable grants and decides every commit."""
