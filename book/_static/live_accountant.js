// The live accountant: the form's numbers in, one line and one curve out. Needs `accountant` (accountant.js) and `pld`
// (loss_distribution.js). What the form holds is also one line, name=value joined by &: in the address after #, and in
// each option of the list of published runs.
"use strict";
(() => {
  const form = document.getElementById("accountant");
  const result = document.getElementById("accountant-result");
  const link = document.getElementById("accountant-link");
  const curve = document.getElementById("accountant-curve");
  const runs = form.elements.run;
  const inputs = [...form.querySelectorAll("input[type=number]")];
  const groups = [...form.querySelectorAll("fieldset[data-part]")]; // mechanisms that may be absent
  const number = (id) => form.elements[id].valueAsNumber;
  const CURVE_POINTS = 24; // by PLD, along the steps

  // Four significant digits, never below the value: it is an upper bound.
  function roundedUp(value) {
    if (value === 0) return "0";
    const unit = 10 ** (Math.floor(Math.log10(value)) - 3);
    const ticks = Math.ceil(value / unit - 1e-9); // the quotient of a round number may come out a hair above it
    return plain(Number((ticks * unit).toPrecision(4)));
  }

  const plain = (value) => (value >= 1e5 ? value.toExponential() : String(value)).replace("e+", "e");

  // What is not there is hidden and disabled: what is disabled is neither validated nor kept.
  function show(mode) {
    for (const row of form.querySelectorAll("[data-mode]")) {
      row.hidden = row.dataset.mode !== mode;
      for (const input of row.querySelectorAll("input")) input.disabled = row.hidden;
    }
    for (const group of groups) {
      const there = group.querySelector("input[type=checkbox]").checked;
      for (const row of group.querySelectorAll("p")) {
        row.hidden = !there;
        for (const input of row.querySelectorAll("input")) input.disabled = !there;
      }
    }
  }

  // What is wrong with the first wrong input, in one line; empty where all are right.
  function complaint(mode) {
    for (const input of inputs) input.removeAttribute("aria-invalid");
    const wrong = inputs.find((input) => !input.disabled && !input.validity.valid);
    if (wrong) return blame(wrong, wrong.dataset.expects);
    for (const batch of ["batch", "reader_batch"].map((id) => form.elements[id]).filter((input) => !input.disabled))
      if (batch.valueAsNumber > number("records"))
        return blame(batch, `must be at most N = ${form.elements.records.value}. Try a smaller batch.`);
    if (number("steps") === 0 && (mode === "noise" || others().length === 0))
      return blame(form.elements.steps, mode === "noise" ? "leaves no noise to look for. Try 3000."
        : "leaves nothing to count: there are no noisy sums and no reader. Try 3000.");
    return "";
  }

  function blame(input, expectation) {
    input.setAttribute("aria-invalid", "true");
    const [name] = input.labels[0].textContent.split(",");
    return input.value ? `${name} = ${input.value} ${expectation}` : `${name} ${expectation}`;
  }

  // The mechanisms beside the critic's steps.
  function others() {
    const parts = [];
    if (form.elements.sums.checked) parts.push({q: 1, sigma: number("sums_noise"), steps: 1});
    if (form.elements.reader.checked)
      parts.push({q: number("reader_batch") / number("records"), sigma: number("reader_noise"),
        steps: number("reader_steps")});
    return parts;
  }

  function update() {
    const mode = form.elements.mode.value;
    show(mode);
    let words = complaint(mode), critic = null;
    if (!words) {
      const [q, steps, delta] = [number("batch") / number("records"), number("steps"), number("delta")];
      const sigma = mode === "epsilon" ? number("noise") : found(q, number("epsilon"), steps, delta);
      if (sigma !== null) critic = {q, sigma, steps};
      words = critic ? answer(mode, critic) : unreachable(q, steps, delta);
    }
    say(result, words);
    link.href = `#${state()}`;
    curve.style.display = critic && critic.steps ? "block" : "none";
    if (critic && critic.steps) draw(critic, others(), number("delta"));
  }

  // A reader of the screen says again what is written again.
  function say(place, words) {
    if (place.textContent !== words) place.textContent = words;
  }

  const byPld = (delta) => delta >= pld.LEAST_DELTA;

  function found(q, budget, steps, delta) {
    return (byPld(delta) ? pld : accountant).noise(q, budget, steps, delta, others());
  }

  function answer(mode, critic) {
    const delta = number("delta"), parts = [critic, ...others()];
    const rdp = roundedUp(accountant.spent(parts, delta));
    const both = byPld(delta) ? `epsilon = ${roundedUp(pld.epsilon(parts, delta))} by PLD, ${rdp} by RDP`
      : `epsilon = ${rdp} by RDP`;
    const spent = `${both} (total, delta = ${form.elements.delta.value}, add/remove one record; unit: one record).`;
    const published = runs.selectedOptions[0].dataset.spent;
    return [mode === "epsilon" ? spent : `noise multiplier = ${critic.sigma} spends ${spent}`,
      published && `The record of this run says ${published}, by the library's PLD, rounded up.`,
      !byPld(delta) && `PLD needs a delta of at least ${plain(pld.LEAST_DELTA)} here.`,
      delta * number("records") >= 1 &&
        "This delta is not below 1/N: publishing one record picked at random would satisfy it."]
      .filter((sentence) => sentence).join(" ");
  }

  function unreachable(q, steps, delta) {
    const parts = [{q, sigma: 1000, steps}, ...others()];
    const least = roundedUp(byPld(delta) ? pld.epsilon(parts, delta) : accountant.spent(parts, delta));
    return blame(form.elements.epsilon,
      `is out of reach: even a noise multiplier of 1000 spends ${least}. Try a larger epsilon.`);
  }

  // The state, as one line

  function state() {
    const pairs = inputs.filter((input) => !input.disabled).map((input) => [input.id, input.value]);
    return new URLSearchParams(pairs).toString();
  }

  // A line that names no number of a mechanism has no such mechanism; other numbers that it does not name stay.
  function hold(line) {
    const values = new URLSearchParams(line);
    for (const input of inputs) if (values.has(input.id)) input.value = values.get(input.id);
    form.elements.mode.value = values.has("epsilon") ? "noise" : "epsilon";
    for (const group of groups)
      group.querySelector("input[type=checkbox]").checked =
        [...group.querySelectorAll("input[type=number]")].some((input) => values.has(input.id));
    turnSliders();
  }

  // Sliders: each number that has a range of its own has one, on a scale of logarithms

  function addSliders() {
    for (const input of inputs.filter((each) => each.dataset.slider)) {
      const slider = document.createElement("input"), [name] = input.labels[0].textContent.split(",");
      Object.assign(slider, {type: "range", min: 0, max: 300, step: 1});
      slider.setAttribute("aria-label", `${name}, slider`);
      slider.dataset.of = input.id;
      input.after(slider);
    }
    turnSliders();
  }

  const sliders = () => [...form.querySelectorAll("input[type=range]")];
  const ends = (input) => input.dataset.slider.split(" ").map(Number);

  function turnSliders(turned) {
    for (const slider of sliders()) {
      const input = form.elements[slider.dataset.of], [from, to] = ends(input);
      const share = Math.log(input.valueAsNumber / from) / Math.log(to / from);
      if (slider !== turned && Number.isFinite(share)) slider.value = 300 * share;
      slider.setAttribute("aria-valuetext", input.value);
    }
  }

  function slide(slider) {
    const input = form.elements[slider.dataset.of], [from, to] = ends(input);
    const value = from * (to / from) ** (slider.value / 300);
    input.value = input.step === "1" ? Math.round(Number(value.toPrecision(3))) : Number(value.toPrecision(3));
  }

  // The curve

  // Round numbers from 0 to at most `most`, four or so of them.
  function ticks(most, least = 0) {
    const rough = Math.max(most / 4, least);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    return Array.from({length: Math.floor(most / step + 1e-9) + 1}, (_, i) => Number((i * step).toPrecision(6)));
  }

  function shape(name, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // Epsilon from one step to twice as many as asked for, after the other mechanisms; a dot is the run asked for. PLD's
  // line comes point by point, while nothing is typed.
  let drawing = 0, drawn = 0; // which drawing it is, and its width

  function draw({q, sigma, steps}, beside, delta) {
    const divergences = accountant.divergences(q, sigma), before = accountant.together(beside);
    const rdp = (t) => accountant.composed(divergences, t, delta, before);
    const exact = (t) => pld.epsilon([{q, sigma, steps: t}, ...beside], delta, pld.SEARCH_CELLS);
    const [width, height, left, right, top, bottom] = [curve.getBoundingClientRect().width, 260, 60, 30, 30, 45];
    drawn = width;
    const most = rdp(2 * steps) || 1; // all 0 where delta is very large
    const x = (t) => left + (width - left - right) * (t / (2 * steps));
    const y = (e) => height - bottom - (height - top - bottom) * (e / most);
    const times = (count) => Array.from({length: count + 1}, (_, i) => Math.max(1, Math.round(i * 2 * steps / count)));
    const point = (t, e) => `${x(t).toFixed(1)},${y(e).toFixed(1)}`;
    const line = shape("polyline", {class: "pld", points: ""});
    curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
    curve.querySelector("desc").textContent = `Epsilon by RDP grows from ${roundedUp(rdp(1))} after 1 step to ` +
      `${roundedUp(rdp(steps))} after ${steps} and ${roundedUp(rdp(2 * steps))} after ${2 * steps}.` +
      (byPld(delta) ? " By PLD it is lower all along." : "");
    curve.querySelector("g").replaceChildren(
      ...ticks(most).flatMap((e) => [
        shape("line", {class: "grid", x1: left, x2: width - right, y1: y(e), y2: y(e)}),
        shape("text", {x: left - 8, y: y(e) + 4, "text-anchor": "end"}, plain(e))]),
      ...ticks(2 * steps, 1).map((t) =>
        shape("text", {x: x(t), y: height - bottom + 18, "text-anchor": "middle"}, plain(t))),
      shape("text", {x: 4, y: 16}, `epsilon (total, delta = ${form.elements.delta.value}, add/remove)`),
      shape("text", {x: width - right, y: height - 6, "text-anchor": "end"}, "critic's steps T"),
      shape("polyline", {class: "rdp", points: times(100).map((t) => point(t, rdp(t))).join(" ")}),
      shape("text", {x: x(1.55 * steps), y: y(rdp(1.55 * steps)) - 8, "text-anchor": "end"}, "RDP"),
      line);
    const mine = ++drawing, rest = byPld(delta) ? times(CURVE_POINTS) : [], points = [];
    const next = () => {
      if (mine !== drawing || rest.length === 0) return;
      const t = rest.shift(), e = exact(t);
      points.push(point(t, e));
      line.setAttribute("points", points.join(" "));
      if (t === steps) line.before(shape("circle", {cx: x(t), cy: y(e), r: 5}));
      if (rest.length === 0)
        line.before(shape("text", {x: x(1.55 * steps), y: y(exact(Math.round(1.55 * steps))) + 20}, "PLD"));
      setTimeout(next);
    };
    setTimeout(next);
  }

  form.hidden = false;
  document.getElementById("accountant-still").hidden = true;
  addSliders();
  const isState = () => location.hash.includes("="); // or the address of a heading
  if (isState()) hold(location.hash.slice(1));
  form.addEventListener("input", ({target}) => {
    if (target === runs) {
      if (runs.value) hold(runs.value);
    } else {
      runs.value = ""; // these are the reader's own numbers now
      if (target.type === "range") slide(target);
      turnSliders(target);
    }
    update();
    history.replaceState(null, "", link.href);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => {
    if (!isState()) return;
    hold(location.hash.slice(1));
    update();
  });
  new ResizeObserver(() => { // also where the page's own layout comes after this script
    const {width} = curve.getBoundingClientRect();
    if (width > 0 && width !== drawn) update();
  }).observe(curve);
  update();
})();
