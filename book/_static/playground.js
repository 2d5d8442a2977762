// The playground: a form's controls make one latent vector (z, code), and every generator that it belongs to draws it.
// Needs window.dpganForward (generators.js) and window.dpganModels (a script a generator).
"use strict";
function play(form) {
  const canvases = [...document.querySelectorAll(`#${form.dataset.figures} canvas[data-run]`)];
  const models = canvases.map((canvas) => window.dpganModels[canvas.dataset.run]);
  const longest = models.reduce((most, model) => (model.z > most.z ? model : most));
  const {digits, component, value, back, next, run, count, picture, table} = form.elements;
  const codes = [...form.querySelectorAll("input[data-code]")];
  const attributes = [...form.querySelectorAll("input[data-attribute]")]; // of faces
  const status = form.querySelector("[role=status]");
  let number = 1, z, isPending = false;

  // Uniform numbers from a seed, by xorshift; and from two of these a normal one, by Box and Muller.
  function uniforms(seed) {
    let state = Math.imul(seed, 0x9e3779b1) || 1;
    function uniform() {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return ((state >>> 0) + 0.5) / 2 ** 32;
    }
    for (let i = 0; i < 20; i++) uniform(); // neighbouring seeds part
    return uniform;
  }

  // Shorter z are beginnings of longer ones.
  function draw(uniform) {
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return Array.from({length: longest.z}, normal);
  }

  function turnTo(wanted) {
    number = wanted;
    z = draw(uniforms(number));
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
    show(canvas.getContext("2d"), model, generated(model, z, category, numbers));
    const words = codes.map((slider, i) => `${slider.name} ${numbers[i].toFixed(2)}`).join(", ");
    const part = `z${Number(component.value) + 1} at ${Number(value.value).toFixed(2)}`;
    canvas.setAttribute("aria-label",
      `${canvas.dataset.name}: ${request} asked for, ${words}, z number ${number}, ${part}`);
  }

  function generated(model, latent, category, numbers) {
    const oneHot = Array.from({length: model.categories}, (_, i) => Number(i === category));
    return window.dpganForward[model.kind](model, latent.slice(0, model.z), [...oneHot, ...numbers]);
  }

  function show(context, {side, channels}, pixels, left = 0, top = 0) {
    const image = context.createImageData(side, side), area = side * side;
    for (let p = 0; p < area; p++) {
      for (let c = 0; c < 3; c++) image.data[4 * p + c] = 127.5 * (pixels[Math.min(c, channels - 1) * area + p] + 1);
      image.data[4 * p + 3] = 255;
    }
    context.putImageData(image, left, top);
  }

  // The address of what is on the page, and back: names and values of the controls, and the number of z.
  function share() {
    const held = new URLSearchParams();
    if (digits) held.set("digits", digits.value);
    for (const box of attributes) held.set(box.name, Number(box.checked));
    for (const slider of codes) held.set(slider.name, slider.value);
    held.set("z", number);
    history.replaceState(null, "", `#${form.id}?${held}`);
  }

  function hold(address) {
    const [name, words] = address.slice(1).split("?");
    if (name !== form.id || !words) return;
    const held = new URLSearchParams(words);
    if (digits && held.has("digits")) digits.value = held.get("digits");
    for (const box of attributes) if (held.has(box.name)) box.checked = held.get(box.name) === "1";
    for (const slider of codes) if (held.has(slider.name)) slider.value = held.get(slider.name);
    turnTo(Math.max(1, Math.trunc(Number(held.get("z"))) || 1));
  }

  // Images to take home: z number 1, 2, ..., codes at random; all digits in turn, or the faces that are asked for.
  const wanted = () => Math.min(Math.max(1, Math.trunc(count.value) || 1), count.max);

  function* images(model) {
    for (let i = 0; i < wanted(); i++) {
      const uniform = uniforms(i + 1), latent = draw(uniform);
      const category = digits ? i % model.categories : asked("").category;
      yield {category, pixels: generated(model, latent, category, codes.map(() => 2 * uniform() - 1))};
    }
  }

  async function take(begin) {
    const model = window.dpganModels[run.value], file = begin(model), said = table.nextElementSibling;
    const name = `${run.selectedOptions[0].text} ${run.value}`.replace(/[^\w.]+/g, "-");
    let made = 0;
    for (const image of images(model)) {
      file.add(image, made++);
      if (made % 20) continue;
      said.textContent = `${made} drawn`;
      await new Promise(requestAnimationFrame);
    }
    const link = document.createElement("a"), [blob, ending] = await file.end();
    link.href = URL.createObjectURL(blob);
    link.download = `${name}.${ending}`;
    link.click();
    said.textContent = `${made} in ${link.download}`;
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // Ten in a row, so that a column is a digit.
  function pictured(model) {
    const sheet = document.createElement("canvas"), {side} = model, context = sheet.getContext("2d");
    sheet.width = 10 * side;
    sheet.height = Math.ceil(wanted() / 10) * side;
    return {
      add: ({pixels}, i) => show(context, model, pixels, (i % 10) * side, Math.floor(i / 10) * side),
      end: () => new Promise((done) => sheet.toBlob((blob) => done([blob, "png"]))),
    };
  }

  // A line an image: what was asked for, then bytes by row, column and channel.
  function tabled({side, channels}) {
    const area = side * side, names = digits ? ["label"] : attributes.map((box) => box.name);
    const lines = [[...names, ...Array.from({length: area * channels}, (_, i) => `p${i}`)].join(",")];
    const request = (category) => (digits ? [category] : attributes.map((box) => Number(box.checked)));
    return {
      add({category, pixels}) {
        const bytes = Array.from(pixels, (_, i) => pixels[(i % channels) * area + Math.floor(i / channels)])
          .map((v) => Math.round(127.5 * (Math.min(Math.max(v, -1), 1) + 1)));
        lines.push([...request(category), ...bytes].join(","));
      },
      end: async () => [new Blob([lines.join("\n"), "\n"], {type: "text/csv"}), "csv"],
    };
  }

  for (const canvas of canvases) run.add(new Option(canvas.dataset.name, canvas.dataset.run));

  for (let k = 0; k < longest.z; k++) {
    const name = longest.zNames?.[k];
    component.add(new Option(`z${k + 1}${name ? `: ${name}` : ""}`, k));
  }
  component.addEventListener("change", showComponent);
  value.addEventListener("input", () => (z[component.value] = Number(value.value)));
  form.addEventListener("input", ({target}) => {
    update();
    if (![component, value, run, count].includes(target)) share();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const [button, step] of [[next, 1], [back, -1]])
    button.addEventListener("click", () => {
      turnTo(number + step);
      share();
    });
  picture.addEventListener("click", () => take(pictured));
  table.addEventListener("click", () => take(tabled));
  window.addEventListener("hashchange", () => hold(location.hash));
  turnTo(1);
  hold(location.hash);
}

for (const part of document.querySelectorAll(".playground-live")) part.hidden = false;
for (const part of document.querySelectorAll(".playground-still")) part.classList.add("playground-print");
for (const form of document.querySelectorAll("form[data-figures]")) play(form);
