"""The one error a user's request can raise, and the nearest valid names it offers."""

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """A request that cannot be carried out as written: one line, shown with exit status 2."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> RequestError:
    """A `RequestError` for a name that does not exist, with up to three names close to it."""
    names = sorted(set(valid))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near = near or [other for other in names if name and name.lower() in other.lower()][:3]
    if near:
        return RequestError(f"no {kind} {name!r}; nearest: {', '.join(near)}")
    if len(names) <= 12:
        return RequestError(f"no {kind} {name!r}; there are: {', '.join(names)}")
    return RequestError(f"no {kind} {name!r}")
