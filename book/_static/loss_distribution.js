// Epsilon by the privacy loss distribution (PLD), in the browser: pld.epsilon(parts, delta) bounds what spent_pld of
// dpgan_lib/privacy/accounting.py bounds; a test holds the two against each other.
//
// parts: mechanisms on the same records, each {q, sigma, steps}: so many steps of a Gaussian mechanism on Poisson
// batches, q: sampling rate, sigma: noise multiplier. q = 1 and steps = 1 is a noisy sum. In units of the clip norm
// neighbours differ as mu_0 = N(0, sigma^2), without the record, and mu = (1 - q) mu_0 + q N(1, sigma^2), with it.
// The loss at x is l(x) = log(mu / mu_0), which grows with x: under mu it is what removing the record may reveal, and
// -l(x) under mu_0 what adding it may. Losses, intervals and epsilons in nats.
//
// Each step's loss is put on a public grid, T steps of it are a power of its Fourier transform, and parts multiply.
// Everything is rounded against the reader: the answer is an upper bound, to the rounding of float64.
//
// Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022, "Connect the Dots: Tighter Discrete Approximations of Privacy Loss
// Distributions", arXiv 2207.04380: where the mass of a cell goes.
// Matta, Reichel 1971, "Uniform computation of the error function and other related functions".
"use strict";

const pld = (() => {
  const FINENESS = 20; // grid intervals in the spread of one step's loss; adds less than FINENESS^-2 to its variance
  const FEWEST_CELLS = 2 ** 15; // of the grid: where the above needs less, intervals are finer still
  const MOST_CELLS = 2 ** 18; // for responsiveness: a grid that needs more is coarser, and looser
  const TAIL = 1e-6; // what may be cut off, in units of delta; it is added to delta
  const LEAST_DELTA = 1e-10; // below, the rounding of the transform, about 1e-13, would show in the digits

  const NOISE_TICKS = 1000; // noise is found as a multiple of 1 / NOISE_TICKS
  const [FIRST_TICK, LAST_TICK] = [10, 1000000]; // 0.01 and 1000
  const SEARCH_CELLS = 2 ** 10; // while looking for it, and along a curve

  // The lesser tail of the normal law, P(Z > |z|), to 1e-14 relative: a trapezoid rule, with a pole's residue.
  const STEP = 0.5;
  const NODES = Array.from({length: 13}, (_, k) => ((k + 0.5) * STEP) ** 2);
  const WEIGHTS = NODES.map((square) => Math.exp(-square));

  function tail(z) {
    const x = Math.abs(z) / Math.SQRT2;
    if (x > 27) return 0; // below the least double
    let sum = 0;
    for (let k = 0; k < NODES.length; k++) sum += WEIGHTS[k] / (NODES[k] + x * x);
    const pole = x < Math.PI / STEP ? 1 / (1 + Math.exp(2 * Math.PI * x / STEP)) : 0; // it counts only this side of x
    return (STEP * x / Math.PI) * Math.exp(-x * x) * sum + pole;
  }

  // P(a < Z < b), from the tails at a and b.
  function between(a, tailA, b, tailB) {
    if (a >= 0) return tailA - tailB;
    return b <= 0 ? tailB - tailA : 1 - tailA - tailB;
  }

  // l(x), and its inverse: -infinity below what the loss can be.
  function lossAt({q, sigma}, x) {
    const exponent = (2 * x - 1) / (2 * sigma * sigma);
    if (q === 1) return exponent;
    if (exponent > 30) return exponent + Math.log(q + (1 - q) * Math.exp(-exponent)); // else it may overflow
    return Math.log1p(q * Math.expm1(exponent));
  }

  function pointAt({q, sigma}, loss) {
    if (q === 1) return sigma * sigma * loss + 0.5;
    const log = loss > 30 ? loss + Math.log1p((q - 1) * Math.exp(-loss)) : Math.log(Math.max(Math.expm1(loss) + q, 0));
    return sigma * sigma * (log - Math.log(q)) + 0.5;
  }

  // What x is looked at: all but a mass of less than `cut` under mu_0 and under mu.
  function reach({sigma}, cut) {
    const z = Math.sqrt(2 * Math.log(1 / cut));
    return [-z * sigma, 1 + z * sigma];
  }

  // The standard deviation of one step's loss under mu, to a few digits: it only chooses the grid.
  function spread(part, cut) {
    const [from, to] = reach(part, cut), {q, sigma} = part;
    const moments = [0, 0, 0];
    for (let i = 0; i <= 1000; i++) {
      const x = from + (to - from) * i / 1000, loss = lossAt(part, x);
      const density = (1 - q) * Math.exp(-((x / sigma) ** 2) / 2) + q * Math.exp(-(((x - 1) / sigma) ** 2) / 2);
      moments.forEach((_, power) => { moments[power] += density * loss ** power; });
    }
    const mean = moments[1] / moments[0];
    return Math.sqrt(Math.max(moments[2] / moments[0] - mean * mean, 0));
  }

  // One step's loss on the multiples of h, for removing and for adding: {first: index of the first mass, mass, mode:
  // where in it the most lies, lost: mass at infinity}. The mass of a cell goes to its two ends so that its mass under
  // either law is kept: the bound is exact at the grid's points. What lies outside of `reach` goes to the end above it.
  function discretised(part, h, cut) {
    const {q, sigma} = part, [from, to] = reach(part, cut);
    const first = Math.floor(lossAt(part, from) / h), last = Math.max(Math.ceil(lossAt(part, to) / h), first + 1);
    const cells = last - first, share = -Math.expm1(-h);
    const remove = {first, mass: new Float64Array(cells + 1), lost: 0};
    const add = {first: -last, mass: new Float64Array(cells + 1), lost: 0};
    let [z0, z1, tail0, tail1] = [-Infinity, -Infinity, 0, 0];
    for (let i = -1; i <= cells; i++) { // cell -1 is all below the grid, the last one all above
      const x = i < cells ? pointAt(part, (first + i + 1) * h) : Infinity;
      const [y0, y1] = [x / sigma, (x - 1) / sigma];
      const [next0, next1] = [tail(y0), tail(y1)];
      const mass0 = between(z0, tail0, y0, next0), mass1 = between(z1, tail1, y1, next1);
      [z0, z1, tail0, tail1] = [y0, y1, next0, next1];
      const mass = (1 - q) * mass0 + q * mass1;
      if (i < 0) {
        remove.mass[0] += mass;
        add.lost += mass0;
      } else if (i === cells) {
        remove.lost += mass;
        add.mass[0] += mass0;
      } else {
        const [low, high] = [(first + i) * h, (first + i + 1) * h];
        const beyond = Math.abs(low) > 600; // doubles end at exp(709): there all goes up
        const up = beyond ? mass : clamped((q * mass1 - mass0 * (Math.expm1(low) + q)) / share, mass);
        remove.mass[i + 1] += up;
        remove.mass[i] += mass - up;
        const upAdd = beyond ? mass0
          : clamped(Math.exp(-high) * (mass0 * (Math.expm1(high) + q) - q * mass1) / share, mass0);
        add.mass[cells - i] += upAdd;
        add.mass[cells - i - 1] += mass0 - upAdd;
      }
    }
    for (const side of [remove, add]) side.mode = side.mass.indexOf(side.mass.reduce((a, b) => Math.max(a, b)));
    return {remove, add};
  }

  const clamped = (value, most) => Math.min(Math.max(value, 0), most);

  // log E[exp(slope * loss)] of one step, for slope in units of 1 / h, in steps up and down from the likeliest loss.
  // NaN or infinite where that overflows.
  function logMoment({first, mass, mode}, slope) {
    const factor = Math.exp(slope);
    let sum = 0;
    for (let i = mode, weight = 1; i < mass.length; i++, weight *= factor) sum += weight * mass[i];
    for (let i = mode - 1, weight = 1 / factor; i >= 0; i--, weight /= factor) sum += weight * mass[i];
    return Math.log(sum) + slope * (first + mode);
  }

  // Between which grid points the composed loss lies, but for a mass of `cut` at either end (Chernoff's bound).
  function window(steps, sides, spreadOfAll, cut) {
    const total = (end) => sides.reduce((sum, side, j) => sum + steps[j] * end(side), 0);
    let low = total(({first}) => first), high = total(({first, mass}) => first + mass.length - 1);
    for (let slope = 12 / spreadOfAll, i = 0; i < 24; i++, slope /= 1.5) {
      const bound = (sign) => (total((side) => logMoment(side, sign * slope)) + Math.log(1 / cut)) / slope;
      high = Math.min(high, Math.ceil(bound(1)) || Infinity);
      low = Math.max(low, -Math.ceil(bound(-1)) || -Infinity);
    }
    return {low, high};
  }

  // The transform, in place: sum over j of (re + i im)[j] exp(-2 pi i j k / n), n a power of 2.
  function transform(re, im) {
    const n = re.length;
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) {
        swap(re, i, j);
        swap(im, i, j);
      }
    }
    const cos = new Float64Array(n / 2), sin = new Float64Array(n / 2);
    for (let k = 0; k < n / 2; k++) {
      cos[k] = Math.cos(2 * Math.PI * k / n);
      sin[k] = -Math.sin(2 * Math.PI * k / n);
    }
    for (let half = 1; half < n; half *= 2) {
      const stride = n / (2 * half);
      for (let start = 0; start < n; start += 2 * half) {
        for (let a = start, b = start + half, at = 0; a < start + half; a++, b++, at += stride) {
          const x = re[b] * cos[at] - im[b] * sin[at], y = re[b] * sin[at] + im[b] * cos[at];
          re[b] = re[a] - x;
          im[b] = im[a] - y;
          re[a] += x;
          im[a] += y;
        }
      }
    }
  }

  function swap(values, i, j) {
    const kept = values[i];
    values[i] = values[j];
    values[j] = kept;
  }

  // All parts' steps, each way, modulo n. Both ways share a transform, as the real and the imaginary part of one.
  function convolved(steps, pairs, n) {
    const half = n / 2, lines = () => new Float64Array(half + 1);
    const remove = {logSize: lines(), angle: lines()}, add = {logSize: lines(), angle: lines()};
    pairs.forEach((pair, j) => {
      const re = folded(pair.remove, n), im = folded(pair.add, n);
      transform(re, im);
      for (let k = 0; k <= half; k++) {
        const m = (n - k) % n;
        multiply(remove, k, (re[k] + re[m]) / 2, (im[k] - im[m]) / 2, steps[j]);
        multiply(add, k, (im[k] + im[m]) / 2, (re[m] - re[k]) / 2, steps[j]);
      }
    });
    const re = new Float64Array(n), im = new Float64Array(n);
    for (let k = 0; k <= half; k++) { // conjugated, so that the same transform leads back
      const a = Math.exp(remove.logSize[k]), b = Math.exp(add.logSize[k]), m = (n - k) % n;
      const ax = a * Math.cos(remove.angle[k]), ay = a * Math.sin(remove.angle[k]);
      const bx = b * Math.cos(add.angle[k]), by = b * Math.sin(add.angle[k]);
      re[m] = ax + by;
      im[m] = ay - bx;
      re[k] = ax - by;
      im[k] = -ay - bx;
    }
    transform(re, im);
    return [re.map((value) => value / n), im.map((value) => -value / n)];
  }

  // Number k of a product of transforms, as log and angle, takes (x + i y)^steps.
  function multiply({logSize, angle}, k, x, y, steps) {
    logSize[k] += steps * 0.5 * Math.log(x * x + y * y);
    angle[k] += steps * Math.atan2(y, x);
  }

  function folded({first, mass}, n) {
    const circle = new Float64Array(n);
    for (let i = 0, at = ((first % n) + n) % n; i < mass.length; i++, at = (at + 1) % n) circle[at] += mass[i];
    return circle;
  }

  // The least epsilon >= 0 with sum over losses l > epsilon of mass (1 - exp(epsilon - l)) + lost <= delta. The masses
  // lie on a circle, the last one at index `high`.
  function epsilonOf(circle, high, h, lost, delta) {
    const n = circle.length, down = Math.exp(-h);
    if (lost > delta) return Infinity;
    let [above, scaled] = [lost, 0]; // mass above, and mass exp(loss here - its loss)
    for (let index = high, at = ((high % n) + n) % n; ; index--, at = (at - 1 + n) % n) {
      // Between this point and the next one up, delta(epsilon) = above - exp(epsilon - loss here) scaled.
      if (above - scaled > delta) return Math.max(0, index * h + Math.log((above - delta) / scaled));
      if (index <= 0 || index === high - n + 1) return 0;
      const mass = Math.max(circle[at], 0);
      above += mass;
      scaled = (scaled + mass) * down;
    }
  }

  // h, each part on the grid, and the windows of both ways, which fill n cells, a power of 2.
  function grids(parts, delta, fewest) {
    const steps = parts.map((part) => part.steps), total = steps.reduce((a, b) => a + b);
    const cut = TAIL * delta, rare = cut / total;
    const variance = parts.reduce((sum, part) => sum + part.steps * spread(part, rare) ** 2, 0);
    const widths = parts.map((part) => {
      const [from, to] = reach(part, rare);
      return lossAt(part, to) - lossAt(part, from);
    });
    const finest = Math.max(...widths) / MOST_CELLS;
    let n = 0, h = Math.max(Math.sqrt(variance / total) / FINENESS, finest);
    for (;;) {
      const pairs = parts.map((part) => discretised(part, h, rare));
      const windows = ["remove", "add"].map((way) =>
        window(steps, pairs.map((pair) => pair[way]), Math.sqrt(variance) / h, cut));
      const cells = Math.max(...windows.map(({low, high}) => high - low + 1));
      if (cells <= n) return {h, pairs, windows, n};
      n = Math.min(Math.max(2 ** Math.ceil(Math.log2(cells)), fewest, n), MOST_CELLS);
      h = Math.max(1.02 * h * cells / n, finest);
    }
  }

  // Epsilon at delta of all parts together, for adding or removing one record; null where float64 cannot say.
  function epsilon(parts, delta, fewest = FEWEST_CELLS) {
    if (delta < LEAST_DELTA) return null;
    const taken = parts.filter((part) => part.steps > 0).map(({q, sigma, steps}) =>
      (q === 1 ? {q, sigma: sigma / Math.sqrt(steps), steps: 1} : {q, sigma, steps})); // sums of Gaussians are one
    const {h, pairs, windows, n} = grids(taken, delta, fewest);
    const circles = convolved(taken.map((part) => part.steps), pairs, n);
    return Math.max(...["remove", "add"].map((way, i) => {
      const lost = pairs.reduce((sum, pair, j) => sum + taken[j].steps * pair[way].lost, TAIL * delta);
      return epsilonOf(circles[i], windows[i].high, h, lost, delta);
    }));
  }

  // The least noise, a multiple of 0.001 from 0.01 to 1000, with which so many steps beside other parts spend at most
  // `budget`; null where none does. Found on a coarse grid, so that it may be a few parts in ten thousand too large.
  function noise(q, budget, steps, delta, beside = []) {
    const over = (tick) => Math.log(epsilon([{q, sigma: tick / NOISE_TICKS, steps}, ...beside], delta, SEARCH_CELLS)
      / budget);
    let low = NOISE_TICKS, high = NOISE_TICKS, above = over(low), below = above;
    while (below > 0) {
      if (high === LAST_TICK) return null;
      [low, above, high] = [high, below, Math.min(4 * high, LAST_TICK)];
      below = over(high);
    }
    while (above <= 0) {
      if (low === FIRST_TICK) return low / NOISE_TICKS;
      [high, below, low] = [low, above, Math.max(Math.round(low / 2), FIRST_TICK)];
      above = over(low);
    }
    for (let turn = 0; high - low > 1; turn++) { // epsilon is about a power of the noise; every third step halves
      const share = turn % 3 === 2 || !Number.isFinite(above - below) ? 0.5 : above / (above - below);
      const middle = Math.round(low * (high / low) ** share);
      const tick = Math.min(Math.max(middle, low + 1), high - 1), value = over(tick);
      if (value <= 0) [high, below] = [tick, value];
      else [low, above] = [tick, value];
    }
    return high / NOISE_TICKS;
  }

  return {LEAST_DELTA, SEARCH_CELLS, epsilon, noise, tail, transform};
})();
