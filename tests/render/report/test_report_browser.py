"""The page in a real browser: headless Chromium, from file://, as people open it."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from sheafcli.render.report import Contents, report_page

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
# What plotly.js draws data with: lines, markers, bars, boxes, and the picture of a heat map.
MARKS = ".scatterlayer path, .barlayer path, .boxlayer path, .heatmaplayer image, .hm image"
SECONDS = 60


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed: `make .venv/.browser` installs what these tests need"
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    """One Chromium for all tests, with a profile of its own and both logs kept."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(program("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(make_run, tmp_path_factory) -> Path:
    """The report of the run with awkward names."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    path.write_text(report_page(Contents.read(make_run(folder / "run"))), encoding="utf-8")
    return path


def emulate(browser, *, width: int = 1280, theme: str = "light", scripts: bool = True) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})


def wait(browser, script: str) -> None:
    WebDriverWait(browser, SECONDS).until(lambda b: b.execute_script(f"return {script}"))


def load(browser, page: Path, **emulated) -> None:
    """Open the page and wait until it says that all is drawn; the logs are of this page alone."""
    emulate(browser, **emulated)
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    wait(browser, "document.documentElement.dataset.drawn")


@pytest.fixture
def opened(browser, page) -> webdriver.Chrome:
    """The page opened on a wide light screen."""
    load(browser, page)
    return browser


def test_the_page_opens_without_a_word_on_the_console(opened):
    assert opened.get_log("browser") == []
    assert opened.execute_script("return document.documentElement.dataset.drawn") == "yes"


def test_every_figure_is_drawn(opened):
    plots = opened.find_elements(By.CSS_SELECTOR, ".plot")
    assert len(plots) == 13
    for plot in plots:
        marks = opened.execute_script(
            "return [...arguments[0].querySelectorAll(arguments[1])]"
            ".filter((mark) => mark.getBoundingClientRect().width > 0).length",
            plot,
            MARKS,
        )
        assert marks > 0, plot.get_attribute("id")
        # Inside its own box, and as wide as it: nothing overlaps, nothing is cut off.
        inner = plot.find_element(By.CSS_SELECTOR, ".main-svg")
        assert inner.size["width"] == pytest.approx(plot.size["width"], abs=2)
        assert inner.size["height"] == pytest.approx(plot.size["height"], abs=2)


def test_the_path_tells_the_figures_of_an_edge_when_pointed_at(opened):
    table = opened.execute_script("return document.querySelector('#figure-path').data")
    (trace,) = [trace for trace in table if trace.get("name") == "activation"]
    sign = opened.find_elements(By.CSS_SELECTOR, "#figure-path .scatterlayer .trace .point")
    # Signs come operation by operation: three affine ones, then the activations.
    target = sign[3]
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", target)
    ActionChains(opened).move_to_element(target).perform()
    wait(opened, "document.querySelector('#figure-path .hoverlayer .hovertext')")
    shown = opened.find_element(By.CSS_SELECTOR, "#figure-path .hoverlayer").text
    first = re.sub(r"<[^>]*>", "\n", trace["customdata"][0]).split("\n")
    assert all(line in shown for line in first)
    assert "activation_1" in shown
    assert "share of resistance" in shown


def test_names_are_text_in_the_browser(opened):
    assert opened.find_element(By.TAG_NAME, "h1").text == "<b>bold</b> & co"
    assert "<script>alert(1)</script>" in opened.find_element(By.ID, "samples").text
    assert not opened.find_elements(By.CSS_SELECTOR, "main img")


def test_nothing_is_asked_of_the_network(opened):
    sent = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert len(asked) >= 1
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert [url for url in asked if url.startswith("file:")] == [opened.current_url]


def test_the_policy_forbids_the_network(opened):
    forbidden = opened.execute_async_script(
        "const done = arguments[0];"
        "addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));"
        "fetch('https://example.org/').catch(() => {});"
    )
    assert forbidden == "connect-src"


def colours(browser) -> tuple[str, str]:
    return browser.execute_script(
        "return [getComputedStyle(document.documentElement).backgroundColor,"
        "document.querySelector('#figure-loss .xtick text').style.fill]"
    )


def brightness(colour: str) -> int:
    return sum(int(channel) for channel in re.findall(r"\d+", colour)[:3])


def test_figures_follow_the_theme_while_the_page_is_open(opened):
    light = colours(opened)
    emulate(opened, theme="dark")
    wait(opened, f"document.querySelector('#figure-loss .xtick text').style.fill != {light[1]!r}")
    dark = colours(opened)
    assert brightness(light[0]) > 600
    assert brightness(dark[0]) < 150
    assert brightness(dark[1]) > brightness(light[1])
    emulate(opened, theme="light")
    wait(opened, f"document.querySelector('#figure-loss .xtick text').style.fill == {light[1]!r}")
    assert colours(opened) == light


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_page_is_wider_than_the_screen(browser, page, width):
    load(browser, page, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []


def test_print_has_pages_in_light_colours_as_wide_as_paper(browser, page):
    load(browser, page, theme="dark")
    browser.execute_script(
        "addEventListener('beforeprint', () => {"
        "const plot = document.querySelector('#figure-loss');"
        "window.printed = [document.querySelector('#figure-path .main-svg').getBoundingClientRect().width,"
        "plot.querySelector('.xtick text').style.fill]; })"
    )
    paper = {"preferCSSPageSize": True, "paperWidth": 8.27, "paperHeight": 11.69}
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", paper)["data"])
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) >= 5
    width, fill = browser.execute_script("return window.printed")
    assert width == 680  # A4 without margins is 688 pixels wide
    assert brightness(fill) < 400
    wait(browser, "document.querySelector('#figure-path .main-svg').getBoundingClientRect().width > 700")


def test_paper_cuts_nothing_off(browser, page):
    load(browser, page, width=688)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    wait(browser, "document.querySelector('#figure-path .main-svg').getBoundingClientRect().width == 680")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 688
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_tables_are_legible_without_scripts(browser, page):
    emulate(browser, scripts=False)
    browser.get(page.as_uri())
    text = browser.find_element(By.TAG_NAME, "main").text
    assert "The figures need JavaScript" in text
    assert "activation_2" in text
    emulate(browser)


def test_a_browser_that_cannot_unpack_says_so(browser, page):
    emulate(browser)
    missing = {"source": "delete window.DecompressionStream"}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", missing)
    browser.get(page.as_uri())
    wait(browser, "document.documentElement.dataset.drawn")
    assert "could not draw the figures" in browser.find_element(By.TAG_NAME, "main").text
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
