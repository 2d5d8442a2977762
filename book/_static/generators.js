// The library's generators in a browser: window.dpganForward[kind](model, z, code) -> pixels in [-1, 1].
// Each follows its PyTorch module line by line, in dpgan_lib/gan/networks.py and warm_start/generators.py;
// tests/test_playground.py compares what they draw. Maps are {data, channels, side}, data in PyTorch's order: channels,
// rows, columns.
"use strict";
(() => {
  const CUBIC = -0.75; // PyTorch's parameter of bicubic interpolation
  const EDGE = 0.01, LEAK = 0.2; // of the correction's logit, and of its leaky ReLU

  // Tensors: unpacked when first asked for

  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  }

  function unpack(packed) {
    if (packed.floats) return new Float32Array(bytes(packed.floats));
    const scales = new Float32Array(bytes(packed.scales)), integers = new Int16Array(bytes(packed.integers));
    return Float32Array.from(integers, (value, i) => value * scales[Math.floor(i / packed.block)]);
  }

  function tensor(model, name) {
    const packed = model.tensors[name];
    return (packed.data ??= unpack(packed));
  }

  // Layers: what PyTorch's of the same names do

  function linear(model, name, x) {
    const weight = tensor(model, `${name}.weight`), bias = tensor(model, `${name}.bias`);
    return bias.map((start, o) => x.reduce((sum, v, i) => sum + v * weight[o * x.length + i], start));
  }

  function convolution(model, name, x, padding) {
    const weight = tensor(model, `${name}.weight`), bias = tensor(model, `${name}.bias`);
    const side = x.side, area = side * side, kernel = 2 * padding + 1; // so the side stays
    const data = new Float32Array(bias.length * area);
    for (let o = 0, w = 0; o < bias.length; o++) {
      data.fill(bias[o], o * area, (o + 1) * area);
      for (let i = 0; i < x.channels; i++)
        for (let dy = -padding; dy < kernel - padding; dy++)
          for (let dx = -padding; dx < kernel - padding; dx++)
            addShifted(data, o * area, x.data, i * area, side, dy, dx, weight[w++]);
    }
    return {data, channels: bias.length, side};
  }

  function addShifted(to, toStart, from, fromStart, side, dy, dx, factor) {
    const left = Math.max(0, -dx), right = Math.min(side, side - dx);
    for (let y = Math.max(0, -dy); y < Math.min(side, side - dy); y++)
      for (let x = left, t = toStart + y * side, f = fromStart + (y + dy) * side + dx; x < right; x++)
        to[t + x] += factor * from[f + x];
  }

  const LAYERS = {
    Linear: (model, layer, x) => ({data: linear(model, layer.name, x.data)}),
    Unflatten: (model, layer, x) => ({data: x.data, channels: layer.shape[0], side: layer.shape[1]}),
    Conv2d: (model, layer, x) => convolution(model, layer.name, x, layer.padding),
    ReLU: (model, layer, x) => ({...x, data: x.data.map((v) => Math.max(0, v))}),
    Tanh: (model, layer, x) => ({...x, data: x.data.map(Math.tanh)}),

    BatchNorm2d(model, layer, x) { // in evaluation mode
      const [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
        (name) => tensor(model, `${layer.name}.${name}`));
      const area = x.side * x.side;
      const data = x.data.map((v, i) => {
        const c = Math.floor(i / area);
        return (v - mean[c]) / Math.sqrt(variance[c] + layer.tiny) * weight[c] + bias[c];
      });
      return {...x, data};
    },

    PixelShuffle(model, layer, x) {
      const r = layer.factor, side = r * x.side, data = new Float32Array(x.data.length);
      for (let i = 0; i < data.length; i++) {
        const column = i % side, row = Math.floor(i / side) % side, c = Math.floor(i / side / side);
        const from = (c * r + row % r) * r + column % r;
        data[i] = x.data[(from * x.side + Math.floor(row / r)) * x.side + Math.floor(column / r)];
      }
      return {data, channels: x.channels / (r * r), side};
    },
  };

  function layered(model, z, code) {
    let x = {data: Float32Array.from([...z, ...code])};
    for (const layer of model.layers) x = LAYERS[layer.kind](model, layer, x);
    return x.data;
  }

  // Deformed prototypes

  function deformed(model, z, code) {
    const {side, knots, slant} = model, area = side * side;
    const y = code.slice(0, -2).indexOf(1);
    const [lean, width] = code.slice(-2).map((v) => Math.sqrt(3) * v);
    const moves = [...z.slice(1, 1 + slant), lean, ...z.slice(1 + slant)];
    const map = rowOf(model, "mean", y).map((mean, i) => mean + Math.exp(rowOf(model, "log_spread", y)[i]) * moves[i]);
    const bend = z.slice(map.length).map((v) => Math.exp(tensor(model, "log_bend")[y]) * v);
    const field = [0, 1].map((axis) => bicubic(bend.slice(axis * knots ** 2, (axis + 1) * knots ** 2), knots, side));
    const style = model.quantiles[y].filter((quantile) => quantile < z[0]).length;
    const start = (y * model.tensors.images.shape[1] + style) * model.channels * area;
    const image = tensor(model, "images").subarray(start, start + model.channels * area);
    const contrast = Math.exp(tensor(model, "log_contrast")[y]);
    const threshold = tensor(model, "threshold")[y] - Math.exp(tensor(model, "log_threshold_spread")[y]) * width;
    const ink = sharpen(warp(image, model.channels, side, map, field), contrast, threshold);
    return correct(model, ink, [...z, ...code]).map((v) => 2 * v - 1);
  }

  function rowOf(model, name, row) {
    const width = model.tensors[name].shape[1];
    return tensor(model, name).subarray(row * width, (row + 1) * width);
  }

  // Pixel centres lie at (2 i + 1) / side - 1: align_corners is false. Outside of the image there is 0.
  function warp(image, channels, side, [a, b, c, d, right, down], [across, along]) {
    const warped = new Float32Array(image.length), area = side * side;
    for (let p = 0; p < area; p++) {
      const x = (2 * (p % side) + 1) / side - 1, y = (2 * Math.floor(p / side) + 1) / side - 1;
      const u = (((1 + a) * x + b * y + right + across[p] + 1) * side - 1) / 2;
      const v = ((c * x + (1 + d) * y + down + along[p] + 1) * side - 1) / 2;
      for (let channel = 0; channel < channels; channel++)
        warped[channel * area + p] = bilinear(image, channel * area, side, u, v);
    }
    return warped;
  }

  function bilinear(image, start, side, u, v) {
    const left = Math.floor(u), top = Math.floor(v);
    let sum = 0;
    for (const [column, across] of [[left, 1 - (u - left)], [left + 1, u - left]])
      for (const [row, down] of [[top, 1 - (v - top)], [top + 1, v - top]])
        if (column >= 0 && column < side && row >= 0 && row < side)
          sum += across * down * image[start + row * side + column];
    return sum;
  }

  // A square of numbers made larger; beyond its edge it goes on as at the edge.
  function bicubic(values, from, to) {
    const sources = Array.from({length: to}, (_, i) => cubicSource((i + 0.5) * from / to - 0.5, from));
    return Float32Array.from({length: to * to}, (_, p) => {
      let sum = 0;
      for (const [y, down] of sources[Math.floor(p / to)])
        for (const [x, across] of sources[p % to]) sum += down * across * values[y * from + x];
      return sum;
    });
  }

  function cubicSource(position, count) { // four places with their weights
    const first = Math.floor(position);
    return [-1, 0, 1, 2].map((k) => [clamp(first + k, 0, count - 1), cubic(Math.abs(position - first - k))]);
  }

  function cubic(t) {
    if (t <= 1) return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1;
    return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC;
  }

  function sharpen(pixels, contrast, threshold) {
    const lowest = sigmoid(-contrast * threshold);
    return pixels.map((v) => (sigmoid(contrast * (v - threshold)) - lowest) / (1 - lowest));
  }

  function correct(model, ink, latent) {
    const {side, channels} = model, quarter = side / 4, area = quarter ** 2;
    const coarse = linear(model, "correction.latent", latent), more = coarse.length / area;
    const fine = convolution(model, "correction.pixels", {data: ink, channels, side}, 2);
    const both = new Float32Array((fine.channels + more) * side ** 2);
    both.set(fine.data);
    for (let c = 0; c < more; c++)
      both.set(enlarged(coarse.subarray(c * area, (c + 1) * area), quarter, side), (fine.channels + c) * side ** 2);
    const hidden = convolution(model, "correction.both", {data: leaky(both), channels: fine.channels + more, side}, 1);
    const out = convolution(model, "correction.out", {...hidden, data: leaky(hidden.data)}, 1);
    return out.data.map((v, i) => sigmoid(logit(ink[i]) + model.gain * v));
  }

  function enlarged(values, from, to) { // bilinear, beyond the edge as at the edge
    const inside = Array.from({length: to}, (_, i) => clamp((i + 0.5) * from / to - 0.5, 0, from - 1));
    return Float32Array.from({length: to * to}, (_, p) =>
      bilinear(values, 0, from, inside[p % to], inside[Math.floor(p / to)]));
  }

  function logit(v) {
    const kept = clamp(v, EDGE, 1 - EDGE);
    return Math.log(kept / (1 - kept));
  }

  // Faces: a weighted sum of images, each held as low frequencies of its colours

  function face(model, z, code) {
    const {side, attributes, colours, kept} = model, categories = 2 ** attributes, area = side * side;
    const category = code.slice(0, categories).indexOf(1);
    const signs = Array.from({length: attributes}, (_, a) => 2 * ((category >> (attributes - 1 - a)) & 1) - 1);
    const weights = [1, ...signs, ...code.slice(categories).map((v) => Math.sqrt(3) * v), ...z];
    const low = weightedSum(model, "images", weights), pixels = new Float32Array(3 * area).fill(0.5);
    for (let colour = 0, start = 0; colour < 3; start += kept[colour++] ** 2) {
      const plane = cosines(low.subarray(start), kept[colour], side);
      for (let p = 0; p < 3 * area; p++) pixels[p] += colours[colour][Math.floor(p / area)] * plane[p % area] / 2;
    }
    const shown = pixels.map((v) => clamp(v, 0, 1));
    return correct(model, shown, [...z, ...code]).map((v) => 2 * v - 1);
  }

  function weightedSum(model, name, weights) {
    const sum = new Float64Array(model.tensors[name].shape[1]);
    weights.forEach((weight, row) => rowOf(model, name, row).forEach((v, k) => (sum[k] += weight * v)));
    return sum;
  }

  // A square of low frequencies as pixels: the inverse of a cosine transform (DCT-II), along one side, then the other.
  function cosines(low, kept, side) {
    const wave = (i, x) => Math.cos(Math.PI / side * i * (x + 0.5)) * Math.sqrt((i ? 2 : 1) / side);
    const waves = Array.from({length: kept}, (_, i) => Array.from({length: side}, (_, x) => wave(i, x)));
    const rows = Array.from({length: kept}, (_, i) => Array.from({length: side}, (_, x) =>
      waves.reduce((sum, of, j) => sum + low[i * kept + j] * of[x], 0)));
    return Float64Array.from({length: side * side}, (_, p) =>
      rows.reduce((sum, row, i) => sum + waves[i][Math.floor(p / side)] * row[p % side], 0));
  }

  const clamp = (v, least, most) => Math.min(most, Math.max(least, v));
  const leaky = (values) => values.map((v) => (v < 0 ? LEAK * v : v));
  const sigmoid = (v) => 1 / (1 + Math.exp(-v));

  window.dpganForward = {Generator: layered, DeformingGenerator: deformed, FaceGenerator: face};
})();
