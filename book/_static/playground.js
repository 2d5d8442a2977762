// The playground: a form's controls make one latent vector (z, code), and every generator that it belongs to draws it.
// Needs window.dpganForward (generators.js) and window.dpganModels (a script a generator).
"use strict";
function play(form) {
  const canvases = [...document.querySelectorAll(`#${form.dataset.figures} canvas[data-run]`)];
  const models = canvases.map((canvas) => window.dpganModels[canvas.dataset.run]);
  const longest = models.reduce((most, model) => (model.z > most.z ? model : most));
  const {digits, component, value, back, next} = form.elements;
  const codes = [...form.querySelectorAll("input[data-code]")];
  const attributes = [...form.querySelectorAll("input[data-attribute]")]; // of faces
  const status = form.querySelector("[role=status]");
  let number = 1, z, isPending = false;

  // Normal numbers from a seed: xorshift, then Box and Muller. Shorter z are beginnings of longer ones.
  function draw(seed, count) {
    let state = Math.imul(seed, 0x9e3779b1) || 1;
    function uniform() {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return ((state >>> 0) + 0.5) / 2 ** 32;
    }
    for (let i = 0; i < 20; i++) uniform(); // neighbouring seeds part
    return Array.from({length: count}, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
  }

  function turnTo(wanted) {
    number = wanted;
    z = draw(number, longest.z);
    back.disabled = number === 1;
    status.textContent = `number ${number}`;
    showComponent();
  }

  function showComponent() {
    value.value = z[component.value];
    update();
  }

  function update() {
    for (const slider of [...codes, value])
      form.querySelector(`output[for=${slider.id}]`).textContent = Number(slider.value).toFixed(2);
    if (isPending) return;
    isPending = true;
    requestAnimationFrame(() => {
      isPending = false;
      canvases.forEach((canvas, i) => paint(canvas, models[i]));
    });
  }

  // What is asked for: a digit, or a combination of attributes, of which the first changes slowest.
  function asked(noun) {
    if (digits) return {category: Number(digits.value), words: `${noun} ${digits.value}`};
    return {category: attributes.reduce((sum, box) => 2 * sum + Number(box.checked), 0),
            words: attributes.map((box) => `${box.checked ? "" : "not "}${box.name}`).join(", ")};
  }

  function paint(canvas, model) {
    const {category, words: request} = asked(canvas.dataset.noun);
    const numbers = codes.map((slider) => Number(slider.value));
    const oneHot = Array.from({length: model.categories}, (_, i) => Number(i === category));
    const pixels = window.dpganForward[model.kind](model, z.slice(0, model.z), [...oneHot, ...numbers]);
    show(canvas, model, pixels);
    const words = codes.map((slider, i) => `${slider.name} ${numbers[i].toFixed(2)}`).join(", ");
    const part = `z${Number(component.value) + 1} at ${Number(value.value).toFixed(2)}`;
    canvas.setAttribute("aria-label",
      `${canvas.dataset.name}: ${request} asked for, ${words}, z number ${number}, ${part}`);
  }

  function show(canvas, {side, channels}, pixels) {
    const context = canvas.getContext("2d"), image = context.createImageData(side, side), area = side * side;
    for (let p = 0; p < area; p++) {
      for (let c = 0; c < 3; c++) image.data[4 * p + c] = 127.5 * (pixels[Math.min(c, channels - 1) * area + p] + 1);
      image.data[4 * p + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  for (let k = 0; k < longest.z; k++) {
    const name = longest.zNames?.[k];
    component.add(new Option(`z${k + 1}${name ? `: ${name}` : ""}`, k));
  }
  component.addEventListener("change", showComponent);
  value.addEventListener("input", () => (z[component.value] = Number(value.value)));
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  next.addEventListener("click", () => turnTo(number + 1));
  back.addEventListener("click", () => turnTo(number - 1));
  turnTo(1);
}

for (const part of document.querySelectorAll(".playground-live")) part.hidden = false;
for (const part of document.querySelectorAll(".playground-still")) part.classList.add("playground-print");
for (const form of document.querySelectorAll("form[data-figures]")) play(form);
