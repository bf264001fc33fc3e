/* The report of evaluate: the comparison, then one prompt set at a time; of several models, what each costs. */

const names = data.labels.map(printable);
const sets = data.sets;
let chosen = Math.max(0, sets.findIndex((one) => one.name === data.baseline));

/* ---- tables ---- */

function table(caption, head, rows, numeric = () => true, kind = "") {
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption },
    make("table", { className: kind },
      make("thead", {}, make("tr", {}, ...head.map((cell, index) =>
        make("th", { scope: "col", className: numeric(index) ? "number" : "" }, cell)))),
      make("tbody", {}, ...rows.map((row) => make("tr", { className: row.className ?? "" },
        ...row.cells.map((cell, index) => (index === 0
          ? make("th", { scope: "row", className: numeric(0) ? "number" : "" }, cell)
          : make("td", { className: numeric(index) ? "number" : "", "data-name": head[index] }, cell))))))));
}

function interval(low, high, sign = false) {
  const show = (value) => `${sign && value > 0 ? "+" : ""}${(100 * value).toFixed(1)}`;
  return low === null || low === undefined ? "" : `${show(low)} to ${show(high)}`;
}

function pValue(value) {
  return value === null ? "" : value < 0.001 ? "< 0.001" : value.toFixed(3);
}

/** A line with its interval, on an axis from `from` to `to`; `zero` marks where nothing differs. */
function whisker(value, low, high, from, to, kind, zero = null) {
  const x = (share) => 4 + (152 * (share - from)) / (to - from || 1);
  const parts = [draw("line", { x1: 4, x2: 156, y1: 11, y2: 11, class: "rail" })];
  if (zero !== null) parts.push(draw("line", { x1: x(zero), x2: x(zero), y1: 2, y2: 20, class: "zero" }));
  parts.push(
    draw("line", { x1: x(low), x2: x(high), y1: 11, y2: 11, class: `whisker ${kind}` }),
    draw("circle", { cx: x(value), cy: 11, r: 4.5, class: `dot ${kind}` }));
  return draw("svg", { viewBox: "0 0 160 22", class: "whiskers", "aria-hidden": "true" }, ...parts);
}

const VERDICTS = { better: "good", worse: "bad", unclear: "plain" };

/** "Better" alone would mislead of a set that is no better than guessing. */
function verdict(one) {
  const misleading = one.verdict === "better" && one.standing !== "above chance";
  return make("span", { className: `verdict ${misleading ? "plain" : VERDICTS[one.verdict]}` },
    misleading ? `better, ${one.standing}` : one.verdict);
}

function comparison() {
  const lows = sets.map((one) => one.top1_low);
  const highs = sets.map((one) => one.top1_high);
  const [from, to] = [Math.min(...lows), Math.max(...highs)];
  const reach = Math.max(0.005, ...sets.flatMap((one) =>
    one.difference === null ? [] : [Math.abs(one.difference_low), Math.abs(one.difference_high)]));
  const head = [data.models.length ? "Model and prompts" : "Prompts", "Templates", "Top-1", "95 % interval", "", "Top-5", "Mean recall", "Macro-F1", "ECE", "NLL"];
  if (data.abstains) head.push("Coverage", "Accuracy on the covered");
  const compared = sets.length > 1;
  const rows = sets.map((one) => {
    const cells = [
      nameOf(one), String(one.templates), percent(one.top1), interval(one.top1_low, one.top1_high),
      whisker(one.top1, one.top1_low, one.top1_high, from, to, "plain"),
      percent(one.top5), percent(one.mean_recall), percent(one.macro_f1), percent(one.ece), one.nll.toFixed(3),
    ];
    if (data.abstains) cells.push(percent(one.coverage), percent(one.covered_accuracy));
    return { cells, className: one.name === data.baseline ? "baseline" : "" };
  });
  const against = sets.filter((one) => one.difference !== null).map((one) => ({
    cells: [
      nameOf(one), `${one.difference > 0 ? "+" : ""}${(100 * one.difference).toFixed(1)}`,
      interval(one.difference_low, one.difference_high, true),
      whisker(one.difference, one.difference_low, one.difference_high, -reach, reach, VERDICTS[one.verdict], 0),
      String(one.gained), String(one.lost), pValue(one.p_value), pValue(one.p_adjusted),
      verdict(one),
    ],
  }));
  return make("section", { className: "card" },
    make("h2", {}, data.models.length ? "Which model and prompts are better?"
      : compared ? "Which prompts are better?" : "How good are these prompts?"),
    table("Metrics of each prompt set", head, rows, (index) => index > 0 && index !== 4, "stack"),
    compared ? make("h3", { className: "later" }, `Top-1, image by image, against ${printable(data.baseline)}`) : null,
    compared ? table("Differences from the baseline",
      [head[0], "Difference", "95 % interval", "", "Gained", "Lost", "p", "p (Holm)", ""], against,
      (index) => index > 0 && index !== 3 && index !== 8, "stack") : null,
    make("p", { className: "small later" }, `Chance is ${percent(data.chance)} (one of ${count(names.length, "label")})${
      data.commonest[1] > data.chance ? `; always answering ${printable(data.commonest[0])} would give ${percent(data.commonest[1])}` : ""}.`),
    make("p", { className: "small soft later" }, `Shares in percent: ${data.methods}`),
    ...data.notes.map((note) => make("p", { className: "small note" }, printable(note))));
}

function nameOf(one) {
  const weights = one.list.some((template) => template.weight !== null);
  const shown = [...one.list].sort((a, b) => (b.weight ?? 0) - (a.weight ?? 0));
  return make("details", { className: "set" },
    make("summary", {}, printable(one.name)),
    make("ul", { className: "small soft" }, ...shown.slice(0, 100).map((template) =>
      make("li", {}, `${weights ? `${template.weight.toFixed(3)}  ` : ""}${printable(template.text)}`))),
    Object.keys(one.chosen).length
      ? make("p", { className: "small soft" }, Object.entries(one.chosen).map(([key, value]) => `${key}: ${value}`).join("; "))
      : null);
}

/* ---- charts ---- */

const WIDTH = 420;
const HEIGHT = 300;
const BOX = { left: 46, right: 12, top: 12, bottom: 42 };

function axes(title, xName, yName, xRange, yRange, description) {
  const x = (value) => BOX.left + ((WIDTH - BOX.left - BOX.right) * (value - xRange[0])) / (xRange[1] - xRange[0]);
  const y = (value) => HEIGHT - BOX.bottom - ((HEIGHT - BOX.top - BOX.bottom) * (value - yRange[0])) / (yRange[1] - yRange[0]);
  const chart = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${description}`, class: "chart" });
  for (let step = 0; step <= 4; step += 1) {
    const [xv, yv] = [xRange, yRange].map(([low, high]) => low + ((high - low) * step) / 4);
    const label = (value, range) => `${+(100 * value).toFixed(range[1] - range[0] < 0.5 ? 1 : 0)}`;
    chart.append(
      draw("line", { x1: BOX.left, x2: WIDTH - BOX.right, y1: y(yv), y2: y(yv), class: "grid" }),
      draw("text", { x: BOX.left - 8, y: y(yv) + 4, "text-anchor": "end" }, label(yv, yRange)),
      draw("text", { x: x(xv), y: HEIGHT - BOX.bottom + 18, "text-anchor": "middle" }, label(xv, xRange)));
  }
  chart.append(
    draw("text", { x: (BOX.left + WIDTH - BOX.right) / 2, y: HEIGHT - 6, "text-anchor": "middle", class: "name" }, xName),
    draw("text", { x: 12, y: (HEIGHT - BOX.bottom + BOX.top) / 2, "text-anchor": "middle", class: "name",
      transform: `rotate(-90 12 ${(HEIGHT - BOX.bottom + BOX.top) / 2})` }, yName));
  return { chart, x, y };
}

function reliability(one) {
  const { chart, x, y } = axes("Reliability diagram", "Probability said (%)", "Right (%)", [0, 1], [0, 1],
    `Expected calibration error ${percent(one.ece)}.`);
  const most = Math.max(...one.bins.map((bin) => bin.images));
  for (const bin of one.bins) {
    if (!bin.images) continue;
    const bar = draw("rect", {
      x: x(bin.low) + 1, width: Math.max(1, x(bin.high) - x(bin.low) - 2), y: y(bin.accuracy), height: y(0) - y(bin.accuracy),
      class: "fill", "fill-opacity": 0.25 + 0.75 * Math.sqrt(bin.images / most),
    });
    bar.append(draw("title", {}, `${count(bin.images, "image")}: said ${percent(bin.confidence)}, right ${percent(bin.accuracy)}`));
    chart.append(bar, draw("line", {
      x1: x(bin.low) + 1, x2: x(bin.high) - 1, y1: y(bin.confidence), y2: y(bin.confidence), class: "said",
    }));
  }
  chart.append(draw("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "diagonal" }));
  return chart;
}

function riskCoverage(one) {
  if (!one.curve.length) return make("p", {}, "No image is decided.");
  const highest = Math.max(0.01, ...one.curve.map(([, , accuracy]) => 1 - accuracy));
  const top = [0.04, 0.08, 0.2, 0.4, 0.6, 0.8, 1].find((one) => one >= highest) ?? 1; // ticks in whole percents
  const { chart, x, y } = axes("Risk against coverage", "Coverage: images decided (%)", "Wrong among them (%)", [0, 1], [0, top],
    `${percent(one.curve.at(-1)[1])} decided: ${percent(1 - one.curve.at(-1)[2])} wrong.`);
  const points = one.curve.map(([, coverage, accuracy]) => [x(coverage), y(1 - accuracy)]);
  const line = points.map(([px, py], index) => `${index ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
  chart.append(
    draw("path", { d: `${line}L${points.at(-1)[0].toFixed(1)} ${y(0)}L${points[0][0].toFixed(1)} ${y(0)}Z`, class: "area" }),
    draw("path", { d: line, class: "line" }));
  const mark = draw("circle", { r: 5, class: "dot plain", visibility: "hidden" });
  const note = draw("text", { y: BOX.top + 12, x: WIDTH - BOX.right - 4, "text-anchor": "end", class: "name" });
  chart.append(mark, note);
  const tellAt = (share) => {
    const point = one.curve.reduce((best, this_) => (Math.abs(this_[1] - share) < Math.abs(best[1] - share) ? this_ : best));
    mark.setAttribute("cx", x(point[1]));
    mark.setAttribute("cy", y(1 - point[2]));
    mark.setAttribute("visibility", "visible");
    note.textContent = `from ${percent(point[0])} on: ${percent(point[1])} decided, ${percent(1 - point[2])} wrong`;
  };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    tellAt(Math.min(1, Math.max(0, (at - BOX.left) / (WIDTH - BOX.left - BOX.right))));
  });
  return chart;
}

/* ---- several models: right against fast ---- */

function speedOf(model) {
  if (model.images_per_second !== null) return model.images_per_second.toLocaleString("en", { maximumFractionDigits: 1 });
  return model.images_computed ? `not measured: ${count(model.images_computed, "new image")}` : "not measured: all images known";
}

/** Ticks of 1, 2 and 5 times powers of ten, or more where that are few, from one below the lowest value to one above the highest. */
function logTicks(lowest, highest) {
  const ticks = [];
  const digits = highest / lowest > 8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  for (let power = Math.floor(Math.log10(lowest)); power <= Math.ceil(Math.log10(highest)); power += 1) {
    ticks.push(...digits.map((digit) => +(digit * 10 ** power).toPrecision(2)));
  }
  const first = Math.max(0, ticks.findLastIndex((tick) => tick < lowest));
  const last = ticks.findIndex((tick) => tick > highest);
  return ticks.slice(first, last < 0 ? undefined : last + 1);
}

function tradeOff() {
  const speeds = new Map(data.models.map((model) => [model.model, model.images_per_second]));
  const points = sets.filter((one) => speeds.get(one.model) !== null);
  const shown = data.models.filter((model) => model.images_per_second !== null);
  const width = 540;
  const [left, right, top, bottom, height] = [46, 12, 12, 42, 320];
  const parts = [make("h2", {}, "What does accuracy cost?")];
  if (points.length) {
    const ticks = logTicks(Math.min(...points.map((one) => speeds.get(one.model))), Math.max(...points.map((one) => speeds.get(one.model))));
    const [low, high] = [Math.log(ticks[0]), Math.log(ticks.at(-1))];
    const beside = 30; // room for the sets of a model at the edge
    const x = (speed) => left + beside + ((width - left - right - 2 * beside) * (Math.log(speed) - low)) / (high - low);
    const [least, most] = [Math.min(...points.map((one) => one.top1_low)), Math.max(...points.map((one) => one.top1_high))];
    const percents = [1, 2, 5, 10, 20].find((one) => one * 6 >= 100 * (most - least)) ?? 20; // a line in the grid
    const [lowest, highest] = [Math.floor((100 * least) / percents), Math.ceil((100 * most) / percents)].map((lines) => (lines * percents) / 100);
    const y = (share) => height - bottom - ((height - top - bottom) * (share - lowest)) / (highest - lowest);
    const chart = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "chart trade",
      "aria-label": `Top-1 against images a second. ${points.map((one) =>
        `${printable(one.name)}: ${percent(one.top1)}, ${speeds.get(one.model).toFixed(1)} images/s`).join("; ")}.` });
    for (let share = lowest; share < highest + 0.001; share += percents / 100) {
      chart.append(draw("line", { x1: left, x2: width - right, y1: y(share), y2: y(share), class: "grid" }),
        draw("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, (100 * share).toFixed(0)));
    }
    for (const tick of ticks) {
      chart.append(draw("line", { x1: x(tick), x2: x(tick), y1: top, y2: height - bottom, class: "grid" }),
        draw("text", { x: x(tick), y: height - bottom + 18, "text-anchor": "middle" }, tick.toLocaleString("en")));
    }
    chart.append(
      draw("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", class: "name" }, "Images a second"),
      draw("text", { x: 12, y: (height - bottom + top) / 2, "text-anchor": "middle", class: "name",
        transform: `rotate(-90 12 ${(height - bottom + top) / 2})` }, "Top-1 (%)"));
    for (const model of shown) {
      const mine = points.filter((one) => one.model === model.model);
      const number = data.models.indexOf(model) + 1;
      mine.forEach((one, place) => {
        // The sets of a model side by side: they are equally fast.
        const at = x(model.images_per_second) + Math.min(9, (2 * beside) / mine.length) * (place - (mine.length - 1) / 2);
        const mark = draw("circle", { cx: at, cy: y(one.top1), r: 4.5, class: `dot ${one.name === data.baseline ? "base" : "plain"}` });
        mark.append(draw("title", {}, `${printable(one.name)}: ${percent(one.top1)} (${interval(one.top1_low, one.top1_high)}), ${
          speedOf(model)} images/s`));
        chart.append(draw("line", { x1: at, x2: at, y1: y(one.top1_low), y2: y(one.top1_high), class: "whisker plain" }), mark);
      });
      const above = Math.min(...mine.map((one) => y(one.top1_high)));
      chart.append(draw("text", { x: x(model.images_per_second), y: Math.max(top + 10, above - 6), "text-anchor": "middle", class: "name" }, String(number)));
    }
    parts.push(chart);
  }
  parts.push(
    table("Speed of each model", ["Model", "Images a second", "Best top-1", "95 % interval"], data.models.map((model, index) => {
      const best = sets.filter((one) => one.model === model.model).reduce((a, b) => (b.top1 > a.top1 ? b : a));
      const title = model.title === model.model ? "" : ` (${printable(model.title)})`;
      return { cells: [`${index + 1}: ${printable(model.model)}${title}`, speedOf(model), percent(best.top1),
        interval(best.top1_low, best.top1_high)] };
    }), (index) => index > 0, "stack"),
    make("p", { className: "small soft later" }, "Images that were embedded in this run, with reading and decoding, without loading the model, whatever "
      + "else the machine did meanwhile. A model's prompt sets are side by side, for it is as fast with each; lines are 95 % intervals."));
  return make("section", { className: "card" }, ...parts);
}

/* ---- learning curves: right by the number of examples ---- */

function learningCurve(points) {
  const width = 540;
  const [left, right, top, bottom, height] = [46, 16, 12, 42, 280];
  const most = Math.log(Math.max(2, points.at(-1).shots));
  const x = (shots) => left + 16 + ((width - left - right - 32) * Math.log(shots)) / most;
  const y = (share) => height - bottom - (height - top - bottom) * share; // all of 0 to 100: no zoom makes a gain look large
  const chart = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "chart trade learning",
    "aria-label": `${printable(points[0].prompts)}: ${points.map((point) =>
      `${count(point.shots, "example")} a label ${percent(point.taught)}`).join(", ")}; zero-shot ${percent(points[0].zero_shot)}.` });
  for (const share of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    chart.append(draw("line", { x1: left, x2: width - right, y1: y(share), y2: y(share), class: "grid" }),
      draw("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, (100 * share).toFixed(0)));
  }
  const zero = y(points[0].zero_shot);
  chart.append(
    draw("line", { x1: left, x2: width - right, y1: zero, y2: zero, class: "diagonal" }),
    draw("text", { x: width - right, y: zero + 16, "text-anchor": "end", class: "name" }, "zero-shot"),
    draw("path", { d: points.map((point, index) => `${index ? "L" : "M"}${x(point.shots).toFixed(1)} ${y(point.taught).toFixed(1)}`).join(""), class: "line" }),
    draw("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", class: "name" }, "Examples of each label"),
    draw("text", { x: 12, y: (height - bottom + top) / 2, "text-anchor": "middle", class: "name",
      transform: `rotate(-90 12 ${(height - bottom + top) / 2})` }, "Right (%)"));
  for (const point of points) {
    const mark = draw("circle", { cx: x(point.shots), cy: y(point.taught), r: 4.5, class: "dot plain" });
    mark.append(draw("title", {}, `${point.shots}: ${percent(point.taught)}${
      point.taught_low === null ? "" : ` (${interval(point.taught_low, point.taught_high)})`}`));
    if (point.taught_low !== null) {
      chart.append(draw("line", { x1: x(point.shots), x2: x(point.shots), y1: y(Math.max(0, point.taught_low)), y2: y(Math.min(1, point.taught_high)),
        class: "whisker plain" }));
    }
    chart.append(mark, draw("text", { x: x(point.shots), y: height - bottom + 18, "text-anchor": "middle" }, String(point.shots)));
  }
  return chart;
}

function learning() {
  const prompts = [...new Set(data.learning.map((point) => point.prompts))];
  return make("section", { className: "card" }, make("h2", {}, "What do examples bring?"),
    make("div", { className: "pair" }, ...prompts.map((name) => {
      const points = data.learning.filter((point) => point.prompts === name);
      return make("div", {}, ...(prompts.length > 1 ? [make("h3", {}, printable(name))] : []), learningCurve(points),
        table(`Learning curve of ${printable(name)}`, ["Examples a label", "Zero-shot", "Taught", "Difference", "95 % interval"],
          points.map((point) => ({ cells: [String(point.shots), percent(point.zero_shot), percent(point.taught),
            `${point.difference > 0 ? "+" : ""}${(100 * point.difference).toFixed(1)}`, interval(point.difference_low, point.difference_high, true)] }))));
    })),
    make("p", { className: "small soft later" }, `Means over ${count(data.learning[0].seeds, "draw")} of the examples, and intervals over these; the images `
      + "judged are none of them."));
}

/* ---- the confusion matrix, on a canvas: a thousand labels are a million cells ---- */

function heatMap(one) {
  const size = names.length;
  const canvas = make("canvas", { role: "img", tabIndex: -1,
    "aria-label": `Confusion matrix of ${count(size, "label")}; the pairs most confused stand in the table beside it.` });
  const told = make("p", { className: "small soft told", "aria-hidden": "true" }, "Rows are the true labels, columns the predicted ones. Point at or tap a cell.");
  const cells = new Map(one.confusions.map(([label, predicted, images]) => [label * size + predicted, images]));
  const totals = new Array(size).fill(0);
  for (const [label, , images] of one.confusions) totals[label] += images;
  const holder = make("div", { className: "heat" }, canvas);
  let geometry = null;

  const paint = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const room = Math.min(holder.clientWidth || 560, 620);
    const context = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.font = "12px system-ui, sans-serif";
    const longest = Math.max(...names.map((name) => context.measureText(name).width));
    const margin = Math.min(longest + 10, room * 0.3);
    const cell = (room - margin) / size;
    const every = Math.ceil(14 / cell); // so that labels do not overlap
    const side = margin + cell * size;
    canvas.style.width = `${side}px`;
    canvas.style.height = `${side}px`;
    canvas.width = Math.round(side * ratio);
    canvas.height = Math.round(side * ratio);
    context.scale(ratio, ratio);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = colour("--ground");
    context.fillRect(margin, margin, cell * size, cell * size);
    for (const [key, images] of cells) {
      const [label, predicted] = [Math.floor(key / size), key % size];
      const share = images / totals[label];
      context.globalAlpha = 0.12 + 0.88 * Math.sqrt(share);
      context.fillStyle = colour(label === predicted ? "--accent" : "--bad");
      const gap = cell > 6 ? 1 : 0;
      context.fillRect(margin + predicted * cell + gap / 2, margin + label * cell + gap / 2,
        Math.max(cell - gap, 1), Math.max(cell - gap, 1));
      context.globalAlpha = 1;
      if (cell >= 20) {
        context.fillStyle = share > 0.3 ? colour("--on-accent") : colour("--text");
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillText(String(images), margin + (predicted + 0.5) * cell, margin + (label + 0.5) * cell);
      }
    }
    context.fillStyle = colour("--text");
    for (let index = 0; index < size; index += every) {
      const name = fitted(context, names[index], margin - 8);
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillText(name, margin - 6, margin + (index + 0.5) * cell);
      context.save();
      context.translate(margin + (index + 0.5) * cell, margin - 6);
      context.rotate(-Math.PI / 2);
      context.textAlign = "left";
      context.fillText(name, 0, 0);
      context.restore();
    }
    geometry = { margin, cell };
  };
  const tell = (event) => {
    const box = canvas.getBoundingClientRect();
    const predicted = Math.floor((event.clientX - box.left - geometry.margin) / geometry.cell);
    const label = Math.floor((event.clientY - box.top - geometry.margin) / geometry.cell);
    if (!(label in names) || !(predicted in names)) return;
    const images = cells.get(label * size + predicted) ?? 0;
    told.textContent = `${names[label]} taken for ${names[predicted]}: ${images} of ${totals[label]}`;
  };
  canvas.addEventListener("pointermove", tell);
  canvas.addEventListener("pointerdown", tell); // a tap moves nothing
  new ResizeObserver(paint).observe(holder);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  return make("div", {}, holder, told);
}

function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > room) end -= 1;
  return `${text.slice(0, end)}…`;
}

function confusedPairs(one) {
  const wrong = one.confusions.filter(([label, predicted]) => label !== predicted)
    .sort((a, b) => b[2] - a[2]).slice(0, 12);
  if (!wrong.length) return make("p", { className: "soft" }, "No mistakes.");
  return table("The pairs most confused", ["Label", "taken for", "Images"],
    wrong.map(([label, predicted, images]) => ({ cells: [names[label], names[predicted], String(images)] })), (index) => index === 2, "pairs");
}

/* ---- labels and mistakes ---- */

const ORDERS = {
  recall: ["lowest recall first", (a, b) => (a.recall ?? 2) - (b.recall ?? 2) || a.label - b.label],
  label: ["in the order of the labels", (a, b) => a.label - b.label],
  images: ["most images first", (a, b) => b.images - a.images || a.label - b.label],
};
let order = "recall";

function perClass(one) {
  const rows = [...one.classes].sort(ORDERS[order][1]).map((scores) => ({
    cells: [
      names[scores.label], shareBar(scores.recall), percent(scores.precision), percent(scores.f1), String(scores.images),
      scores.confused_with === null ? "" : `${names[scores.confused_with]} (${scores.confused})`,
    ],
  }));
  const sorting = make("select", { id: "order", onchange: (event) => { order = event.target.value; show(); } },
    ...Object.entries(ORDERS).map(([value, [text]]) => make("option", { value, selected: value === order }, text)));
  return make("section", { className: "card" },
    make("div", { className: "line" }, make("h2", {}, "Each label"),
      make("div", { className: "small" }, make("label", { htmlFor: "order", className: "soft" }, "Order: "), sorting)),
    make("div", { className: "tall" },
      table("Each label", ["Label", "Recall", "Precision", "F1", "Images", "Most often taken for"], rows,
        (index) => index > 1 && index < 5)));
}

function shareBar(share) {
  const fill = make("span");
  fill.style.width = `${100 * (share ?? 0)}%`;
  return make("span", { className: "share" }, make("span", { className: "track" }, fill), make("span", { className: "value" }, percent(share)));
}

function mistakes(one) {
  return make("section", { className: "card" },
    make("h2", {}, "Worst mistakes"),
    make("p", { className: "soft small" }, one.mistakes.length
      ? `The ${one.mistakes.length} most confident of ${count(one.wrong, "mistake")}. Some may be labelled wrongly.`
      : "None."),
    make("ul", { className: "mistakes" }, ...one.mistakes.map((mistake) => make("li", {},
      make("div", { className: "frame" }, mistake.src && !mistake.src.startsWith("data:")
        ? make("a", { href: mistake.src, target: "_blank", rel: "noopener" }, picture(mistake.src, printable(mistake.path)))
        : picture(mistake.src, printable(mistake.path))),
      make("p", { className: "wrong" }, make("span", { className: "name" }, names[mistake.predicted]), make("span", { className: "small" }, percent(mistake.probability))),
      make("p", { className: "small soft" }, `is ${names[mistake.label]}`),
      make("p", { className: "small soft path", title: printable(mistake.path) }, printable(mistake.path.split("/").slice(-2).join("/")))))));
}

function alone(one) {
  if (!one.alone.length) return null;
  const [from, to] = [Math.min(...one.alone.map((t) => t.interval[0])), Math.max(...one.alone.map((t) => t.interval[1]))];
  return make("section", { className: "card" }, make("h2", {}, "Each template by itself"),
    make("div", { className: "tall" }, table("Each template by itself", ["Template", "Top-1", "95 % interval", "", "NLL"],
      one.alone.map((t) => ({ cells: [printable(t.template), percent(t.top1), interval(...t.interval),
        whisker(t.top1, ...t.interval, from, to, "plain"), t.nll.toFixed(3)] })), (index) => index > 0 && index !== 3)));
}

function calibration(made) {
  return make("section", { className: "card" }, make("h2", {}, "Calibration"),
    make("p", {}, `Temperature ${made.temperature}, fitted on ${count(made.fitted_on, "image")} and measured on the other ${
      made.measured_on.toLocaleString("en")}: ECE ${percent(made.before.ece, 2)} before, ${percent(made.after.ece, 2)} after; NLL ${
      made.before.nll.toFixed(4)} before, ${made.after.nll.toFixed(4)} after.`),
    made.thresholds.length ? table("Thresholds", ["Accuracy aimed at", "--min-probability", "Coverage", "Accuracy"],
      made.thresholds.map((one) => ({ cells: [percent(one.target, 0), one.min_probability.toFixed(6), percent(one.coverage), percent(one.accuracy)] }))) : null);
}

/* ---- the page ---- */

const details = make("div", { id: "details" });

function show() {
  const one = sets[chosen];
  details.replaceChildren(
    make("div", { className: "pair" },
      make("section", { className: "card" }, make("h2", {}, "Are its probabilities right?"), reliability(one),
        make("p", { className: "small soft" }, "Bars: how often it was right; short lines: what it said. Equal when calibrated (dashed). Darker bars hold more images.")),
      make("section", { className: "card" }, make("h2", {}, "What does abstaining buy?"), riskCoverage(one),
        make("p", { className: "small soft" }, `Leaving out the least probable images first: how many are decided, and how many of those wrongly.${
          data.abstains ? " What the options given withhold is never decided." : ""}`))),
    make("section", { className: "card" }, make("h2", {}, "What is taken for what?"),
      make("div", { className: "pair wide" }, heatMap(one), confusedPairs(one))),
    perClass(one), ...[alone(one)].filter(Boolean), mistakes(one));
}

const chooser = make("div", { className: "chooser", role: "group", "aria-label": "Prompt set" },
  ...sets.map((one, index) => make("button", {
    type: "button", "aria-pressed": String(index === chosen),
    onclick: (event) => {
      chosen = index;
      for (const button of chooser.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      show();
    },
  }, printable(one.name))));
document.getElementById("page").append(
  make("header", {}, make("h1", {}, printable(data.title)),
    make("p", { className: "soft" }, `${count(data.images, "image")}, ${count(names.length, "label")}, ${printable(data.model)}`)),
  make("main", {}, comparison(), data.models.length ? tradeOff() : "", data.learning.length ? learning() : "", data.calibration ? calibration(data.calibration) : "",
    data.unreadable.length ? make("details", { className: "card" },
      make("summary", {}, `${count(data.unreadable.length, "image")} could not be read, and count neither as right nor as wrong`),
      make("ul", { className: "small" }, ...data.unreadable.slice(0, 1000).map(([path, error]) => make("li", {}, `${printable(path)}: ${printable(error)}`)))) : "",
    sets.length > 1 ? make("div", { className: "line choosing" }, make("h2", {}, "One set at a time"), chooser) : "",
    details));
show();
