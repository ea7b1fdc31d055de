"""What is served over HTTP, each on a listener of its own, beside the decisions and never before them."""
