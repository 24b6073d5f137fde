"""A clip as a texture that moves: warping, decomposition, readout, pictures."""
