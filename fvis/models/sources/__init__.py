"""Model sources: one module for each value of `model.source`."""
