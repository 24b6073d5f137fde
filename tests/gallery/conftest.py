"""A headless Chromium, and the page's own errors."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """A headless Chromium that looks at files, as a reader would open them."""

    def __init__(self) -> None:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})  # type: ignore[no-untyped-call]
        self.driver = Chrome(options, Service(shutil.which("chromedriver")))
        self.size(1280, 900)

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a page afresh from its file."""
        self.driver.get("about:blank")
        self.errors()
        self.driver.get(page.resolve().as_uri() + fragment)

    def js(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression; `arguments[i]` are what is passed."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver import ActionChains

        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def hover(self, selector: str) -> None:
        """Move the pointer over an element."""
        from selenium.webdriver import ActionChains

        target = self.driver.find_element("css selector", selector)
        ActionChains(self.driver).move_to_element(target).perform()

    def wait(self, condition: str) -> None:
        """Wait till a JavaScript condition holds."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 20, 0.05).until(lambda _: self.js(f"Boolean({condition})"))

    def size(self, width: int, height: int) -> None:
        """The page's size in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str = "light", motion: str = "no-preference") -> None:
        """What the reader's system asks pages for."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def violations(self) -> list[str]:
        """What axe finds wrong with the page as it is shown; no axe: the test is skipped."""
        axe = pytest.importorskip("selenium_axe_python", reason="no axe: pip install 'fvis[dev]'")
        checker = axe.Axe(self.driver)
        checker.inject()
        found = checker.run()["violations"]
        return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]

    def errors(self) -> list[str]:
        """What the console has said since last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Browser]:
    pytest.importorskip("selenium", reason="no selenium: pip install 'fvis[dev]'")
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: apt-get install chromium chromium-driver")
    browser = Browser()
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(_chromium: Browser) -> Iterator[Browser]:
    """The browser at desktop size; whatever a test looked at must have left no console error."""
    _chromium.size(1280, 900)
    _chromium.prefer()
    _chromium.errors()
    yield _chromium
    assert _chromium.errors() == []
