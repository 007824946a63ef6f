// The report comes alive: without this script the page says everything that it says with it, at two false-positive rates.
"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const made = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const percent = (rate) => {
    const value = 100 * rate;
    return `${value >= 10 || value === 0 ? value.toFixed(1) : value.toPrecision(value >= 1 ? 3 : 2)}%`;
  };
  const measured = (figure) => {
    if (figure === null) return "not resolvable";
    const value = figure.value === null ? "nobody is named" : percent(figure.value);
    return `${value} [${figure.ci.map(percent).join(", ")}]`;
  };

  // A cell's number is its first one; an interval in brackets is left aside. What has none comes last, whatever the direction.
  const key = (cell) => {
    const text = cell.dataset.key ?? cell.textContent.replace(/,/g, "").trim();
    const number = Number.parseFloat(text);
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const isNumber = (value) => typeof value === "number";

  function sort(table, column, header) {
    const falling = header.getAttribute("aria-sort") === "descending";
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", falling ? "ascending" : "descending");
    const sign = falling ? 1 : -1;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
    rows.sort(([one], [other]) => {
      if (isNumber(one) !== isNumber(other)) return isNumber(one) ? -1 : 1;
      return isNumber(one) ? sign * (one - other) : sign * String(one).localeCompare(String(other));
    });
    body.append(...rows.map(([, row]) => row));
  }

  function sortable(table) {
    if (!table.tHead || table.tHead.rows.length !== 1 || table.tBodies[0].rows.length < 3) return;
    for (const [column, header] of [...table.tHead.rows[0].cells].entries()) {
      const title = header.textContent.trim();
      if (!title || header.dataset.fixed !== undefined) continue;
      const button = made("button", title, { type: "button", class: "sort" });
      button.addEventListener("click", () => sort(table, column, header));
      header.replaceChildren(button);
    }
  }

  function filterable(table) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 10) return;
    const label = made("label", "Show rows with ", { class: "live filter" });
    const field = made("input", "", { type: "search" });
    const count = made("span", "", { class: "soft", role: "status" });
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = wanted ? ` ${shown} of ${rows.length} rows` : "";
    });
    label.append(field);
    const place = table.closest(".scroll") ?? table;
    place.before(label, count);
  }

  const data = element("attacks-data") && JSON.parse(element("attacks-data").textContent);
  if (data) explore(data);
  for (const table of document.querySelectorAll("table.sorts")) {
    sortable(table);
    filterable(table);
  }
  reachable();
  document.addEventListener("toggle", reachable, true);
  window.addEventListener("resize", reachable);

  // What scrolls must be reached by the keyboard.
  function reachable() {
    for (const place of document.querySelectorAll(".scroll")) {
      if (place.scrollWidth > place.clientWidth) place.setAttribute("tabindex", "0");
      else place.removeAttribute("tabindex");
    }
  }

  function explore({ attacks, fprs, priors, prior, drawn }) {
    for (const attack of attacks) {
      for (const counts of [attack.fp, attack.tp]) for (let i = 1; i < counts.length; i++) counts[i] += counts[i - 1];
    }
    const [fprSlider, priorSlider] = [element("fpr"), element("prior")];
    fprSlider.max = fprs.length - 1;
    priorSlider.max = priors.length - 1;
    const nearest = (values, wanted) =>
      values.reduce((best, value, i) => (Math.abs(Math.log(value / wanted)) < Math.abs(Math.log(values[best] / wanted)) ? i : best), 0);
    fprSlider.value = nearest(fprs, 0.01);
    priorSlider.value = nearest(priors, prior ?? 0.5);

    const body = element("explore-rows");
    const rows = attacks.map((attack, place) => {
      const row = document.createElement("tr");
      const box = made("input", "", { type: "checkbox", "aria-label": `draw ${attack.name}, ${attack.by}` });
      box.checked = drawn.includes(place);
      box.addEventListener("change", plot);
      const draw = made("td", "");
      draw.append(box);
      const area = `${attack.auc.toFixed(3)} [${attack.ci.map((bound) => bound.toFixed(3)).join(", ")}]`;
      const cells = [made("th", attack.name, { scope: "row" }), made("td", attack.by, { class: "word" }), made("td", area, { class: "nowrap" })];
      const moving = [made("td", "", { class: "nowrap" }), made("td", "", { class: "nowrap" })];
      row.append(...cells, ...moving, draw);
      body.append(row);
      return { attack, box, moving };
    });

    function tell() {
      const [fpr, share] = [fprs[fprSlider.value], priors[priorSlider.value]];
      for (const { attack, moving } of rows) {
        for (const [cell, figure] of [
          [moving[0], edgepriv.tprAtFpr(attack, fpr)],
          [moving[1], edgepriv.precision(attack, fpr, share)],
        ]) {
          cell.textContent = measured(figure);
          cell.dataset.key = figure?.value ?? "-";
        }
      }
      element("fpr-value").textContent = percent(fpr);
      element("prior-value").textContent = percent(share);
      fprSlider.setAttribute("aria-valuetext", percent(fpr));
      priorSlider.setAttribute("aria-valuetext", percent(share));
      const best = rows
        .map(({ attack }) => [attack, edgepriv.tprAtFpr(attack, fpr, attacks.length)])
        .filter(([, figure]) => figure !== null)
        .reduce((top, each) => (top && top[1].value >= each[1].value ? top : each), null);
      element("explore-says").textContent = best
        ? `At ${percent(fpr)} false positives ${best[0].name} (${best[0].by}) finds the most: ${measured(best[1])} of the members. ` +
          `If ${percent(share)} of all records are members, so are ${measured(edgepriv.precision(best[0], fpr, share, attacks.length))} of those it names.`
        : `No attack has enough non-members for ${percent(fpr)} false positives.`;
      chart?.redraw();
    }

    let chart = null;
    const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
    function plot() {
      const shown = rows.filter(({ box }) => box.checked).map(({ attack }) => attack);
      const floor = Math.min(0.01, 0.5 / Math.max(...attacks.map((attack) => attack.others)));
      const x = [...new Set([floor, 1, ...fprs, ...shown.flatMap((attack) => attack.fp.map((count) => count / attack.others))])]
        .filter((rate) => rate >= floor)
        .sort((one, other) => one - other);
      const step = (attack) => {
        let place = 0;
        return x.map((rate) => {
          while (place + 1 < attack.fp.length && attack.fp[place + 1] / attack.others <= rate) place++;
          return Math.max(attack.tp[place] / attack.members, floor);
        });
      };
      const axis = (label) => ({ label, labelSize: 20, size: 64, values: (_, ticks) => ticks.map((tick) => (tick === null || Math.log10(tick) % 1 ? null : percent(tick))) });
      chart?.destroy();
      chart = new uPlot(
        {
          width: Math.max(280, element("chart").clientWidth),
          height: 380,
          scales: { x: { time: false, distr: 3, range: [floor, 1] }, y: { distr: 3, range: [floor, 1] } },
          axes: [axis("false-positive rate"), axis("true-positive rate")],
          cursor: { drag: { x: false, y: false } },
          series: [
            { label: "FPR", value: (_, rate) => (rate === null ? "" : percent(rate)) },
            { label: "guessing", stroke: "#555555", dash: [6, 4], points: { show: false }, value: (_, rate) => (rate === null ? "" : percent(rate)) },
            ...shown.map((attack, place) => ({
              label: `${attack.name} (${attack.by})`,
              stroke: COLOURS[place % COLOURS.length],
              dash: place < COLOURS.length ? [] : [8, 3],
              width: 2,
              points: { show: false },
              paths: uPlot.paths.stepped({ align: 1 }),
              value: (_, rate) => (rate === null ? "" : percent(rate)),
            })),
          ],
          hooks: {
            draw: [
              (plotted) => {
                const at = plotted.valToPos(fprs[fprSlider.value], "x", true);
                const { top, height } = plotted.bbox;
                plotted.ctx.save();
                plotted.ctx.strokeStyle = "#555555";
                plotted.ctx.setLineDash([2, 3]);
                plotted.ctx.beginPath();
                plotted.ctx.moveTo(at, top);
                plotted.ctx.lineTo(at, top + height);
                plotted.ctx.stroke();
                plotted.ctx.restore();
              },
            ],
          },
        },
        [x, x, ...shown.map(step)],
        element("chart"),
      );
      element("chart").setAttribute("aria-label", `ROC curves of ${shown.map((attack) => attack.name).join(", ") || "no attack"}; the table has their numbers`);
    }

    element("explore").hidden = false;
    for (const slider of [fprSlider, priorSlider]) slider.addEventListener("input", tell);
    window.addEventListener("resize", () => chart?.setSize({ width: Math.max(280, element("chart").clientWidth), height: 380 }));
    plot();
    tell();
  }
})();
