"""The page on which a browser shows the units of runs."""
