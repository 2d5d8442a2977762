"""The playground: a browser draws what the library draws, and its page follows its controls or does without."""

import json
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpgan_lib.book import playground
from dpgan_lib.book import scripts as generator_scripts
from dpgan_lib.gan.latent import make_code, sample_latent
from dpgan_lib.measures import codes
from dpgan_lib.records import store
from dpgan_lib.studies.celeba_specificity.study import Parameters, run_of
from dpgan_lib.studies.mnist_tradeoff import tables
from dpgan_lib.studies.study import generator_of
from dpgan_lib.warm_start import face_model
from dpgan_lib.warm_start.generators import FaceGenerator

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
FORWARD = (STATIC / "generators.js").read_text(encoding="utf-8")
# Images lie in [-1, 1]. Weights are rounded to 16 bits, which moves a pixel by less than 5e-4 (seen over 200 images of
# each generator); half floats move one by up to 2.6e-3.
TOLERANCE = 1e-3
SHOWN = [record for records in playground.chosen().values() for record in records]
FACES = playground.chosen_faces()
REMEMBER = """() => { window.asked = [];
    for (const [kind, forward] of Object.entries(dpganForward)) dpganForward[kind] = (model, z, code) => {
        asked.push({z, code});
        return forward(model, z, code);
    }; }"""  # what generators are asked for
DRAW = "([run, zs, codes]) => zs.map((z, i) => [...dpganForward[dpganModels[run].kind](dpganModels[run], z, codes[i])])"


def name(record):
    method = "faces" if record in FACES else record.asked["method"]
    return f"{method}-{record.config.privacy.epsilon:g}"


# Which generators are shown


def test_each_method_has_one_run_an_epsilon():
    assert list(playground.chosen()) == ["both", "paper"]
    for records in playground.chosen().values():
        epsilons = [record.config.privacy.epsilon for record in records]
        assert epsilons == sorted(set(epsilons)) and len(epsilons) > 1


@pytest.mark.parametrize("field, value", [("seed", 1), ("dataset", "digits"), ("profile", "smoke")])
def test_runs_of_another_kind_are_not_shown(monkeypatch, field, value):
    (one,) = SHOWN[:1]
    other = replace(one, content=one.content | {"asked": one.asked | {field: value}})
    monkeypatch.setattr(store, "published", lambda study: [one, other])
    assert playground.chosen() == {"both": [one]}


def test_an_ablation_is_not_shown(monkeypatch):
    (one,) = SHOWN[:1]
    ablated = one.asked | {"ablation": "no_witness"}
    monkeypatch.setattr(store, "published", lambda study: [replace(one, content=one.content | {"asked": ablated})])
    assert playground.chosen() == {}


def test_stale_runs_are_named_in_a_line(monkeypatch):
    first, second = SHOWN[:2]
    for stale, words in (([], None), ([first], escape(tables.name(first))), ([first, second], "all of these")):
        monkeypatch.setattr(store, "staleness", lambda record, stale=stale: ["changed"] if record in stale else [])
        html = playground.figures_html({"both": [first, second]})
        assert html.count("Stale") == bool(stale)
        assert not stale or f"<strong>Stale</strong>, trained or measured by earlier code: {words}.</p>" in html


def test_a_run_that_is_missing_is_seen():
    ours, paper = playground.chosen().values()
    html = playground.figures_html({"both": ours, "paper": paper[1:]})
    missing = len(ours) - len(paper[1:])
    assert html.count("<figure>") == 2 * len(ours) and html.count(" no run</figcaption>") == missing > 0


# What its page says of them


@torch.no_grad()
def images(record, labels, slant=0.0):
    """Of the labels (B,), each with a z of its own, always the same."""
    latent = record.config.latent
    z = np.random.default_rng(1).standard_normal((len(labels), latent.z_dim), dtype=np.float32)
    code = make_code(latent, torch.as_tensor(labels), torch.tensor([[slant, 0.0]]).repeat(len(labels), 1))
    return generator_of(record)(torch.from_numpy(z), code).numpy()


@pytest.mark.parametrize("record", playground.chosen()["both"], ids=name)
def test_slant_leans_every_digit_of_ours_from_left_to_right(record):
    labels = np.arange(100) % 10
    left, middle, right = (codes.slant(images(record, labels, slant)) for slant in (-1.0, 0.0, 1.0))
    assert (left < middle).all() and (middle < right).all()


@pytest.mark.parametrize("record", SHOWN, ids=name)
def test_another_class_changes_images_and_of_the_papers_some_mean_the_same(record):
    of_classes = np.stack([images(record, np.full(100, label)) for label in range(10)])
    by_class = np.abs(of_classes[1:] - of_classes[:-1]).mean()
    by_z = np.abs(of_classes[:, 1:] - of_classes[:, :-1]).mean()
    if record.asked["method"] == "both":
        assert by_class > by_z
    else:
        assert by_z / 2 < by_class < 2 * by_z  # "about as much": within a factor of two
        assert len(set(record.metrics["names"])) < 10


# A browser draws what the library draws


def test_a_kind_that_browsers_cannot_run_is_refused(monkeypatch):
    monkeypatch.setattr(generator_scripts, "generator_of", lambda record: torch.nn.Tanh())
    with pytest.raises(ValueError, match="Tanh must be one of Generator, DeformingGenerator, FaceGenerator"):
        generator_scripts.script(SHOWN[0])


def latents(latent, count=8):
    """From the prior, the last two with their continuous codes at the ends."""
    z, code = sample_latent(latent, count, np.random.default_rng(0))
    ends = make_code(latent, torch.tensor([0, latent.categories - 1]), torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    return z, torch.cat([code[:-2], ends])


@torch.no_grad()
def drawn(record, z, code):
    return generator_of(record)(z, code).flatten(1).numpy()


def difference(page, record, forward=FORWARD):
    """The largest one, over pixels and latents, of what the browser and what PyTorch draw."""
    z, code = latents(record.config.latent)
    page.add_script_tag(content=forward)
    page.add_script_tag(content=generator_scripts.script(record))
    shown = page.evaluate(DRAW, [record.run_id, z.tolist(), code.tolist()])
    return np.abs(np.array(shown) - drawn(record, z, code)).max()


@torch.no_grad()
def face_difference(page, forward=FORWARD):
    """As `difference`, of a generator of faces with weights by chance, of the laptop profile's sizes."""
    config = run_of(Parameters(epsilon="inf"))
    settings = config.warm_start.face_model
    frequencies = face_model.basis(settings, config.model.image_side)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shapes = ((), (len(config.names),), (settings.components,))
        model = face_model.FaceModel(*(torch.randn(*shape, settings.width) / 5 for shape in shapes))
        generator = FaceGenerator(config.latent, model, frequencies)
        torch.nn.init.normal_(generator.correction.out.weight, std=0.03)  # it starts as 0, and would not be seen
    z, code = latents(config.latent)
    model = json.dumps(generator_scripts.model(generator, config))
    page.add_script_tag(content=forward)
    page.add_script_tag(content=f"window.dpganModels = {{face: {model}}}")
    shown = page.evaluate(DRAW, ["face", z.tolist(), code.tolist()])
    return np.abs(np.array(shown) - generator(z, code).flatten(1).numpy()).max()


@pytest.mark.parametrize("record", SHOWN + FACES, ids=name)
def test_browser_and_library_draw_the_same(page, record):
    assert difference(page, record) < TOLERANCE


def test_browser_and_library_draw_the_same_face(page):
    assert face_difference(page) < TOLERANCE


@pytest.mark.parametrize("right, wrong", [
    ("(attributes - 1 - a)", "a"), ("(i ? 2 : 1)", "2"), ("kept[colour++] ** 2", "kept[colour++]"),
    ("fill(0.5)", "fill(0.4)"), ("(x + 0.5)", "x"), ("Math.sqrt(3) * v), ...z]", "v), ...z]")])
def test_a_wrong_formula_of_faces_is_seen(page, right, wrong):
    assert right in FORWARD
    assert face_difference(page, FORWARD.replace(right, wrong)) > TOLERANCE


@pytest.mark.parametrize("right, wrong", [
    ("CUBIC = -0.75", "CUBIC = -0.5"), ("LEAK = 0.2", "LEAK = 0.1"), ("EDGE = 0.01", "EDGE = 0.02"),
    ("- 0.5, from)", "- 0.5 + 0.1, from)"), ("- 0.5, 0, from", "- 0.4, 0, from"),
    ("quantile < z[0]", "quantile > z[0]"), ("column % r;", "row % r;"), ("+ layer.tiny", "+ 0.01"),
    ("2 * (p % side) + 1", "2 * (p % side)")])
def test_a_wrong_formula_is_seen(page, right, wrong):
    assert right in FORWARD
    of_either_kind = [SHOWN[1], SHOWN[-1]]
    assert max(difference(page, record, FORWARD.replace(right, wrong)) for record in of_either_kind) > TOLERANCE


@pytest.mark.parametrize("record", [SHOWN[1], SHOWN[-1]], ids=name)
def test_an_image_takes_no_time_that_a_hand_notices(page, record):
    z, code = latents(record.config.latent)
    page.add_script_tag(content=FORWARD)
    page.add_script_tag(content=generator_scripts.script(record))
    times = page.evaluate(f"""([run, zs, codes]) => zs.map((z, i) => {{
        const start = performance.now();
        ({DRAW})([run, [z], [codes[i]]]);
        return performance.now() - start;
    }})""", [record.run_id, z.tolist(), code.tolist()])
    assert min(times) < 200  # ms; 12 to 25 were seen, and a machine may be busy with other programs


# The page


@pytest.fixture
def playing(page, site):
    page.goto((site / "book" / "playground.html").as_uri())
    return page


def pictures(page) -> dict[str, list[int]]:
    """Run id -> grey values of its canvas, once the page has drawn what was asked."""
    return page.evaluate("""() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(
        Object.fromEntries([...document.querySelectorAll("canvas[data-run]")].map((canvas) => [canvas.dataset.run,
            [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].filter(
                (_, i) => i % 4 === 0)]))))))""")


def digits(page):
    """The controls of the digits."""
    return page.locator("#playground")


def faces(page):
    """The controls of the faces."""
    return page.locator("#playground-faces-controls")


def slider_of(page, name: str):
    return digits(page).get_by_role("slider", name=name)


def changed(before, after) -> set[str]:
    return {run for run in before if before[run] != after[run]}


RUNS = {record.run_id for record in SHOWN}
OURS = {record.run_id for record in playground.chosen()["both"]}
FACE_RUNS = {record.run_id for record in FACES}


def test_every_generator_has_a_canvas_and_draws_at_once(playing):
    shown = pictures(playing)
    assert shown.keys() == RUNS | FACE_RUNS
    assert all(max(picture) > 128 for picture in shown.values())  # ink


@pytest.mark.parametrize("slider", ["slant", "width", "its value"])
@pytest.mark.parametrize("key", ["Home", "End"])
def test_a_slider_moved_by_keyboard_changes_every_image_of_ours(playing, slider, key):
    digits(playing).get_by_label("component of z").select_option("z2: stretch across")
    before = pictures(playing)
    slider_of(playing, slider).press(key)
    assert changed(before, pictures(playing)) >= OURS


def test_a_slider_is_dragged(playing):
    before, slider = pictures(playing), slider_of(playing, "slant")
    box = slider.bounding_box()
    playing.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    playing.mouse.down()
    playing.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=5)
    playing.mouse.up()
    assert float(slider.input_value()) > 0.5
    assert changed(before, pictures(playing)) >= OURS


def test_a_digit_is_chosen_by_click_and_by_arrow(playing):
    before = pictures(playing)
    playing.get_by_label("7", exact=True).check()
    after = pictures(playing)
    assert changed(before, after) >= OURS
    playing.get_by_label("7", exact=True).press("ArrowRight")
    assert playing.get_by_label("8", exact=True).is_checked()
    assert changed(after, pictures(playing)) >= OURS


def test_a_new_z_changes_every_image_and_the_previous_one_comes_back(playing):
    before, back = pictures(playing), digits(playing).get_by_role("button", name="previous")
    assert back.is_disabled()
    digits(playing).get_by_role("button", name="new z").click()
    assert changed(before, pictures(playing)) == RUNS
    assert playing.locator("#playground span[role=status]").inner_text() == "number 2"
    back.click()
    assert pictures(playing) == before


def test_all_canvases_show_the_same_latent_vector(playing):
    playing.evaluate(REMEMBER)
    digits(playing).get_by_role("button", name="new z").click()
    shown, asked = pictures(playing), playing.evaluate("() => asked")
    longest = max((one["z"] for one in asked), key=len)
    assert len(asked) == len(SHOWN)
    assert all(one["code"] == asked[0]["code"] and one["z"] == longest[: len(one["z"])] for one in asked)
    for record in SHOWN:
        z = torch.tensor([longest[: record.config.latent.z_dim]])
        grey = 127.5 * (drawn(record, z, torch.tensor([asked[0]["code"]]).float())[0] + 1)
        # A canvas rounds to whole greys, half a grey at most, after a difference of at most the tolerance.
        assert np.abs(np.array(shown[record.run_id]) - grey).max() < 0.5 + 127.5 * TOLERANCE + 1e-3


def test_z_looks_normal(playing):
    values = playing.evaluate("""() => { const all = [];
        for (const [kind, forward] of Object.entries(dpganForward)) dpganForward[kind] = (model, z, code) => {
            all.push(...z);
            return forward(model, z, code);
        };
        return new Promise((done) => { let left = 20;
            const step = () => { document.querySelector("#playground [name=next]").click();
                requestAnimationFrame(() => requestAnimationFrame(() => left-- ? step() : done(all))); };
            step(); }); }""")
    different = np.array(sorted(set(values)))
    assert len(different) > 1000  # so five standard errors are 0.16 of the mean, 0.11 of the deviation
    assert abs(different.mean()) < 0.16 and abs(different.std() - 1) < 0.11


def test_a_canvas_says_what_it_shows_and_its_caption_what_it_cost(playing):
    playing.get_by_label("5", exact=True).check()
    slider_of(playing, "slant").press("End")
    pictures(playing)
    for record in SHOWN:
        canvas = playing.locator(f"canvas[data-run='{record.run_id}']")
        noun = "digit" if record.asked["method"] == "both" else "class"
        assert f"{noun} 5 asked for, slant 1.00, width 0.00, z number 1" in canvas.get_attribute("aria-label")
        caption = canvas.locator("xpath=../figcaption").inner_text()
        words = ("delta = 1e-5", "add/remove one record", "PLD accountant") if record.config.privacy.is_private else (
            "no privacy",)
        assert all(word in caption for word in words), caption


def test_an_address_brings_back_what_was_on_the_page(playing):
    start = playing.url
    playing.get_by_label("7", exact=True).check()
    slider_of(playing, "slant").press("End")
    digits(playing).get_by_role("button", name="new z").click()
    shown, address = pictures(playing), playing.url
    assert address.startswith(start) and "digits=7" in address and "slant=1" in address and "z=2" in address
    playing.goto("about:blank")
    playing.goto(address)
    after = pictures(playing)
    assert {run: after[run] for run in RUNS} == {run: shown[run] for run in RUNS}
    playing.goto(f"{start}#playground?digits=77&slant=x&z=-3")  # nothing of it makes sense
    assert max(pictures(playing)[SHOWN[0].run_id]) > 128


def taken(page, form, button, count) -> Path:
    """The file that a form's button leaves, of its first generator."""
    form.get_by_label("how many images").fill(str(count))
    with page.expect_download() as download:
        form.get_by_role("button", name=button).click()
    assert form.locator("[aria-live=polite]").inner_text() == f"{count} in {download.value.suggested_filename}"
    return Path(download.value.path())


def test_a_table_taken_home_is_what_the_library_draws(playing):
    playing.evaluate(REMEMBER)
    header, *lines = taken(playing, digits(playing), "table", 25).read_text().splitlines()
    table, asked = np.array([line.split(",") for line in lines], dtype=int), playing.evaluate("() => asked")
    assert header.startswith("label,p0,p1,") and table.shape == (25, 1 + 28 * 28)
    assert list(table[:, 0]) == [i % 10 for i in range(25)]
    z, code = (torch.tensor([one[part] for one in asked[-25:]]).float() for part in ("z", "code"))
    assert code[:, -2:].abs().max() <= 1 and len(code[:, -1].unique()) == 25
    assert np.abs(table[:, 1:] - 127.5 * (drawn(SHOWN[0], z, code) + 1)).max() < 0.5 + 127.5 * TOLERANCE + 1e-3


@pytest.mark.parametrize("asked, drawn", [("", 1), ("0", 1), ("2000", 1000)])
def test_how_many_are_taken_home_stays_within_bounds(playing, asked, drawn):
    form = digits(playing)
    form.get_by_label("how many images").fill(asked)
    with playing.expect_download() as download:
        form.get_by_role("button", name="picture").click()
    with Image.open(download.value.path()) as picture:
        assert picture.size == (280, 28 * -(-drawn // 10))


def test_a_picture_taken_home_has_ten_images_in_a_row(playing):
    with Image.open(taken(playing, digits(playing), "picture", 15)) as picture:
        assert picture.size == (280, 56)
        ink = np.asarray(picture.convert("L")).reshape(2, 28, 10, 28).max((1, 3))
    assert (ink[0] > 128).all() and (ink[1, :5] > 128).all() and (ink[1, 5:] == 0).all()


@pytest.mark.skipif(not FACES, reason="no faces are published")
def test_faces_are_taken_home_as_they_are_ticked(playing):
    header, *lines = taken(playing, faces(playing), "table", 3).read_text().splitlines()
    assert header.startswith("Male,Smiling,Eyeglasses,Blond Hair,p0,")
    assert [line.split(",")[:4] for line in lines] == [["0", "1", "0", "0"]] * 3
    side = FACES[0].config.model.image_side
    assert all(len(line.split(",")) == 4 + 3 * side**2 for line in lines)


def test_nothing_is_cut_off_on_a_phone(playing):
    playing.set_viewport_size({"width": 360, "height": 700})
    assert playing.evaluate("() => document.documentElement.scrollWidth") <= 360
    for part in playing.locator("canvas, .playground-controls :is(input, button, select)").all():
        box = part.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360


def test_faces_follow_their_own_controls_and_digits_do_not(playing):
    for control in (lambda: faces(playing).get_by_label("Eyeglasses").check(),
                    lambda: faces(playing).get_by_role("slider", name="code 1").press("End"),
                    lambda: faces(playing).get_by_role("button", name="new z").click()):
        before = pictures(playing)
        control()
        assert changed(before, pictures(playing)) == FACE_RUNS


def test_a_face_has_the_attributes_that_are_ticked(playing):
    playing.evaluate("""() => { window.asked = [];
        const forward = dpganForward.FaceGenerator;
        dpganForward.FaceGenerator = (model, z, code) => {
            asked.push({z, code});
            return forward(model, z, code);
        }; }""")
    faces(playing).get_by_label("Smiling").uncheck()
    faces(playing).get_by_label("Male").check()
    shown, asked = pictures(playing), playing.evaluate("() => asked")[-1]
    for record in FACES:
        wanted = [name == "Male" for name in record.config.names]
        category = face_model.category_of(np.array([wanted])).item()
        assert np.argmax(asked["code"][: record.config.latent.categories]) == category
        red = drawn(record, torch.tensor([asked["z"]]), torch.tensor([asked["code"]]).float())[0][: 32 * 32]
        assert np.abs(np.array(shown[record.run_id]) - 127.5 * (red + 1)).max() < 0.5 + 127.5 * TOLERANCE + 1e-3
        said = playing.locator(f"canvas[data-run='{record.run_id}']").get_attribute("aria-label")
        assert "Male, not Smiling, not Eyeglasses, not Blond Hair asked for" in said


def test_no_face_is_drawn_by_a_generator_without_privacy():
    assert FACES and all(record.config.privacy.is_private and record.config.unit == "image" for record in FACES)


def live_parts(page) -> list:
    """What needs JavaScript: controls and canvases."""
    return page.locator(".playground-controls, canvas").all()


def test_without_javascript_there_is_a_still_picture(browser, site):
    with browser.new_context(offline=True, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((site / "book" / "playground.html").as_uri())
        stills = page.locator(".playground-still img").all()
        assert len(stills) == 2
        assert all(still.is_visible() and len(still.get_attribute("alt").split()) > 10 for still in stills)
        assert not any(part.is_visible() for part in live_parts(page))


def test_paper_gets_the_still_picture_and_a_screen_does_not(playing):
    stills = playing.locator(".playground-still img").all()
    assert all(part.is_visible() for part in live_parts(playing)) and not any(still.is_visible() for still in stills)
    playing.emulate_media(media="print")
    assert all(still.is_visible() for still in stills) and not any(part.is_visible() for part in live_parts(playing))


def test_its_scripts_are_small_and_no_other_page_loads_them(site):
    scripts = list((site / playground.STATIC).glob("*.js"))
    assert {script.stem for script in scripts} == RUNS | FACE_RUNS
    assert sum(script.stat().st_size for script in scripts) <= 15e6  # bytes: what a reader may have to download
    loading = [page.name for page in site.rglob("*.html") if "generators.js" in page.read_text(encoding="utf-8")]
    assert loading == ["playground.html"]


def test_a_script_is_one_assignment_of_plain_json():
    text = generator_scripts.script(SHOWN[0])
    assert json.loads(text.partition("] = ")[2].rstrip(";\n"))["kind"] == "DeformingGenerator"
