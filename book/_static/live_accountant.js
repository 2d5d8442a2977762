// The live accountant: the form's numbers in, one line and one curve out. Needs `accountant` (accountant.js).
"use strict";
(() => {
  const form = document.getElementById("accountant");
  const result = document.getElementById("accountant-result");
  const curve = document.getElementById("accountant-curve");
  const inputs = [...form.querySelectorAll("input[type=number]")];
  const number = (id) => form.elements[id].valueAsNumber;

  // Three significant digits, never below the value: it is an upper bound.
  function roundedUp(value) {
    if (value === 0) return "0";
    const unit = 10 ** (Math.floor(Math.log10(value)) - 2);
    const ticks = Math.ceil(value / unit - 1e-9); // the quotient of a round number may come out a hair above it
    return plain(Number((ticks * unit).toPrecision(3)));
  }

  const plain = (value) => (value >= 1e5 ? value.toExponential() : String(value)).replace("e+", "e");

  function turnTo(mode) {
    for (const row of form.querySelectorAll("[data-mode]")) {
      row.hidden = row.dataset.mode !== mode;
      row.querySelector("input").disabled = row.hidden; // what is disabled is not validated
    }
  }

  // What is wrong with the first wrong input, in one line; empty where all are right.
  function complaint() {
    for (const input of inputs) input.removeAttribute("aria-invalid");
    const wrong = inputs.find((input) => !input.disabled && !input.validity.valid);
    if (wrong) return blame(wrong, wrong.dataset.expects);
    if (number("batch") > number("records"))
      return blame(form.elements.batch, `must be at most N = ${form.elements.records.value}. Try a smaller batch.`);
    return "";
  }

  function blame(input, expectation) {
    input.setAttribute("aria-invalid", "true");
    const [name] = input.labels[0].textContent.split(",");
    return input.value ? `${name} = ${input.value} ${expectation}` : `${name} ${expectation}`;
  }

  function update() {
    const mode = form.elements.mode.value;
    turnTo(mode);
    let words = complaint(), divergences = null;
    if (!words) {
      const [q, steps, delta] = [number("batch") / number("records"), number("steps"), number("delta")];
      const noise = mode === "epsilon" ? number("noise") : accountant.noise(q, number("epsilon"), steps, delta);
      if (noise !== null) divergences = accountant.divergences(q, noise);
      words = divergences ? answer(mode, noise, divergences) : unreachable(q, steps, delta);
    }
    result.textContent = words;
    curve.style.display = divergences ? "block" : "none";
    if (divergences) draw(divergences, number("steps"), number("delta"));
  }

  function answer(mode, noise, divergences) {
    const [steps, delta] = [number("steps"), number("delta")];
    const spent = `epsilon = ${roundedUp(accountant.composed(divergences, steps, delta))} (total, ` +
      `delta = ${form.elements.delta.value}, add/remove one record, RDP accountant; unit: one record).`;
    const warning = delta * number("records") < 1 ? ""
      : " This delta is not below 1/N: publishing one record picked at random would satisfy it.";
    return (mode === "epsilon" ? spent : `noise multiplier = ${noise} spends ${spent}`) + warning;
  }

  function unreachable(q, steps, delta) {
    const least = roundedUp(accountant.epsilon(q, 1000, steps, delta));
    return blame(form.elements.epsilon,
      `is out of reach: even a noise multiplier of 1000 spends ${least} by this accountant. Try a larger epsilon.`);
  }

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

  // Epsilon from one step to twice as many as asked for; a dot is the run asked for.
  function draw(divergences, steps, delta) {
    const epsilon = (t) => accountant.composed(divergences, t, delta);
    const [width, height, left, right, top, bottom] = [curve.getBoundingClientRect().width, 260, 60, 30, 30, 45];
    const most = epsilon(2 * steps) || 1; // all 0 where delta is very large
    const x = (t) => left + (width - left - right) * (t / (2 * steps));
    const y = (e) => height - bottom - (height - top - bottom) * (e / most);
    const times = Array.from({length: 101}, (_, i) => Math.max(1, Math.round(i * steps / 50)));
    const points = times.map((t) => `${x(t).toFixed(1)},${y(epsilon(t)).toFixed(1)}`).join(" ");
    curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
    curve.querySelector("desc").textContent = `Epsilon grows from ${roundedUp(epsilon(1))} after 1 step to ` +
      `${roundedUp(epsilon(steps))} after ${steps} and ${roundedUp(epsilon(2 * steps))} after ${2 * steps}.`;
    curve.querySelector("g").replaceChildren(
      ...ticks(most).flatMap((e) => [
        shape("line", {class: "grid", x1: left, x2: width - right, y1: y(e), y2: y(e)}),
        shape("text", {x: left - 8, y: y(e) + 4, "text-anchor": "end"}, plain(e))]),
      ...ticks(2 * steps, 1).map((t) =>
        shape("text", {x: x(t), y: height - bottom + 18, "text-anchor": "middle"}, plain(t))),
      shape("text", {x: 4, y: 16}, `epsilon (total, delta = ${form.elements.delta.value}, add/remove)`),
      shape("text", {x: width - right, y: height - 6, "text-anchor": "end"}, "steps T"),
      shape("polyline", {points}),
      shape("circle", {cx: x(steps), cy: y(epsilon(steps)), r: 5}));
  }

  form.hidden = false;
  document.getElementById("accountant-still").hidden = true;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("resize", update);
  update();
})();
