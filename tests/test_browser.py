"""The book in a real browser, cut off from the network: every page as a reader gets it."""

import pytest
from browsing import watch
from test_book import ENTRIES


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_page_opens_from_a_file_without_a_network(page, site, entry):
    page.goto((site / f"{entry}.html").as_uri())
    assert page.title()


def test_what_goes_wrong_on_a_page_is_noticed(browser, tmp_path):
    (tmp_path / "bad.html").write_text('<img src="absent.png"><img src="http://127.0.0.1/a.png"><script>none()</script>'
                                       '<script>console.error("written")</script>')
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        troubles = watch(page)
        page.goto((tmp_path / "bad.html").as_uri())
    for sign in ("none is not defined", "failed: file:", "asks another machine: http://127.0.0.1/a.png", "written"):
        assert any(sign in trouble for trouble in troubles), sign
