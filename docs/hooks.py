"""What the site has beside the pages of this folder, for MkDocs: pages from files, and formulas.

The README is the site's first page, the changelog its last, and the settings reference is made from
the comments in `configs`. Formulas become MathML, which browsers show without a script.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
GROUPS = (
    *("model", "target", "method", "parametrization", "transforms"),
    *("prior", "engine", "execution", "output", "grounding", "evidence"),
)
SETTING = re.compile(r"( *)(\w+):(?: +([^#]*?))?(?: *# ?(.*))?")
COMMENT = re.compile(r" *# ?(.*)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


@dataclass
class Setting:
    """A line of a config: the setting's dotted name, its value, and the comment on it."""

    name: str
    value: str
    meaning: str


def settings_of(text: str) -> tuple[str, list[Setting]]:
    """A config's first comment, and its settings in order; `defaults` are left out.

    >>> settings_of("# Speed.\\nengine:\\n  lr: 0.1   # the rate\\n           # of steps\\n")
    ('Speed.', [Setting(name='engine.lr', value='0.1', meaning='the rate of steps')])
    """
    intro: list[str] = []
    found: list[Setting] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        comment, setting = COMMENT.fullmatch(line), SETTING.fullmatch(line)
        if comment and found:
            found[-1].meaning = f"{found[-1].meaning} {comment[1]}".strip()
        elif comment:
            intro.append(comment[1])
        elif setting:
            indent, name = len(setting[1]), setting[2]
            parents = [parent for parent in parents if parent[0] < indent]
            dotted = ".".join([*(parent for _, parent in parents), name])
            parents.append((indent, name))
            found.append(Setting(dotted, setting[3] or "", setting[4] or ""))
    outer = {".".join(one.name.split(".")[:-1]) for one in found}
    return " ".join(intro), [one for one in found if one.name not in outer | {"defaults"}]


def settings_page() -> str:
    """The settings reference, in Markdown: a table for each choice of each group."""
    lines = [
        "# Settings",
        "`group=choice` picks a file of `configs`, `group.setting=value` sets one value of it. "
        "What follows is made from the comments in these files.",
    ]
    for group in GROUPS:
        files = sorted((ROOT / "configs" / group).glob("*.yaml"))
        for number, file in enumerate(files):
            intro, settings = settings_of(file.read_text(encoding="utf-8"))
            lines += [f"## {group}"] if number == 0 else []
            lines += [f"### {group}={file.stem}"] if len(files) > 1 else []
            lines += [intro, "\n".join(_table(group, settings))]
    return "\n\n".join(line for line in lines if line) + "\n"


def _table(group: str, settings: list[Setting]) -> Iterator[str]:
    if settings:
        yield "| setting | default | meaning |\n| --- | --- | --- |"
    for one in settings:
        cells = (f"`{group}.{one.name}`", f"`{one.value}`" if one.value else "", one.meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def front_page() -> str:
    """The README as a page of this folder."""
    return (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .replace("](docs/", "](")
        .replace('src="docs/', 'src="')
    )


def pages() -> dict[str, str]:
    """The generated pages' Markdown, by their paths in the site's sources."""
    return {
        "index.md": front_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "reference/settings.md": settings_page(),
    }


def on_files(files: Any, config: Any) -> Any:
    """MkDocs: add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """MkDocs: turn formulas into MathML."""
    from latex2mathml.converter import convert

    def shown(found: re.Match[str]) -> str:
        display = "block" if found[2] == "[" else "inline"
        return convert(html.unescape(found[3]).strip(), display=display)

    return FORMULA.sub(shown, content)
