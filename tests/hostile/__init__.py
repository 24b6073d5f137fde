"""Hostile input for the whole command line, and the judge of what becomes of it."""
