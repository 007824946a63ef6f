// What the page computes, as edgepriv.audit.statistics and edgepriv.audit.prior compute it. No page is touched here.
"use strict";
const edgepriv = (() => {
  const LANCZOS = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];

  function lnGamma(x) {
    let sum = LANCZOS[0];
    for (let i = 1; i < 9; i++) sum += LANCZOS[i] / (x + i - 1);
    const t = x + 6.5;
    return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
  }

  // Continued fraction of the incomplete beta function (modified Lentz).
  function fraction(a, b, x) {
    const tiny = 1e-300;
    let c = 1, d = 1 - ((a + b) * x) / (a + 1);
    d = 1 / (Math.abs(d) < tiny ? tiny : d);
    let h = d;
    for (let m = 1; m < 10000; m++) {
      for (const step of [
        (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
        (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
      ]) {
        d = 1 + step * d;
        d = 1 / (Math.abs(d) < tiny ? tiny : d);
        c = 1 + step / c;
        if (Math.abs(c) < tiny) c = tiny;
        h *= d * c;
        if (step < 0 && Math.abs(d * c - 1) < 1e-15) return h;
      }
    }
    return h;
  }

  // Regularised incomplete beta function.
  function beta(a, b, x) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    const front = Math.exp(lnGamma(a + b) - lnGamma(a) - lnGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
    return x < (a + 1) / (a + b + 2) ? (front * fraction(a, b, x)) / a : 1 - (front * fraction(b, a, 1 - x)) / b;
  }

  function betaInverse(a, b, p) {
    let low = 0, high = 1;
    for (let i = 0; i < 80; i++) {
      const middle = (low + high) / 2;
      if (beta(a, b, middle) < p) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  // Clopper and Pearson's interval of a rate; k and n may be real.
  function clopperPearson(k, n, alpha = 0.05) {
    return [
      k > 0 ? betaInverse(k, n - k + 1, alpha / 2) : 0,
      k < n ? betaInverse(k + 1, n - k, 1 - alpha / 2) : 1,
    ];
  }

  // Counts at the largest true-positive rate with a false-positive rate of at most fpr; null with fewer than 1 / fpr non-members.
  function at(attack, fpr) {
    const allowed = Math.floor(attack.others * fpr + 1e-9);
    if (allowed < 1) return null;
    let place = 0;
    while (place + 1 < attack.fp.length && attack.fp[place + 1] <= allowed) place++;
    return { fp: attack.fp[place], tp: attack.tp[place] };
  }

  // Where records belong to persons, a rate counts as of so many persons.
  function interval(hits, records, persons, alpha) {
    return clopperPearson((hits / records) * persons, persons, alpha);
  }

  // Intervals hold for so many attacks at once (Bonferroni): one that was chosen for its figure needs the number chosen from.
  function tprAtFpr(attack, fpr, attacks = 1) {
    const named = at(attack, fpr);
    if (named === null) return null;
    return { value: named.tp / attack.members, ci: interval(named.tp, attack.members, attack.memberPersons, 0.05 / attacks) };
  }

  function atPrior(tpr, fpr, prior) {
    const named = prior * tpr + (1 - prior) * fpr;
    return named > 0 ? (prior * tpr) / named : 0;
  }

  // Each of the two rates at half of the allowed error, as the precision rises with the one and falls with the other.
  function precision(attack, fpr, prior, attacks = 1) {
    const named = at(attack, fpr);
    if (named === null) return null;
    const [lowTpr, highTpr] = interval(named.tp, attack.members, attack.memberPersons, 0.025 / attacks);
    const [lowFpr, highFpr] = interval(named.fp, attack.others, attack.otherPersons, 0.025 / attacks);
    const ci = [atPrior(lowTpr, highFpr, prior), atPrior(highTpr, lowFpr, prior)];
    if (named.tp + named.fp === 0) return { value: null, ci };
    return { value: atPrior(named.tp / attack.members, named.fp / attack.others, prior), ci };
  }

  return { beta, clopperPearson, at, tprAtFpr, atPrior, precision };
})();
if (typeof module !== "undefined") module.exports = edgepriv;
