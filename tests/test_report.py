"""What a page says about its runs: complete, marked where it differs, and safe to show."""

import hashlib
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_record import sources, store_record

from dpgan_lib.records import provenance
from dpgan_lib.records.store import read
from dpgan_lib.report import cards, numbers

DEFAULTS = {"dataset": "mnist", "profile": "laptop", "epsilon": 10.0, "delta": 1e-5, "seed": 0, "info_weight": 0.1}
COMMAND = "dpgan run mnist_tradeoff -p epsilon 3"
VOID = {"br", "hr", "img", "input", "meta", "link"}


class Page(HTMLParser):
    """Rows of cell texts, tags in order, and attributes; fails on a tag that is not closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.tags, self.attributes, self.spans, self.open = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag not in VOID
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self.spans.append(int(dict(attrs).get("colspan", 1)))
            assert tag == "td" or dict(attrs)["scope"] in ("row", "col")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next(cells for first, *cells in self.rows if first == name)


@pytest.fixture
def store(tmp_path):
    return lambda **values: store_record(tmp_path, **values)


def card(*records, command=COMMAND, defaults=DEFAULTS) -> str:
    return cards.computed_by(list(records), command, defaults)


def test_a_warm_start_does_not_hide_the_runs_own_numbers(store):
    record = store()
    record.content["config"]["warm_start"] = {"info_weight": 0.01, "steps": 300}
    assert Page(card(record)).row("lambda (info_weight)") == ["0.1"]


# The epsilon in words

@pytest.mark.parametrize("epsilon, words", [(3.0, "3"), (10.0, "10"), (2.9961, "3"), (0.12345, "0.124"),
                                            (123.4, "124")])
def test_an_epsilon_isrounded_up_and_says_its_scope(store, epsilon, words):
    scope = "(total, delta = 1e-5, add/remove one record, PLD accountant)"
    assert cards.format_epsilon(store(epsilon=epsilon)) == f"epsilon {words} {scope}"


@pytest.mark.parametrize("epsilon", [1e-7, 0.0123456, 1.0000001, 9.999, 99.95, 1e6 + 0.1])
def test_a_shown_epsilon_is_never_below_the_spent_one(epsilon):
    shown = float(numbers.rounded_up(epsilon))
    assert epsilon <= shown <= epsilon * 1.01  # three digits: at most 1% above


def test_no_privacy_is_called_so(store):
    record = store(epsilon=math.inf)
    assert cards.format_epsilon(record) == "no privacy (epsilon inf)"
    assert cards.run_name(record) == "no privacy, seed 0"


# The card

def test_the_card_holds_what_the_record_says(store):
    record = store(epsilon=3.0)
    page = Page(card(record))
    assert page.row("status") == ["current"]
    assert page.row("computed") == ["2025-01-31 12:00:00 UTC"]
    assert page.row("took") == ["training 12 min 3 s, evaluation 41 s"]
    assert page.row("data") == [f"{record.card['title']}, N = 60,000: {record.card['caption']}"]
    assert page.row("epsilon spent") == [f"{cards.format_epsilon(record)}; 3.31 by RDP"]
    assert page.row("unit of privacy") == ["one image with its label"]
    assert page.row("noise") == [f"multiplier 1.25, sampling rate 0.004267, {record.privacy['steps']:,} steps"]
    assert page.row("run") == [cards.run_name(record)]  # the head; the run id is the last row
    assert page.rows[-1] == ["run id", record.run_id]
    assert page.row("other seeds") == ["no band: fewer than 2 other seeds"]
    first_digits = {part: source["sha256"][:12] for part, source in sources().items()}
    assert page.row("source") == [f"measuring {first_digits['measuring']}, training {first_digits['training']}"]
    assert page.row("record") == [hashlib.sha256((record.folder / "record.json").read_bytes()).hexdigest()[:12]]
    for name, version in record.provenance["versions"].items():
        assert f"{name} {version}" in page.row("versions")[0]


def test_what_differs_from_the_defaults_is_marked_in_words(store):
    page = Page(card(store(epsilon=3.0, seed=2)))
    assert page.row("epsilon asked") == ["3 (default 10)"]
    assert page.row("seed") == ["2 (default 0)"]
    assert page.row("delta") == ["1e-5"]
    assert page.row("profile") == ["laptop"]
    assert page.tags.count("strong") == 2


def test_a_small_difference_from_a_default_is_one(store):
    page = Page(card(store(epsilon=10.0), defaults=DEFAULTS | {"delta": 1.00001e-5}))
    assert page.row("delta") == ["1e-5 (default 1.00001e-5)"]


def test_ten_and_ten_point_nought_are_the_same_default(store):
    assert Page(card(store(epsilon=10.0), defaults=DEFAULTS | {"epsilon": 10})).row("epsilon asked") == ["10"]


def test_a_run_without_privacy_is_marked_as_such(store):
    page = Page(card(store(epsilon=math.inf)))
    assert page.row("epsilon asked") == ["inf (default 10)"]
    assert page.row("epsilon spent") == ["no privacy (epsilon inf)"]


def test_columns_that_agree_share_one_cell_and_no_row_is_short(store):
    page = Page(card(store(epsilon=1.0), store(epsilon=3.0)))
    assert page.row("epsilon asked") == ["1 (default 10)", "3 (default 10)"]
    assert len(page.row("versions")) == 1
    assert sum(page.spans) == 3 * len(page.rows)  # a name and two columns in every row


def test_a_stale_record_says_so_with_its_reasons(store):
    record = store()
    (record.folder / "samples.png").unlink()
    assert Page(card(record)).row("status") == ["stale: samples.png is missing"]


def test_a_smoke_run_is_a_plumbing_check_that_enters_no_claim(store):
    smoke, laptop = store(dataset="digits", profile="smoke"), store()
    words = "plumbing check on 1,797 digits; it enters no claim"
    assert f">The runs behind this page, on {smoke.card['title']}: {words}</caption>" in card(smoke)
    assert words in Page(card(smoke)).row("profile")[0]
    assert ">The runs behind this page</caption>" in card(smoke, laptop)
    assert words in Page(card(smoke, laptop)).row("profile")[0]
    assert "enters no claim" not in card(laptop)


def test_a_smoke_run_on_other_data_is_a_plumbing_check_too(store):
    assert "plumbing check: 60,000 handwritten digits; it enters no claim" in card(store(profile="smoke"))


def test_a_run_trained_elsewhere_says_where(store):
    origin = provenance.provenance(sources()) | {"trained_on": "a large device"}
    [words] = Page(card(store(changes={"provenance": origin}))).row("hardware")
    assert words.startswith("trained on a large device; evaluated on ")


def test_a_seeded_run_is_called_no_release(store):
    assert "seeded: for study, not a release" in card(store())
    assert "seeded" not in card(store(changes={"mode": "release"}))


def test_nothing_in_a_record_or_command_becomes_a_tag(store):
    evil = "<script>alert(1)</script>\"'&"
    record = store()
    content = record.content
    for part in (content["card"], content["privacy"], content["provenance"], content["provenance"]["versions"],
                 content["provenance"]["hardware"], content["config"]):
        part.update({name: evil for name, value in part.items() if isinstance(value, str) and name != "adjacency"})
    content["privacy"] |= {"adjacency": evil, "epsilon_asked": 3.0}
    content["created"] = content["run_id"] = evil
    text = card(record, command=evil, defaults=DEFAULTS | {"dataset": evil})
    assert "<script" not in text and "alert(1)" in text
    assert not {name for name, _ in Page(text).attributes} & {"src", "href", "onload", "onclick"}


def test_the_card_suits_light_and_dark_phone_and_screen_reader(store):
    text = card(store())
    page = Page(text)
    assert "color" not in text and "#" not in text  # the page's own colours
    assert ("style", "overflow-x: auto") in page.attributes and ("tabindex", "0") in page.attributes
    assert {"caption", "thead", "tbody", "summary"} <= set(page.tags)


def test_the_card_is_the_same_each_time(store):
    record = store()
    assert card(record) == card(read(record.folder))


def test_a_card_without_a_record_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        card()


def test_a_commit_with_changes_says_so(store):
    origin = provenance.provenance(sources()) | {"commit": 40 * "a", "dirty": True}
    assert Page(card(store(changes={"provenance": origin}))).row("commit") == [f"{12 * 'a'} and changes not committed"]


# Badges

def test_a_badge_says_the_status_in_words(store, monkeypatch):
    records = seeds(store, 0.9, 0.91, 0.92, 0.1)
    assert "within band: 1 of 1 metrics, 2 other seeds" in text(cards.seeds_badge(records[0], records[:3]))
    assert "not reproduced: 0 of 1 metrics, 3 other seeds" in text(cards.seeds_badge(records[3], records))
    assert text(cards.seeds_badge(records[0], records[:2])) == "no band: fewer than 2 other seeds"
    assert cards.status_badge(records[0]) == '<span class="record-badge record-current">current</span>'
    monkeypatch.setattr(cards, "staleness", lambda record: ["<older> source"])
    assert text(cards.status_badge(records[0])) == "stale: &lt;older&gt; source"


def seeds(store, *values):
    return [store(seed=seed, changes={"metrics": {"ten_cnn": value}}) for seed, value in enumerate(values)]


def text(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


def test_the_card_holds_a_record_against_published_seeds(store, tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_PUBLISHED", str(tmp_path))
    *_, last = seeds(store, 0.9, 0.91, 0.92)
    assert Page(card(last)).row("other seeds") == ["within band: 1 of 1 metrics, 2 other seeds"]


def test_every_badge_has_a_style_and_its_text_the_themes_colours():
    sheet = (Path(__file__).resolve().parents[1] / "book" / "_static" / "custom.css").read_text()
    for word in ("current", "within-band", "stale", "not-reproduced"):
        assert f".record-{word}" in sheet
    (rule,) = re.findall(r"\.record-badge \{(.*?)\}", sheet, re.DOTALL)
    assert "color: var(--pst-color-text-base)" in rule and "background: var(--pst-color-background)" in rule


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_themes_text_on_its_background_meets_wcag_aa(mode):
    import pydata_sphinx_theme

    (sheet,) = Path(pydata_sphinx_theme.__file__).parent.rglob("pydata-sphinx-theme.css")
    of_mode = "".join(re.findall(rf"html\[data-theme={mode}\]\{{(.*?)\}}", sheet.read_text()))
    text, background = (re.search(rf"--pst-color-{name}:#(\w+)", of_mode)[1] for name in ("text-base", "background"))
    dark, bright = sorted(map(luminance, (text, background)))
    assert (bright + 0.05) / (dark + 0.05) >= 4.5  # AA, for text of any size


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour by WCAG 2, of 3 or 6 hex digits."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


# Other parts of a page

def test_the_command_gives_every_parameter_exactly_and_quoted():
    values = {"epsilon": math.inf, "delta": 1.00001e-05, "seed": 3, "info_weight": 0.1, "dataset": "a b;"}
    assert cards.command("mnist_tradeoff", values) == (
        "dpgan train --study mnist_tradeoff --fresh -p epsilon inf -p delta 1.00001e-5 -p seed 3 -p info_weight 0.1 -p "
        "dataset 'a b;'")


def test_source_is_the_function_as_the_library_has_it():
    text = cards.source(cards.run_name)
    assert text.startswith("```python\ndef run_name(record") and text.endswith("\n```")


def test_a_card_takes_other_headings(store):
    page = Page(cards.computed_by([store()], COMMAND, {}, lambda record: "another name"))
    assert page.rows[0] == ["run", "another name"]


def test_the_card_names_releases_and_steps(store):
    def noise(**privacy):
        record = store()
        record.content["privacy"] |= privacy
        return dict((row[0], row[1]) for row in Page(cards.computed_by([record], COMMAND, {})).rows)["noise"]

    assert noise().startswith("multiplier 1.25, sampling rate")
    assert noise(release_noise=2.0).startswith("releases of multiplier 2; multiplier 1.25")
    assert noise(release_noise=2.0, steps=0) == "releases of multiplier 2; no step"


def test_the_table_of_records_counts_them_and_the_stale_ones(store, monkeypatch):
    records = [store(epsilon=epsilon) for epsilon in (1.0, 3.0)]
    monkeypatch.setattr(cards, "staleness", lambda record: ["older source"] if record is records[0] else [])
    page = Page(cards.records_table({"one study": records, "another": [], "a third": records[1:]}))
    day = records[0].created[:10]
    assert page.rows[1:] == [["one study", "2", "1 stale", day], ["another", "0", "current", "none"],
                             ["a third", "1", "current", day]]


@pytest.mark.parametrize("seconds, words", [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.7, "1 h 0 min"),
                                            (29_000, "8 h 3 min")])
def test_durations_read_as_a_person_says_them(seconds, words):
    assert numbers.duration(seconds) == words
