"""The gRPC door: it translates, and holds no rule of its own."""
