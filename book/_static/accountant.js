// Epsilon by Renyi DP, in the browser: accountant.spent, epsilon and noise are spent_rdp, epsilon_rdp and
// calibrate_noise_rdp of dpgan_lib/privacy, which has the sources; a test holds the two against each other.
// q: sampling rate, sigma: noise multiplier, alpha: order; divergences and epsilons in nats.
"use strict";

const accountant = (() => {
  const range = (from, to) => Array.from({length: to - from}, (_, index) => from + index);
  const ORDERS = [...range(11, 110).map((tenths) => tenths / 10), ...range(11, 65), 128, 256, 512, 1024];
  const NOISE_TICKS = 1000; // noise is found as a multiple of 1 / NOISE_TICKS
  const [FIRST_TICK, LAST_TICK] = [10, 1000000]; // 0.01 and 1000

  const LOG_FACTORIALS = [0];
  for (const n of range(1, 1025)) LOG_FACTORIALS.push(LOG_FACTORIALS[n - 1] + Math.log(n));

  const logAddExp = (a, b) => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));

  function logSumExp(terms) {
    const peak = terms.reduce((a, b) => Math.max(a, b));
    return peak + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - peak), 0));
  }

  // log A_alpha of an integer order: a binomial sum of which 1 is taken out, so that nothing cancels.
  function logMomentSum(alpha, q, sigma) {
    const terms = range(2, alpha + 1).map((k) => {
      const x = (k * k - k) / (2 * sigma * sigma);
      const logBinomial = LOG_FACTORIALS[alpha] - LOG_FACTORIALS[k] - LOG_FACTORIALS[alpha - k];
      return logBinomial + (alpha - k) * Math.log1p(-q) + k * Math.log(q) + x + Math.log(-Math.expm1(-x));
    });
    return logAddExp(0, logSumExp(terms));
  }

  // log A_alpha of any order: the integral of mu_0 (mu / mu_0)^alpha by the trapezoid rule, near both of its peaks.
  function logMomentIntegral(alpha, q, sigma) {
    const step = Math.min(sigma / 2, (sigma * sigma) / 4);
    const reach = Math.ceil((sigma * Math.sqrt(2 * (40 + alpha * Math.LN2))) / step);
    const shift = Math.round(alpha / step);
    const ticks = [...range(-reach, reach + 1), ...range(Math.max(reach + 1, shift - reach), shift + reach + 1)];
    const scale = Math.log(sigma * Math.sqrt(2 * Math.PI));
    const terms = ticks.map((tick) => {
      const z = step * tick;
      const logRatio = logAddExp(Math.log1p(-q), Math.log(q) + (2 * z - 1) / (2 * sigma * sigma));
      return -(z * z) / (2 * sigma * sigma) - scale + alpha * logRatio;
    });
    return Math.max(logSumExp(terms) + Math.log(step), 0);
  }

  // D_alpha of one Poisson-sampled Gaussian step, at each of ORDERS.
  function divergences(q, sigma) {
    if (q === 1) return ORDERS.map((alpha) => alpha / (2 * sigma * sigma));
    return ORDERS.map((alpha) => {
      const logMoment = Number.isInteger(alpha) ? logMomentSum : logMomentIntegral;
      return logMoment(alpha, q, sigma) / (alpha - 1);
    });
  }

  // D_alpha of parts one after the other, each {q, sigma, steps}: it adds up.
  function together(parts) {
    const total = ORDERS.map(() => 0);
    for (const {q, sigma, steps} of parts.filter((part) => part.steps > 0))
      divergences(q, sigma).forEach((divergence, index) => { total[index] += steps * divergence; });
    return total;
  }

  // The least epsilon that any order gives for T steps, from the divergences of one, after what was spent before.
  function composed(divergence, steps, delta, before = ORDERS.map(() => 0)) {
    const bounds = ORDERS.map((alpha, index) => before[index] + steps * divergence[index] + Math.log1p(-1 / alpha)
      - (Math.log(delta) + Math.log(alpha)) / (alpha - 1));
    return Math.max(Math.min(...bounds), 0);
  }

  const epsilon = (q, sigma, steps, delta, before) => composed(divergences(q, sigma), steps, delta, before);
  const spent = (parts, delta) => composed(together(parts), 1, delta);

  // The least noise, a multiple of 0.001 from 0.01 to 1000, that spends at most `budget`; null where none does.
  function noise(q, budget, steps, delta, beside = []) {
    const before = together(beside);
    const passes = (tick) => epsilon(q, tick / NOISE_TICKS, steps, delta, before) <= budget;
    let [low, high] = [FIRST_TICK, LAST_TICK];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (passes(middle)) high = middle;
      else low = middle + 1;
    }
    return low < LAST_TICK || passes(LAST_TICK) ? low / NOISE_TICKS : null;
  }

  return {ORDERS, divergences, together, composed, epsilon, spent, noise};
})();
