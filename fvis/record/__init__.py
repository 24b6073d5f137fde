"""run.json and metadata.json as types: written by runs, read by everything else."""
