"""What a run leaves to look at in a browser."""
