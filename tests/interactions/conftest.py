"""The browser that looks at the page of interactions."""

from tests.gallery.conftest import _chromium, browser

__all__ = ["_chromium", "browser"]
