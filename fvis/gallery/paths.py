"""Takes the folders of the machine that made a page out of what the page says."""

import re

# The folders of an absolute path, up to its last name. A folder's name may hold blanks. No path
# starts inside a word ("8/255"), after a dot ("../a") or what ends a pattern ("a/*/b", "a[1]/b"),
# in a tag or a web address ("https://a/b").
FOLDERS = re.compile(r"(?<![\w.~:/<*?!)\]}-])(?:file://)?/+(?=\S)(?:[^/,;:=\[\]{}'\"\n]+/+)*")


def relative(text: str, base: str | None) -> str:
    """The text with every path below the folder `base` given relative to it.

    >>> relative("method.images=/home/me/work/photos/cat.png", "/home/me/work")
    'method.images=photos/cat.png'
    """
    return text.replace(f"{base.rstrip('/')}/", "") if base and base.strip("/") else text


def without_folders(text: str) -> str:
    """The text with every absolute path in it shortened to its last name.

    >>> without_folders("model.checkpoint=/home/me/weights/net.pth engine.steps=8")
    'model.checkpoint=net.pth engine.steps=8'
    >>> without_folders("method.epsilon=8/255 method.images=../photos")
    'method.epsilon=8/255 method.images=../photos'
    >>> without_folders("images=[a/*/*.png,b[1]/c.png,'d (2)/e.png',/home/me/{f,g}/h.png]")
    "images=[a/*/*.png,b[1]/c.png,'d (2)/e.png',{f,g}/h.png]"
    """
    return FOLDERS.sub("", text)
