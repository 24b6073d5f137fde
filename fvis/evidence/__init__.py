"""How far to believe a picture: what networks, other seeds and photographs say of it."""
