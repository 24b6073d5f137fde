"""One module for each kind of hostile case; each has `make(rng)`, which draws one case."""
