"""The papers' figures, laid out from the records of runs."""
