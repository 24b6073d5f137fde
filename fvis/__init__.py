"""fvis shows what a unit inside a vision network responds to."""

from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "visualize"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: the command line starts without."""
    if name == "visualize":
        from fvis.notebook import visualize

        return visualize
    raise AttributeError(f"module 'fvis' has no attribute {name!r}")
