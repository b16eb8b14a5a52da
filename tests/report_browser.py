"""A browser on a small report, from a file: fixtures, and what the tests of it ask again and again."""

from pathlib import Path
from urllib.parse import parse_qs

import pytest
import report_inputs as inputs

from figures.report import build
from figures.report.data import read

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402, F401
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()


def written(folder):
    for name in build.LIBRARIES:
        pytest.importorskip(name, reason="jinja2, plotly or latex2mathml is not installed (the extra report)")
    path = folder / "report.html"
    path.write_bytes(build.page(read(folder / "rows"), folder / "front").encode("utf-8", "replace"))
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return written(inputs.write(tmp_path_factory.mktemp("report") / "inputs"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    for path in (BROWSER, DRIVER):
        if not path.exists():
            pytest.skip(f"{path} is missing")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, address):
    """The page, freshly opened at any hash, at a width, in light or dark, for screen or paper."""
    said = []

    def opened(place="", *, width=1280, height=900, theme="light", media="screen", at=address):
        browser.get("about:blank")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        browser.get(at + place)
        loaded = "document.readyState === 'complete' && typeof address === 'object'"
        whole = f"return {loaded} && location.href.startsWith(arguments[0])"
        WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(whole, at))
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        return browser

    yield opened
    said = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not said


def shown(browser, table):
    """The names in the first column of the rows that a table shows, in order."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].filter(b => !b.hidden)"
        ".map(b => b.rows[0].cells[0].innerText.trim())"
    )
    return browser.execute_script(script, f'[data-table="{table}"] > tbody')


def kept(browser):
    """The choice in the address."""
    return {name: value for name, (value,) in parse_qs(browser.current_url.partition("#")[2]).items()}


def wait(browser, condition):
    return WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: condition())


def drawn(browser, samplers):
    """The traces of the chart, once it shows these samplers."""
    script = (
        "const c = document.getElementById('chart'); return c.dataset.drawn === arguments[0] ? "
        "c.data.map(t => ({name: t.name, x: [...t.x], y: [...t.y], e: [...t.error_y.array]})) : null"
    )
    return wait(browser, lambda: browser.execute_script(script, ",".join(samplers)))


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def selected(browser, selector):
    """The value of what a select shows."""
    return Select(find(browser, selector)).first_selected_option.get_attribute("value")


CLAIMS = {claim["id"]: claim for claim in inputs.ledger()["claims"]}
