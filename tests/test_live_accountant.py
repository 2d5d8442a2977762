"""The live accountant: in a browser, its arithmetic is the library's, and its form answers what is typed."""

import itertools
import math
from decimal import ROUND_CEILING, Context
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from dpgan_lib.book.live_accountant import SETTINGS, presets
from dpgan_lib.privacy import accounting
from dpgan_lib.privacy.accounting import ORDERS, SampledGaussian, epsilon_pld, epsilon_rdp, spent_pld, spent_rdp
from dpgan_lib.privacy.calibration import calibrate_noise, calibrate_noise_rdp
from dpgan_lib.report.numbers import rounded_up

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
SCRIPT = STATIC / "accountant.js"
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


# PLD

MNIST = 512 / 60_000
SUMS = (1.0, 5.167, 1)  # (q, sigma, T) of noisy sums
READER = (0.1365, 1.602, 200)
# Mechanisms one after the other, each (q, sigma, T): one, two, three of them.
RUNS = [*(((q, sigma, steps),) for q, sigma, steps in [
            (1e-3, 0.6, 100), (1e-3, 1.0, 1000), (1e-3, 5.0, 1000), (0.005, 0.5, 600), (0.005, 0.9, 2000),
            (MNIST, 0.4, 300), (MNIST, 0.7, 1000), (MNIST, 1.0, 1), (MNIST, 1.0, 1000), (MNIST, 1.0, 3000),
            (MNIST, 3.0, 1000), (0.1, 0.8, 30), (0.1, 2.0, 300), (0.1, 10.0, 1000), (0.2, 0.3, 1), (0.5, 1.0, 10),
            (0.5, 4.0, 100), (0.8, 42.0, 200), (0.999, 3.0, 50), (1.0, 0.3, 1), (1.0, 1.0, 1), (1.0, 4.0, 1),
            (1.0, 10.0, 30), (1.0, 100.0, 1)]),
        *((SUMS, critic) for critic in [(0.005, 0.9, 600), (MNIST, 2.0, 100), (0.25, 33.9, 600)]),
        *((SUMS, READER, critic) for critic in [(0.005, 0.5, 600), (0.004, 1.0, 200), (MNIST, 1.0, 1000)]),
        ((1.0, 0.7, 1), (0.1, 2.0, 50), (0.005, 0.5, 600)), ((1.0, 30.0, 1), (1e-3, 20.0, 50), (1e-3, 5.0, 300)),
        ((0.5, 20.0, 20), (0.01, 3.0, 100), (0.3, 9.0, 40)), ((1.0, 2.0, 1), (1.0, 3.0, 1), (1.0, 6.0, 1))]
DELTAS = (1e-4, 1e-5, 1e-8)


def gaussians(run):
    return tuple(SampledGaussian(sampling_rate=q, noise_multiplier=sigma, steps=steps) for q, sigma, steps in run)


def typed(run):
    return [{"q": q, "sigma": sigma, "steps": steps} for q, sigma, steps in run]


@pytest.fixture
def by_pld(page):
    """Calls pld.epsilon for many [parts, delta] at once."""
    page.add_script_tag(path=STATIC / "loss_distribution.js")
    return lambda points: page.evaluate("(points) => points.map((point) => pld.epsilon(...point))", points)


def test_pld_is_the_librarys_on_a_hundred_points(by_pld):
    expected = []
    for run in RUNS:
        accountant = accounting.composed(gaussians(run), min(DELTAS))
        expected += [accountant.get_epsilon(delta) for delta in DELTAS]
    found = by_pld([[typed(run), delta] for run in RUNS for delta in DELTAS])
    assert len(found) >= 100 and min(expected) < 0.03 and sorted(expected)[-10] > 10
    assert {len(run) for run in RUNS} == {1, 2, 3} and any(run[0][0] == 1 for run in RUNS)
    # Each is an upper bound by a grid of its own; the library's intervals grow to a quarter of a step's spread, which
    # is felt where epsilon is tiny. What is shown has four digits.
    for (run, delta), ours, theirs in zip(itertools.product(RUNS, DELTAS), found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=3e-4), (run, delta)


@pytest.mark.parametrize("sigma, steps", [(0.05, 1), (0.5, 1), (1.0, 20), (4.0, 1), (40.0, 3), (500.0, 1)])
def test_pld_never_falls_below_what_gaussian_noise_is_proved_to_cost(by_pld, sigma, steps):
    """Balle, Wang 2018, "Improving the Gaussian Mechanism for Differential Privacy", arXiv 1805.06530, Theorem 8."""
    s = sigma / math.sqrt(steps)

    def excess(epsilon, delta):
        below = norm.cdf(-1 / (2 * s) - epsilon * s)  # times exp(epsilon), which may overflow alone
        return norm.cdf(1 / (2 * s) - epsilon * s) - (math.exp(epsilon + math.log(below)) if below else 0) - delta

    for delta, found in zip(DELTAS, by_pld([[typed([(1.0, sigma, steps)]), delta] for delta in DELTAS]), strict=True):
        exact = brentq(excess, 0, 1 / (2 * s * s) + 9 / s, args=(delta,), xtol=1e-13)
        assert exact <= found <= exact * (1 + 1e-4) + 1e-6


def test_where_the_librarys_intervals_are_wide_pld_is_what_it_says_with_narrow_ones(by_pld):
    run, delta = ((MNIST, 20.0, 1000),), 1e-5
    (found,) = by_pld([[typed(run), delta]])
    assert found < 0.996 * spent_pld(gaussians(run), delta)
    assert found == pytest.approx(spent_pld(gaussians(run), delta, coarseness=0.1), rel=1e-3)  # a 40th of the spread


@pytest.mark.parametrize("z", [0.0, 0.3, 1.0, 4.0, 8.8, 8.95, 15.0, 25.0, 37.0])
def test_the_normal_laws_tail_is_good_to_its_last_digits(page, z):
    page.add_script_tag(path=STATIC / "loss_distribution.js")
    assert page.evaluate("pld.tail", z) == pytest.approx(norm.sf(z), rel=1e-12)  # exp(-z^2 / 2) rounds z^2 = 1369


def test_a_published_run_costs_here_what_its_record_says(by_pld):
    """The mechanisms as the list of runs holds them, so also that nothing of a record is left out."""
    runs = [run for of_study in presets().values() for run in of_study]
    assert any("reader_steps" in held for held, record in runs)
    points = []
    for held, record in runs:
        values = {name: float(value) for name, (value,) in parse_qs(held).items()}
        run = [(values["batch"] / values["records"], values.get("noise", 1), values["steps"])]
        run += [(1.0, values["sums_noise"], 1)] if "sums_noise" in values else []
        if "reader_steps" in values:
            run.append((values["reader_batch"] / values["records"], values["reader_noise"], values["reader_steps"]))
        points.append([typed(run), values["delta"]])
    for (held, record), found in zip(runs, by_pld(points), strict=True):
        assert found == pytest.approx(record.epsilon_spent, rel=1e-3), held


@pytest.mark.parametrize("budget, critic, beside", [
    (1, (MNIST, 1000), ()), (10, (0.005, 600), (SUMS,)), (2, (0.8, 200), ()), (0.05, (1.0, 1), ()),
    (10, (0.00427, 600), ((1.0, 1.082, 1), READER))])
def test_noise_by_pld_is_the_least_that_the_library_allows(page, budget, critic, beside):
    page.add_script_tag(path=STATIC / "loss_distribution.js")
    q, steps = critic
    found = page.evaluate("(values) => pld.noise(...values)", [q, budget, steps, 1e-5, typed(beside)])

    def spent(noise):
        return spent_pld(gaussians([(q, noise, steps), *beside]), 1e-5)

    assert spent(found) <= budget * (1 + 3e-4)  # the agreement of the two on such runs
    assert spent((found - 0.001) * 0.998) > budget  # a tick; and the search's grid is coarse


def test_an_answer_at_a_thousand_steps_takes_less_than_a_tenth_of_a_second(page):
    for name in ("accountant", "loss_distribution"):
        page.add_script_tag(path=STATIC / f"{name}.js")
    took = page.evaluate("""(parts) => Array.from({length: 10}, () => {
        const start = performance.now();
        pld.epsilon(parts, 1e-5);
        accountant.spent(parts, 1e-5);
        return performance.now() - start;
    })""", typed([(MNIST, 1.0, 1000)]))
    assert min(took) < 100  # ms; the least, for the machine may be busy with something else


def test_several_mechanisms_cost_by_rdp_what_the_library_says(arithmetic):
    run = RUNS[-1][:1] + ((0.005, 0.5, 600), READER)
    assert arithmetic("spent", typed(run), 1e-5) == pytest.approx(spent_rdp(gaussians(run), 1e-5), rel=1e-6)


# The form


@pytest.fixture
def form(page, site):
    page.goto((site / "book" / "live_accountant.html").as_uri())
    return page


def result(form) -> str:
    return form.get_by_role("status").inner_text()


def digits(epsilon: float) -> str:
    """Four, never below the value."""
    return f"{Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(epsilon).normalize():f}"


def shown(form, noise: float, beside=(), **changes) -> str:
    """How the page words an epsilon: PLD as its own script has it, which the tests above hold against the library's."""
    run = OPENS | changes
    parts = [(run["sampling_rate"], noise, run["steps"]), *beside]
    pld = form.evaluate("(values) => pld.epsilon(...values)", [typed(parts), run["delta"]])
    return (f"epsilon = {digits(pld)} by PLD, {digits(spent_rdp(gaussians(parts), run['delta']))} by RDP "
            "(total, delta = 1e-5, add/remove one record; unit: one record).")


def test_it_opens_with_an_answer_and_a_curve(form):
    assert result(form) == shown(form, 1.0)
    assert form.get_by_role("status").get_attribute("aria-live") == "polite"
    assert digits(epsilon_rdp(noise_multiplier=1.0, **OPENS)) in form.locator("#accountant-curve desc").inner_html()
    assert len(form.locator("polyline.rdp").get_attribute("points").split()) == 101
    form.locator("#accountant-curve").get_by_text("PLD", exact=True).last.wait_for()  # its line is drawn point by point
    lower = form.evaluate("""() => ["pld", "rdp"].map((name) => document.querySelector(`polyline.${name}`).points)
        .map((points) => points[points.length - 1].y)""")
    assert len(form.locator("polyline.pld").get_attribute("points").split()) == 25 and lower[0] > lower[1]


def test_each_keystroke_is_answered(form):
    steps = form.locator("#steps")
    steps.fill("")
    for count in ("2", "20", "200"):
        steps.press_sequentially(count[-1])
        assert result(form) == shown(form, 1.0, steps=int(count))
    form.locator("#noise").fill("2.5")
    assert result(form) == shown(form, 2.5, steps=200)


def test_the_keyboard_alone_turns_it_round(form):
    form.get_by_label("epsilon from noise").focus()
    form.keyboard.press("ArrowDown")
    assert form.get_by_label("noise from epsilon").is_checked() and form.locator("#noise").is_hidden()
    for _ in range(5):  # past two numbers and their sliders
        form.keyboard.press("Tab")
    form.keyboard.press("Control+A")
    form.keyboard.type("0.7")
    words = result(form)
    noise = float(words.split()[3])
    assert noise == pytest.approx(calibrate_noise(epsilon=0.7, **OPENS), rel=1e-3)
    assert words == f"noise multiplier = {noise:g} spends {shown(form, noise)}"
    form.keyboard.press("Enter")  # submits a form; here it must change nothing
    assert result(form) == words


@pytest.mark.parametrize("label, value, words", [
    ("noise multiplier", "0.001", "noise multiplier = 0.001 must lie in [0.01, 1000]"),
    ("steps of the whole run", "2.5", "steps of the whole run = 2.5 must be an integer"),
    ("steps of the whole run", "", "steps of the whole run must be an integer"),
    ("delta", "1", "delta = 1 must lie in"),
    ("expected batch", "60001", "expected batch = 60001 must be at most N = 60000"),
    ("records in the data set", "-3", "records in the data set = -3 must be an integer")])
def test_a_wrong_value_is_named_in_one_line_until_it_is_right(form, label, value, words):
    field = form.get_by_label(label).and_(form.get_by_role("spinbutton")).first
    right = field.input_value()
    field.fill(value)
    assert result(form).startswith(words) and "\n" not in result(form) and field.get_attribute("aria-invalid") == "true"
    assert form.locator("#accountant-curve").is_hidden()
    field.fill(right)
    assert result(form) == shown(form, 1.0) and field.get_attribute("aria-invalid") is None


def test_an_epsilon_out_of_reach_is_said_to_be(form):
    form.get_by_label("noise from epsilon").check()
    form.locator("#batch").fill("60000")
    form.locator("#epsilon").fill("0.01")
    assert result(form).startswith("epsilon = 0.01 is out of reach: even a noise multiplier of 1000 spends")


def test_a_delta_that_protects_nobody_is_called_out(form):
    form.get_by_label("delta").fill("0.001")
    assert "This delta is not below 1/N" in result(form)


def test_a_small_delta_leaves_rdp_alone_to_answer(form):
    form.locator("#delta").fill("1e-20")
    expected = epsilon_rdp(noise_multiplier=1.0, **OPENS | {"delta": 1e-20})
    assert result(form).startswith(f"epsilon = {digits(expected)} by RDP (total")
    assert "PLD needs a delta" in result(form)


def test_a_slider_moves_its_number_and_follows_it_by_keyboard(form):
    slider = form.get_by_role("slider", name="noise multiplier, slider")
    before = slider.input_value()
    slider.focus()
    form.keyboard.press("ArrowRight")
    moved = float(form.locator("#noise").input_value())
    assert 1 < moved < 1.1 and slider.get_attribute("aria-valuetext") == str(moved)
    assert result(form) == shown(form, moved)
    form.locator("#noise").fill("1")
    assert slider.input_value() == before


def test_sums_and_a_reader_join_the_critic(form):
    form.get_by_label("noisy sums over all records").check()
    form.locator("#sums_noise").fill("5")
    assert result(form) == shown(form, 1.0, beside=[(1.0, 5.0, 1)])
    form.get_by_label("a private reader").check()
    beside = [(1.0, 5.0, 1), (8192 / 60_000, 2.0, 200)]
    assert result(form) == shown(form, 1.0, beside=beside)
    form.locator("#steps").fill("0")  # sums and the reader alone
    assert result(form) == shown(form, 1.0, beside=beside, steps=0)
    form.get_by_label("noisy sums over all records").uncheck()
    form.get_by_label("a private reader").uncheck()
    assert result(form).startswith("steps of the whole run = 0 leaves nothing to count")


def test_a_published_run_fills_the_form_and_a_change_leaves_it(form):
    held, record = next(run for run in presets()["mnist_tradeoff"] if "reader_steps" in run[0])
    form.get_by_label("start from a published run").select_option(held)
    assert "The record of this run says" in result(form)
    assert float(form.locator("#reader_noise").input_value()) == record.privacy["reader"]["noise_multiplier"]
    assert float(result(form).split()[2]) == pytest.approx(record.epsilon_spent, rel=1e-3)
    form.locator("#noise").fill("2")
    assert "The record" not in result(form) and form.locator("#run").input_value() == ""


def test_a_link_holds_what_the_form_holds(form, site):
    form.get_by_label("noisy sums over all records").check()
    form.get_by_label("noise from epsilon").check()
    form.locator("#epsilon").fill("3")
    words, address = result(form), form.get_by_role("link", name="with these numbers").evaluate("(link) => link.href")
    assert form.url == address and "epsilon=3" in address
    form.goto("about:blank")
    form.goto(address)
    assert result(form) == words
    form.get_by_role("link", name="Four things to try").click()  # a heading's address is no state, and changes none
    assert result(form) == words and form.url.endswith("#four-things-to-try")
    form.goto((site / "book" / "live_accountant.html").as_uri())
    assert result(form) == shown(form, 1.0) and "#" not in form.url


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
    opens = [float(form.locator(f"#{name}").input_value()) for name in ("records", "batch", "noise", "steps", "delta")]
    assert opens == list(form_row[1:])
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
    alone, sums = epsilon_pld(noise_multiplier=1.0, **OPENS), spent_pld(gaussians([(1.0, 5.0, 1)]), 1e-5)
    together = spent_pld(gaussians([(OPENS["sampling_rate"], 1.0, OPENS["steps"]), (1.0, 5.0, 1)]), 1e-5)
    assert together < alone + sums
    less = calibrate_noise_rdp(epsilon=spent(), **OPENS | {"sampling_rate": 512 / 600_000})
    assert less < 0.6
