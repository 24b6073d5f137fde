"""fvis shows what a unit inside a vision network responds to."""

__version__ = "0.1.0"
