"""Every page of the book as a reader gets it: from a file, in a real browser, cut off from the network."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import sound_page, watch
from test_book import ENTRIES

WIDTHS = (360, 800, 1280)  # a phone, a tablet, a laptop

# A colour follows the class, so one of each kind of code, formula and row of a table is enough, and five definitions in
# a row of the reference; thousands take axe half a minute.
THIN_OUT = """() => {
    const seen = new Set();
    for (const more of document.querySelectorAll("dl.py:nth-of-type(n + 6)")) more.remove();
    for (const row of document.querySelectorAll("tbody tr")) {
        const kind = [row, ...row.querySelectorAll("*")].map((part) => `${part.tagName} ${part.className}`).join();
        if (seen.has(kind)) row.remove();
        seen.add(kind);
    }
    for (const element of document.querySelectorAll("pre span, mjx-container")) {
        const kind = `${element.tagName} ${element.className}`;
        if (seen.has(kind)) element.remove();
        seen.add(kind);
    }
}"""


@pytest.fixture(scope="module", params=ENTRIES)
def opened(request, browser, site):
    """A page of the book, opened once for the tests below; anything that goes wrong on it fails the last of them."""
    with sound_page(browser) as page:
        page.set_viewport_size({"width": min(WIDTHS), "height": 800})
        page.goto((site / f"{request.param}.html").as_uri())  # on loading, the theme finds out what scrolls
        yield page


def findings(page, **options) -> list[str]:
    """What axe-core finds serious or critical, a line for each element."""
    # Without preload: it would fetch the style sheets, which a page from a file may not.
    response = Axe().run(page, options={"resultTypes": ["violations"], "preload": False} | options).response
    return [f"{found['id']}: {node['html'][:200]} {node['failureSummary']}" for found in response["violations"]
            if found["impact"] in ("serious", "critical") for node in found["nodes"]]


def test_a_page_opens(opened):
    assert opened.get_by_role("heading", level=1).first.is_visible()


def test_a_keyboard_reaches_what_scrolls_within_a_page(opened):
    assert findings(opened, runOnly=["scrollable-region-focusable"]) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_scrolls_in_one_direction_only(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    assert opened.evaluate("Math.max(document.body.scrollWidth, document.documentElement.scrollWidth)") <= width


def test_every_image_has_words(opened):
    assert opened.evaluate("[...document.images].filter((image) => !image.alt.trim()).map((image) => image.src)") == []


def test_axe_has_no_serious_finding_in_light_or_dark(opened):
    opened.set_viewport_size({"width": max(WIDTHS), "height": 800})
    opened.evaluate(THIN_OUT)
    assert findings(opened) == []
    opened.emulate_media(color_scheme="dark")
    opened.locator('html[data-theme="dark"]').wait_for()
    assert findings(opened, runOnly=["color-contrast"]) == []  # the only thing that darkness changes


def test_a_search_from_a_file_finds_pages_and_asks_for_none(page, site):
    page.goto((site / "search.html").as_uri() + "?q=accountant")
    page.get_by_text("Search finished").wait_for()
    found = page.locator("#search-results li a")
    assert found.count() > 3 and any("accountant" in text.lower() for text in found.all_inner_texts())


# The checks themselves


def test_what_goes_wrong_on_a_page_is_noticed(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="absent.png"><img src="http://127.0.0.1/a.png"><script>none()</script>'
                   '<script>console.error("written")</script>')
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        troubles = watch(page)
        page.goto(bad.as_uri())
    for sign in ("none is not defined", "failed: file:", "asks another machine: http://127.0.0.1/a.png", "written"):
        assert any(sign in trouble for trouble in troubles), sign


def test_axe_finds_what_is_hard_to_read_or_to_reach(page):
    page.set_content('<p style="color: #aaa; background: white">pale</p><img '
                     'src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="><div tabindex="-1" '
                     'style="overflow: auto; height: 30px"><p style="height: 900px">long</p></div>')
    found = " ".join(findings(page))
    assert all(rule in found for rule in ("color-contrast", "image-alt", "scrollable-region-focusable"))
