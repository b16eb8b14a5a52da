"""The report in a browser, from a file, without a network: tables, keyboard, links."""

# ruff: noqa: F811  (fixtures are arguments)
import json

from report_browser import CLAIMS, By, Keys, Select, address, browser, drawn, find, kept, page, selected, shown, wait  # noqa: F401

# ---- tables ----------------------------------------------------------------------------------------------


def test_the_ledger_sorts_by_every_column(page):
    browser = page()
    order = ["refuted", "undecided", "open", "supported"]
    values = {
        "claim": lambda c: c["id"],
        "verdict": lambda c: order.index(c["verdict"]["status"]),
        "rung": lambda c: c["rung"],
        "reference": lambda c: c["reference"].replace("none needed", "–"),
        "margin": lambda c: c["verdict"]["margin"],
        "control": lambda c: "fault" if c["fault"] else "refuted",
    }
    assert shown(browser, "ledger") == list(CLAIMS)
    for key, value in values.items():
        head = find(browser, f'.ledger > thead th[data-key="{key}"]')
        button = head.find_element(By.TAG_NAME, "button")
        for sign, word in ((1, "ascending"), (-1, "descending")):
            button.click()
            found = [value(CLAIMS[name]) for name in shown(browser, "ledger")]
            by = sorted(found, key=lambda x: x.casefold() if isinstance(x, str) else x, reverse=sign < 0)
            if key == "reference":  # a dash has no place in the alphabet
                found, by = ([x for x in each if x != "–"] for each in (found, by))
            assert found == by, (key, word)
            assert head.get_attribute("aria-sort") == word
            assert kept(browser)["ledger.sort"] == ("" if sign > 0 else "-") + key
        button.click()
        assert shown(browser, "ledger") == list(CLAIMS)
        assert head.get_attribute("aria-sort") == "none"


def test_the_ledger_filters_and_the_address_keeps_it(page):
    browser = page()
    Select(find(browser, '[data-filters="ledger"] [name="verdict"]')).select_by_value("supported")
    assert shown(browser, "ledger") == ["alpha/equality", "epsilon/fault"]
    find(browser, '[data-filters="ledger"] [name="q"]').send_keys("sphere EPSILON")
    assert shown(browser, "ledger") == ["epsilon/fault"]
    assert find(browser, '[data-filters="ledger"] .count').text == "1 of 5 claims"
    assert kept(browser) == {"ledger.verdict": "supported", "ledger.q": "sphere EPSILON"}
    browser.execute_script("history.back()")
    wait(browser, lambda: len(shown(browser, "ledger")) == 5)
    find(browser, '[data-filters="ledger"] [type="reset"]').click()
    for name, value, wanted in (
        ("rung", "chain", ["gamma/question"]),
        ("source", "2508.16306", ["beta/rate"]),
        ("source", "none", ["delta/several"]),
    ):
        page(f"#ledger.{name}={value}")
        assert shown(browser, "ledger") == wanted
        assert selected(browser, f'[data-filters="ledger"] [name="{name}"]') == value
    page("#ledger.verdict=bogus&ledger.rung=chain")
    assert shown(browser, "ledger") == ["gamma/question"]
    page("#ledger.q=nowhere")
    assert shown(browser, "ledger") == []
    assert find(browser, '[data-none="ledger"]').is_displayed()


def test_the_audit_and_the_benchmarks_filter_and_sort(page):
    browser = page("#audit.verdict=below+declared+order")
    assert shown(browser, "audit") == ["diffusers"]
    page("#audit.sort=-order&benchmarks.sort=value&failures.q=indexerror")
    assert shown(browser, "audit") == ["diffusers", "azula"]
    assert shown(browser, "benchmarks") == ["time", "a denoiser[1]", "path", "start"]
    assert len(shown(browser, "failures")) == 1
    page("#failures.q=valueerror&benchmarks.kind=ratio")
    assert shown(browser, "failures") == []
    assert shown(browser, "benchmarks") == ["a denoiser[1]", "start"]


# ---- keyboard and links ------------------------------------------------------------------------------------


def test_a_row_opens_and_closes_by_keyboard(page):
    browser = page()
    toggle = find(browser, "#claim-beta-rate .toggle")
    more = find(browser, "#claim-beta-rate-more")
    assert not more.is_displayed()
    browser.execute_script("arguments[0].focus()", toggle)
    toggle.send_keys(Keys.ENTER)
    assert more.is_displayed()
    assert toggle.get_attribute("aria-expanded") == "true"
    assert kept(browser)["ledger.open"] == "claim-beta-rate"
    assert "1.300 ± 0.042" in more.text
    assert "what beta/rate says" in more.text
    summary = more.find_element(By.CSS_SELECTOR, "details > summary")
    summary.send_keys(Keys.ENTER)
    assert "2.000 ± 0.042" in more.text
    summary.send_keys(Keys.ESCAPE)
    assert not more.is_displayed()
    assert browser.switch_to.active_element == toggle
    toggle.send_keys(Keys.SPACE)
    assert more.is_displayed()
    thumb = more.find_element(By.CSS_SELECTOR, "[data-thumb]")
    wait(browser, lambda: browser.execute_script("return arguments[0].naturalWidth", thumb) > 0)
    browser.execute_script("history.back()")
    wait(browser, lambda: not more.is_displayed())


def test_the_tab_key_reaches_everything_with_a_visible_focus(page):
    browser = page("#ledger.open=claim-alpha-equality")
    wanted = browser.execute_script(
        "return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]')]"
        ".filter(e => !e.disabled && e.checkVisibility({visibilityProperty: true}))"
        ".filter(e => e.type !== 'radio' || e.checked).length"
    )
    browser.execute_script(
        "window.seen = new Map();"
        "document.addEventListener('focusin', e => seen.set(e.target, getComputedStyle(e.target).outlineStyle))"
    )
    find(browser, "body").send_keys(Keys.TAB * (wanted + 10))
    assert browser.execute_script("return seen.size") >= wanted - 1
    bare = "return [...seen].filter(([e, style]) => style === 'none').map(([e]) => e.outerHTML)"
    assert browser.execute_script(bare) == []


def test_a_figure_is_enlarged_and_escape_closes_it(page):
    browser = page("#figure-step-scaling")
    button = find(browser, '.enlarge[data-shows="step_scaling"]')
    button.send_keys(Keys.ENTER)
    dialog = find(browser, "dialog")
    assert dialog.is_displayed()
    assert browser.execute_script("return document.querySelector('dialog img').naturalWidth") > 0
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


def test_every_internal_link_leads_somewhere(page):
    browser = page("#ledger.verdict=open")
    count = browser.execute_script("return document.querySelectorAll('a[href^=\"#\"]').length")
    assert count > 15
    lost = browser.execute_script(
        """
        const lost = [];
        for (const link of document.querySelectorAll('a[href^="#"]')) {
          link.click();
          const at = new URLSearchParams(location.hash.slice(1)).get("at");
          const place = document.getElementById(at);
          const focused = document.activeElement.closest(`[id="${at}"]`);
          if (!place?.checkVisibility() || focused !== place) lost.push(link.outerHTML);
        }
        return lost;
        """
    )
    assert not [link for link in lost if 'class="skip"' not in link and "figure-" not in link], lost


def test_nothing_is_asked_of_the_network(page, address):
    browser = page("#explorer")
    browser.get_log("performance")
    page("#explorer")
    drawn(browser, ["ddpm", "ddim", "heun"])
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        message["params"]["request"]["url"] for message in asked if message["method"] == "Network.requestWillBeSent"
    ]
    assert urls
    assert all(url.startswith(("data:", "about:", address.partition("#")[0])) for url in urls)
