"""What the gallery costs a browser's main thread.

`python -m tests.benchmarks.gallery [--units N] [--limit SECONDS] [--json FILE]` makes a run of N
tiny units (2,000), opens its page in a headless Chromium and prints the main thread's seconds to
load it, to filter, to sort, to open a unit's page and to scroll through all. Exit status 1 if
loading takes the limit (2 s) or more.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fvis.artifacts import write_json
from fvis.gallery.page import write_index
from tests.gallery.conftest import Browser
from tests.gallery.fake_runs import attack_unit, clip_unit, image_unit, write_run

PARTS = ("TaskDuration", "ThreadTime", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
SETTLED = 1.5  # seconds without anything new to do
CHOOSE = """(() => {
  const select = document.querySelector(arguments[0]);
  select.value = arguments[1];
  select.dispatchEvent(new Event('change'));
})()"""
TYPE = """(() => {
  const field = document.getElementById('text');
  field.value = arguments[0];
  field.dispatchEvent(new Event('input'));
})()"""
SCROLL = "window.scrollBy(0, 3 * window.innerHeight)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table; 1 where loading reaches the limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gallery", description=__doc__)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument(
        "--limit", type=float, default=2.0, help="seconds that loading may take (2)"
    )
    parser.add_argument("--json", type=Path, help="where to write the numbers too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        page = make_page(Path(folder), options.units)
        size = page.stat().st_size
        found = measure(page)
    sys.stdout.write(f"{options.units} units, a page of {size / 1e6:.1f} MB\n\n")
    sys.stdout.write("| main thread, seconds | all | on a processor | script | layout | style |\n")
    sys.stdout.write("| --- | --- | --- | --- | --- | --- |\n")
    for name, parts in found.items():
        cells = " | ".join(f"{parts[part]:.3f}" for part in PARTS)
        sys.stdout.write(f"| {name} | {cells} |\n")
    if options.json is not None:
        write_json(options.json, {"units": options.units, "bytes": size, "seconds": found})
    return int(found["load"]["TaskDuration"] >= options.limit)


def make_page(base: Path, count: int) -> Path:
    """A page over three runs, of images, clips and attacks, with `count` units in all."""
    kinds = {"images": image_unit, "clips": clip_unit, "attacks": attack_unit}
    runs = []
    for k, (name, unit) in enumerate(kinds.items()):
        runs.append(write_run(base / name, [unit(i) for i in range(k, count, len(kinds))]))
    return write_index(runs, base / "index.html")


def measure(page: Path) -> dict[str, dict[str, float]]:
    """Seconds of the main thread, by what is done and part."""
    browser = Browser()
    try:
        browser.driver.execute_cdp_cmd("Performance.enable", {})
        found = {}
        browser.driver.get("about:blank")
        found["load"] = _spent(browser, lambda: browser.driver.get(page.as_uri()), fresh=True)
        choose, text = CHOOSE, TYPE
        found["filter by status"] = _spent(
            browser, lambda: browser.js(choose, "[data-key=status]", "rescued")
        )
        found["show all again"] = _spent(
            browser, lambda: browser.js(choose, "[data-key=status]", "")
        )
        found["filter by text"] = _spent(browser, lambda: browser.js(text, "layer2 1"))
        browser.js(text, "")
        found["sort by activation"] = _spent(
            browser, lambda: browser.js(choose, "#sort", "-activation")
        )
        found["open a unit"] = _spent(
            browser, lambda: browser.js("document.querySelector('.card a').click()")
        )
        found["back to all"] = _spent(
            browser, lambda: browser.js("document.getElementById('back').click()")
        )
        found["scroll by three screens, ten times"] = _spent(browser, lambda: _scroll(browser))
    finally:
        browser.driver.quit()
    return found


def _scroll(browser: Browser) -> None:
    for _ in range(10):
        browser.js(SCROLL)
        time.sleep(0.1)


def _spent(browser: Browser, act: Callable[[], object], fresh: bool = False) -> dict[str, float]:
    """What `act` costs till the page has settled; a fresh page's clock starts at nothing."""
    before = dict.fromkeys(PARTS, 0.0) if fresh else _clock(browser)
    act()
    time.sleep(SETTLED)
    after = _clock(browser)
    return {part: after[part] - before[part] for part in PARTS}


def _clock(browser: Browser) -> dict[str, float]:
    metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return {metric["name"]: metric["value"] for metric in metrics if metric["name"] in PARTS}


if __name__ == "__main__":
    sys.exit(main())
