"""The report in a browser: explorer, address, colours, widths, paper, and rows that attack it."""

# ruff: noqa: F811  (fixtures are arguments)
import re

import pytest
import report_inputs as inputs
from report_browser import By, Select, address, browser, drawn, find, kept, page, selected, shown, wait, written  # noqa: F401

# ---- explorer --------------------------------------------------------------------------------------------


def test_the_explorer_draws_the_rows(page):
    browser = page("#at=explorer&x.rung=marginal&x.sampler=ddpm,heun")
    found = drawn(browser, ["ddpm", "heun"])
    assert [trace["name"] for trace in found] == ["ddpm, slope −2.00", "heun, slope −4.00"]
    for trace, sampler in zip(found, ("ddpm", "heun"), strict=True):
        row = next(r for r in inputs.atlas() if r.get("sampler") == sampler and r["rung"] == "marginal")
        assert trace["x"] == row["steps"]
        assert trace["y"] == pytest.approx(row["value"], rel=1e-4)
        assert trace["e"] == pytest.approx([0.06 * value for value in row["value"]], rel=0.05)
    lines = browser.find_elements(By.CSS_SELECTOR, "#numbers tbody tr")
    assert len(lines) == 10


def test_the_explorer_changes_curve_and_address_and_comes_back(page):
    browser = page("#at=explorer&x.rung=marginal")
    drawn(browser, ["ddpm", "ddim", "heun"])
    find(browser, '[name="sampler"][value="ddim"]').click()
    drawn(browser, ["ddpm", "heun"])
    assert kept(browser)["x.sampler"] == "ddpm,heun"
    find(browser, '[name="against"][value="evaluations"]').click()
    wait(browser, lambda: drawn(browser, ["ddpm", "heun"])[1]["x"] == [8, 16, 32, 64, 128])
    Select(find(browser, '#choice [name="from"]')).select_by_value("16")
    wait(browser, lambda: drawn(browser, ["ddpm", "heun"])[0]["x"] == [16, 32, 64])
    Select(find(browser, '#choice [name="target"]')).select_by_value("sphere, d = 100")
    shared = browser.current_url.partition("#")[2]
    assert kept(browser) == {
        "at": "explorer",
        "x.rung": "marginal",
        "x.sampler": "ddpm,heun",
        "x.against": "evaluations",
        "x.from": "16",
        "x.target": "sphere, d = 100",
    }
    page(f"#{shared}")
    assert drawn(browser, ["ddpm", "heun"])[1]["x"] == [32, 64, 128]
    assert selected(browser, '#choice [name="target"]') == "sphere, d = 100"
    find(browser, '[name="sampler"][value="heun"]').click()
    drawn(browser, ["ddpm"])
    browser.execute_script("history.back()")
    drawn(browser, ["ddpm", "heun"])


def test_what_was_not_computed_is_disabled_and_says_why(page):
    browser = page("#at=explorer&x.rung=path+(reverse+SDE)&x.sampler=ddpm,heun")
    drawn(browser, ["ddpm"])
    assert "not computed here: heun" in find(browser, "#fallback").text
    assert find(browser, '[name="sampler"][value="ddpm"]').is_enabled()
    for sampler in ("ddim", "heun"):
        box = find(browser, f'[name="sampler"][value="{sampler}"]')
        assert not box.is_enabled()
        assert box.get_attribute("title") == "path KL: singular to the reverse SDE's"
    assert find(browser, "#reasons").text == "ddim, heun: path KL: singular to the reverse SDE's"
    page("#at=explorer&x.target=sphere,+d+%3D+100&x.rung=path+(reverse+SDE)")
    drawn(browser, ["ddpm", "ddim", "heun"])
    assert "path (reverse SDE): not computed here, marginal is shown" in find(browser, "#fallback").text
    options = {o.get_attribute("value"): o for o in Select(find(browser, '#choice [name="rung"]')).options}
    assert not options["path (reverse SDE)"].is_enabled()
    assert options["marginal"].is_enabled()
    page("#at=explorer&x.schedule=cosine&x.rung=marginal")
    drawn(browser, ["ddpm", "ddim"])
    assert find(browser, "#reasons").text == "heun: not among the rows of the atlas"


@pytest.mark.parametrize(
    "place",
    [
        "#x.target=nowhere&x.from=a&x.to=-3&x.sampler=none&x.rung=%",
        "#%E0%A4%A",
        "#ledger.sort=-nothing&ledger.open=,,x",
    ],
)
def test_a_forged_address_is_harmless(page, place):
    browser = page(place)
    assert len(shown(browser, "ledger")) == 5
    assert find(browser, '#choice [name="target"]').get_attribute("value") == "curved mixture"


def test_what_an_address_asks_for_in_vain_is_told(page):
    browser = page("#at=explorer&x.target=nowhere&x.rung=zzz&x.schedule=qqq&x.sampler=ddpm,nobody,ddpm&x.to=Infinity")
    (found,) = drawn(browser, ["ddpm"])
    assert found["x"] == [4, 8, 16, 32, 64]
    told = find(browser, "#fallback").text
    for words in ("nowhere: no such law", "zzz: no such rung", "qqq: no such schedule", "no such sampler: nobody"):
        assert words in told


# ---- looks -----------------------------------------------------------------------------------------------

CONTRAST = """
const probe = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const channels = colour => {
  probe.clearRect(0, 0, 1, 1);
  probe.fillStyle = colour;
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data];
};
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = c => { const [r, g, b] = c.map(v => linear(v / 255)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = e => {
  for (; e; e = e.parentElement) {
    const c = channels(getComputedStyle(e).backgroundColor);
    if (c[3] > 230) return c;
  }
  return [255, 255, 255];
};
const low = [];
for (const e of document.querySelectorAll('body *')) {
  if (e.closest('svg, script, style, #chart, dialog, option') || e.disabled || !e.checkVisibility()) continue;
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
  const [a, b] = [light(channels(getComputedStyle(e).color)), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) low.push([e.outerHTML.slice(0, 120), ratio]);
}
return low;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(page, theme):
    browser = page("#ledger.open=claim-beta-rate,claim-epsilon-fault", theme=theme)
    assert browser.execute_script(CONTRAST) == []
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (theme == "dark")
    find(browser, "#theme").click()
    assert browser.execute_script(CONTRAST) == []
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != ground
    browser.execute_script("localStorage.removeItem('truerate-theme')")


def test_the_chart_follows_the_colours(page):
    browser = page("#at=explorer", theme="dark")
    drawn(browser, ["ddpm", "ddim", "heun"])
    colour = "return document.getElementById('chart').layout.font.color"
    before = browser.execute_script(colour)
    find(browser, "#theme").click()
    wait(browser, lambda: browser.execute_script(colour) != before)
    browser.execute_script("localStorage.removeItem('truerate-theme')")


@pytest.mark.parametrize("width", [320, 375, 768, 820, 1920])
def test_no_width_scrolls_sideways(page, width):
    browser = page("#at=explorer&ledger.open=claim-beta-rate,claim-gamma-question", width=width, height=812)
    drawn(browser, ["ddpm", "ddim", "heun"])
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width


def test_paper_shows_the_ledger_closed_and_no_controls(page):
    browser = page(media="print")
    hidden = ("nav", ".filters", "#explorer", "#claim-beta-rate-more", ".enlarge", ".copy", "dialog")
    for selector in hidden:
        assert not find(browser, selector).is_displayed(), selector
    assert find(browser, "#claim-beta-rate").is_displayed()
    box = browser.execute_script(
        "const s = getComputedStyle(document.querySelector('.tall')); return [s.overflowY, s.maxHeight]"
    )
    assert box == ["visible", "none"]
    breaks = "return getComputedStyle(document.querySelector('.ledger .item')).breakInside"
    assert browser.execute_script(breaks) == "avoid"


# ---- what rows may try -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [inputs.HOSTILE, "‮" + "W" * 2000], ids=["markup", "long and right to left"])
def test_hostile_rows_run_nothing_and_do_not_widen_the_page(page, tmp_path, text):
    keep = ("quantity", "part", "grid", "status", "leaning")
    files = {"atlas": inputs.atlas(), "sampler_audit": inputs.audit(), "benchmarks": inputs.benchmarks()}
    bad = {name: inputs.poisoned(found, text, keep) for name, found in files.items()}
    document = inputs.poisoned(inputs.ledger(), text, keep)
    if len(text) > 1000:
        document = {**document, "claims": [{**claim, "statement": text * 50} for claim in document["claims"]]}
    at = written(inputs.write(tmp_path / "bad", document, **bad))
    browser = page(at=at, width=375, height=812)
    browser.execute_script("document.getElementById('chart').scrollIntoView()")
    wait(browser, lambda: browser.execute_script("return document.getElementById('chart').dataset.drawn"))
    for toggle in browser.find_elements(By.CSS_SELECTOR, ".toggle"):
        browser.execute_script("arguments[0].click()", toggle)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".opened")) == 5
    assert browser.execute_script("return window.broken") is None
    assert (
        browser.execute_script("return document.querySelectorAll('img:not([src^=\"data:\"]):not([alt])').length") == 0
    )
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= 375
