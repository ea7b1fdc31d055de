"""The owner inside the process: what is started here stops together, and is named if it will not."""
