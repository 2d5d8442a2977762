"""The live accountant: in a browser, its arithmetic is the library's, and its form answers what is typed."""

import itertools
from pathlib import Path

import pytest

from dpgan_lib.book.site import SETTINGS
from dpgan_lib.privacy.accounting import ORDERS, epsilon_rdp
from dpgan_lib.privacy.calibration import calibrate_noise_rdp
from dpgan_lib.report.numbers import rounded_up

SCRIPT = Path(__file__).resolve().parent.parent / "book" / "_static" / "accountant.js"
OPENS = dict(sampling_rate=512 / 60_000, steps=3000, delta=1e-5)  # what the form says when it opens
# Least noise is slowest, so it comes in two points only.
GRID = [*itertools.product([1e-6, 1e-3, 512 / 60_000, 0.3, 1.0], [0.1, 0.3, 0.8, 1.1, 4.0, 1000.0], [1, 100, 30_000],
                           [1e-50, 1e-5, 1e-2]),
        (1e-9, 0.5, 10**8, 1e-12), (0.01, 0.01, 1, 1e-5), (0.999999, 0.01, 10**8, 1e-50), (0.5, 7.0, 10**7, 0.5)]


@pytest.fixture
def arithmetic(page):
    """Calls a function of accountant.js."""
    page.add_script_tag(path=SCRIPT)
    return lambda name, *arguments: page.evaluate(f"(values) => accountant.{name}(...values)", list(arguments))


def test_the_orders_are_the_librarys(page):
    page.add_script_tag(path=SCRIPT)
    assert page.evaluate("accountant.ORDERS") == ORDERS.tolist()


def test_epsilon_is_the_librarys_on_a_grid(page):
    page.add_script_tag(path=SCRIPT)
    found = page.evaluate("(grid) => grid.map((point) => accountant.epsilon(...point))", GRID)
    assert len(GRID) >= 200
    for (q, sigma, steps, delta), epsilon in zip(GRID, found, strict=True):
        expected = epsilon_rdp(sampling_rate=q, noise_multiplier=sigma, steps=steps, delta=delta)
        # Relative: far above the rounding of either, far below the three digits shown. Absolute: a fractional order's
        # log moment is good to 1e-13 alone, and a large delta may leave nothing but that, times the steps.
        assert epsilon == pytest.approx(expected, rel=1e-6, abs=1e-12 + 1e-13 * steps), (q, sigma, steps, delta)


@pytest.mark.parametrize("epsilon, q, steps, delta", [
    (0.1, 0.01, 1000, 1e-5), (1, 0.01, 1000, 1e-5), (10, 512 / 60_000, 3000, 1e-5), (2, 1.0, 1, 1e-6),
    (50, 0.2, 10_000, 1e-9), (1e3, 0.5, 1, 1e-5), (0.5, 1e-4, 100_000, 1e-7)])
def test_noise_is_what_the_library_calibrates(arithmetic, epsilon, q, steps, delta):
    expected = calibrate_noise_rdp(epsilon=epsilon, sampling_rate=q, steps=steps, delta=delta)
    assert arithmetic("noise", q, epsilon, steps, delta) == expected


def test_no_noise_is_found_where_the_library_finds_none(arithmetic):
    with pytest.raises(ValueError, match="even noise_multiplier=1000"):
        calibrate_noise_rdp(epsilon=0.001, sampling_rate=1.0, steps=1000, delta=1e-5)
    assert arithmetic("noise", 1.0, 0.001, 1000, 1e-5) is None


# The form


@pytest.fixture
def form(page, site):
    page.goto((site / "book" / "live_accountant.html").as_uri())
    return page


def result(form) -> str:
    return form.get_by_role("status").inner_text()


def shown(noise: float, **changes) -> str:
    """How the page words an epsilon."""
    spent = rounded_up(epsilon_rdp(noise_multiplier=noise, **OPENS | changes))
    return f"epsilon = {spent} (total, delta = 1e-5, add/remove one record, RDP accountant; unit: one record)."


def test_it_opens_with_an_answer_and_a_curve(form):
    assert result(form) == shown(1.0)
    assert form.get_by_role("status").get_attribute("aria-live") == "polite"
    assert rounded_up(epsilon_rdp(noise_multiplier=1.0, **OPENS)) in form.locator("#accountant-curve desc").inner_html()
    assert len(form.locator("polyline").get_attribute("points").split()) == 101


def test_each_keystroke_is_answered(form):
    steps = form.get_by_label("steps of the whole run")
    steps.fill("")
    for typed in ("2", "20", "200"):
        steps.press_sequentially(typed[-1])
        assert result(form) == shown(1.0, steps=int(typed))
    form.get_by_label("noise multiplier").fill("2.5")
    assert result(form) == shown(2.5, steps=200)


def test_the_keyboard_alone_turns_it_round(form):
    form.get_by_label("epsilon from noise").focus()
    form.keyboard.press("ArrowDown")
    assert form.get_by_label("noise from epsilon").is_checked() and form.get_by_label("noise multiplier").is_hidden()
    for _ in range(3):
        form.keyboard.press("Tab")
    form.keyboard.press("Control+A")
    form.keyboard.type("0.7")
    noise = calibrate_noise_rdp(epsilon=0.7, **OPENS)
    assert result(form) == f"noise multiplier = {noise} spends {shown(noise)}"
    form.keyboard.press("Enter")  # submits a form; here it must change nothing
    assert result(form) == f"noise multiplier = {noise} spends {shown(noise)}"


@pytest.mark.parametrize("label, value, words", [
    ("noise multiplier", "0.001", "noise multiplier = 0.001 must lie in [0.01, 1000]"),
    ("steps of the whole run", "2.5", "steps of the whole run = 2.5 must be an integer"),
    ("steps of the whole run", "", "steps of the whole run must be an integer"),
    ("delta", "1", "delta = 1 must lie in"),
    ("expected batch", "60001", "expected batch = 60001 must be at most N = 60000"),
    ("records in the data set", "-3", "records in the data set = -3 must be an integer")])
def test_a_wrong_value_is_named_in_one_line_until_it_is_right(form, label, value, words):
    field = form.get_by_label(label)
    right = field.input_value()
    field.fill(value)
    assert result(form).startswith(words) and "\n" not in result(form) and field.get_attribute("aria-invalid") == "true"
    assert form.locator("#accountant-curve").is_hidden()
    field.fill(right)
    assert result(form) == shown(1.0) and field.get_attribute("aria-invalid") is None


def test_an_epsilon_out_of_reach_is_said_to_be(form):
    form.get_by_label("noise from epsilon").check()
    form.get_by_label("expected batch").fill("60000")
    form.get_by_label("epsilon, total").fill("0.01")
    assert result(form).startswith("epsilon = 0.01 is out of reach: even a noise multiplier of 1000 spends")


def test_a_delta_that_protects_nobody_is_called_out(form):
    form.get_by_label("delta").fill("0.001")
    assert "This delta is not below 1/N" in result(form)


def test_on_paper_and_without_javascript_a_table_stands_alone(form, browser):
    form.emulate_media(media="print")
    assert form.locator("#accountant").is_hidden() and form.get_by_role("table").is_visible()
    with browser.new_context(offline=True, java_script_enabled=False) as context:
        still = context.new_page()
        still.goto(form.url)
        assert still.locator("#accountant").is_hidden() and still.get_by_text("Without JavaScript").is_visible()
        assert still.get_by_role("table").is_visible()


def test_the_table_has_what_the_form_opens_with_and_the_tighter_accountant_says_less(form):
    form_row, *_ = SETTINGS
    typed = [float(form.locator(f"#{name}").input_value()) for name in ("records", "batch", "noise", "steps", "delta")]
    assert typed == list(form_row[1:])
    rows = form.get_by_role("table").locator("tbody tr").all()
    assert len(rows) == len(SETTINGS)
    for row in rows:
        *_, rdp, pld = row.locator("td").all_inner_texts()
        assert 0.8 * float(rdp) < float(pld) < float(rdp)  # "a little less"
    assert rounded_up(epsilon_rdp(noise_multiplier=1.0, **OPENS)) == rows[0].locator("td").nth(5).inner_text()


def test_what_the_page_gives_to_try_is_so():
    def spent(noise=1.0, **changes):
        return epsilon_rdp(noise_multiplier=noise, **OPENS | changes)

    halved = [spent(noise / 2) / spent(noise) for noise in (8, 4, 2, 1)]
    assert 2 < halved[0] < 2.2 and halved == sorted(halved) and halved[-1] > 7
    assert 1.9 < spent(steps=12_000) / spent() < 2.2
    assert spent(sampling_rate=512 / 600_000) < spent() / 4
    less = calibrate_noise_rdp(epsilon=spent(), **OPENS | {"sampling_rate": 512 / 600_000})
    assert less < 0.6
