"""The tools that are measured: one module each, with `DISTRIBUTION` and `measure`."""
