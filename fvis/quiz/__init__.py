"""The page on which people judge pictures, and how their answers are counted."""
