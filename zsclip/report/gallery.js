/* The gallery of classify: look through, filter, correct, download. Only cards in view are in the page. */

const labels = data.labels;
const unknown = data.unknown;
const items = data.images.map(([path, source, decided, said], number) => {
  const predictions = said.map(([label, probability, similarity]) => ({
    label: labels[label], probability, similarity,
  }));
  return {
    number, path, source, predictions,
    predicted: labels[decided],
    probability: predictions[0].probability,
    margin: predictions[0].probability - (predictions[1]?.probability ?? 0),
    label: labels[decided],
    checked: false,
  };
});

/* ---- what the user said, and how it is taken back ---- */

const undoable = [];
const storageKey = `zsclip-gallery-${fingerprint(items)}`;
let downloaded = true;

function fingerprint(all) {
  let hash = 2166136261;
  for (const item of all) {
    for (const character of `${item.path}\u0000${item.predicted}\u0000`) {
      hash = Math.imul(hash ^ character.codePointAt(0), 16777619) >>> 0;
    }
  }
  return `${all.length}-${hash.toString(16)}`;
}

function decide(item, label) {
  const name = label.trim();
  if (!name) return;
  undoable.push({ item, label: item.label, checked: item.checked });
  item.label = name;
  item.checked = true;
  downloaded = false;
  remember();
  tell(`${shortName(item.path)}: ${name}`);
  update(item);
}

function check(item) {
  undoable.push({ item, label: item.label, checked: item.checked });
  item.checked = !item.checked;
  downloaded = false;
  remember();
  tell(`${shortName(item.path)}: ${item.checked ? "checked" : "not checked"}`);
  update(item);
}

function undo() {
  const last = undoable.pop();
  if (!last) {
    tell("Nothing to undo");
    return;
  }
  Object.assign(last.item, { label: last.label, checked: last.checked });
  remember();
  tell(`Undone: ${shortName(last.item.path)} is ${last.label}`);
  update(last.item);
}

/* Corrections outlive a reload where the browser lets a file keep anything. */
function remember() {
  const said = items.filter((item) => item.checked).map((item) => [item.number, item.label]);
  try {
    if (said.length) localStorage.setItem(storageKey, JSON.stringify(said));
    else localStorage.removeItem(storageKey);
  } catch { /* nothing is kept then */ }
}

function recall() {
  try {
    for (const [number, label] of JSON.parse(localStorage.getItem(storageKey) || "[]")) {
      Object.assign(items[number], { label, checked: true });
    }
  } catch { /* nothing was kept */ }
}

/* ---- the file with the labels ---- */

/** UTF-8, but for the lone surrogates that stand for bytes of a path: these bytes. */
function bytes(text) {
  const parts = text.split(/([\udc80-\udcff]+)/u).map((part, index) =>
    index % 2 ? Uint8Array.from([...part].map((c) => c.charCodeAt(0) - 0xdc00)) : new TextEncoder().encode(part));
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function csv(chosen) {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const rows = chosen.map((item) => [
    item.path, item.label, item.predicted, item.probability.toFixed(6), item.checked ? "yes" : "no",
  ]);
  return [["path", "label", "predicted", "probability", "checked"], ...rows]
    .map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function download() {
  const chosen = controls.scope.value === "checked" ? items.filter((item) => item.checked) : items;
  const address = URL.createObjectURL(new Blob([bytes(csv(chosen))], { type: "text/csv" }));
  make("a", { href: address, download: "labels.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  downloaded = true;
  tell(`${count(chosen.length, "label")} in labels.csv`);
}

window.addEventListener("beforeunload", (event) => {
  if (!downloaded) event.preventDefault();
});

/* ---- filters and order ---- */

const ORDERS = {
  file: ["As in the input", (a, b) => a.number - b.number],
  margin: ["Least sure first", (a, b) => a.margin - b.margin || a.number - b.number],
  sure: ["Most probable", (a, b) => b.probability - a.probability || a.number - b.number],
  unsure: ["Least probable", (a, b) => a.probability - b.probability || a.number - b.number],
  label: ["By label", (a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : a.number - b.number)],
};
const STATES = {
  all: ["Checked or not", () => true],
  changed: ["Corrected", (item) => item.label !== item.predicted],
  checked: ["Checked", (item) => item.checked],
  open: ["Not checked", (item) => !item.checked],
};

function select(name, choices) {
  return make("select", { id: name, oninput: refresh },
    ...choices.map(([value, text]) => make("option", { value }, text)));
}

function slider(name, value) {
  return make("input", { id: name, type: "range", min: "0", max: "100", step: "1", value: String(value), oninput: refresh });
}

const controls = {
  text: make("input", { id: "text", type: "search", placeholder: "in path or label", oninput: refresh }),
  label: select("label", []),
  least: slider("least", 0),
  most: slider("most", 100),
  state: select("state", Object.entries(STATES).map(([name, [text]]) => [name, text])),
  order: select("order", Object.entries(ORDERS).map(([name, [text]]) => [name, text])),
  scope: make("select", { id: "scope" },
    make("option", { value: "all" }, "all labels"), make("option", { value: "checked" }, "only checked ones")),
};
const leastText = make("output", { htmlFor: "least" });
const mostText = make("output", { htmlFor: "most" });
const shownText = make("strong", { id: "shown" });
const changedText = make("span", { className: "soft" });
const status = make("p", { id: "status", className: "hidden", role: "status", "aria-live": "polite" });
const undoButton = make("button", { type: "button", id: "undo", onclick: undo, title: "u or Ctrl+Z" }, "Undo");

function tell(text) {
  status.textContent = printable(text);
}

function labelChoices() {
  const counts = new Map(labels.map((name) => [name, 0]));
  for (const item of items) counts.set(item.label, (counts.get(item.label) ?? 0) + 1);
  const kept = controls.label.value;
  controls.label.replaceChildren(
    make("option", { value: "" }, `Any label (${items.length.toLocaleString("en")})`),
    ...[...counts].filter(([name, number]) => number || labels.includes(name))
      .map(([name, number], index) => make("option", { value: `${index}:${name}` }, `${printable(name)} (${number.toLocaleString("en")})`)),
  );
  const again = [...controls.label.options].find((option) => option.value && nameOf(option.value) === nameOf(kept) && kept);
  controls.label.value = again ? again.value : "";
}

function nameOf(choice) {
  return choice.slice(choice.indexOf(":") + 1);
}

let shown = items;
let current = 0;

function refresh() {
  const keptItem = shown[current];
  const text = controls.text.value.trim().toLowerCase();
  const label = controls.label.value;
  const [low, high] = [Number(controls.least.value) / 100, Number(controls.most.value) / 100];
  leastText.textContent = `${controls.least.value} %`;
  mostText.textContent = `${controls.most.value} %`;
  const isIn = STATES[controls.state.value][1];
  shown = items.filter((item) =>
    (!label || item.label === nameOf(label))
    && item.probability >= low && (item.probability <= high || high === 1)
    && (!text || item.path.toLowerCase().includes(text) || item.label.toLowerCase().includes(text))
    && isIn(item));
  shown.sort(ORDERS[controls.order.value][1]);
  current = Math.max(0, shown.indexOf(keptItem));
  summarise();
  place();
}

function summarise() {
  const changed = items.filter((item) => item.label !== item.predicted).length;
  const checked = items.filter((item) => item.checked).length;
  shownText.textContent = `${shown.length.toLocaleString("en")} of ${count(items.length, "image")}`;
  changedText.textContent = `${checked.toLocaleString("en")} checked, ${changed.toLocaleString("en")} corrected`;
  undoButton.disabled = !undoable.length;
}

/** One item has changed: the numbers, its card and the dialog; filters wait, so that it does not vanish at once. */
function update(item) {
  labelChoices();
  summarise();
  place();
  if (dialog.open) showLarge(item);
}

/* ---- the grid: only what is in view exists ---- */

const grid = make("div", { id: "grid", role: "list", "aria-label": "Images" });
const nothing = make("p", { id: "nothing", className: "soft", hidden: true }, "No image is left by these filters.");
const cards = new Map();
let columns = 1;
let rowHeight = 1;

function measure() {
  const style = getComputedStyle(grid);
  const gap = parseFloat(style.getPropertyValue("--gap"));
  const least = parseFloat(style.getPropertyValue("--card-width"));
  columns = Math.max(2, Math.floor((grid.clientWidth + gap) / (least + gap)));
  const width = (grid.clientWidth + gap) / columns - gap;
  rowHeight = Math.round(width * 0.8) + parseFloat(style.getPropertyValue("--caption")) + gap;
  grid.style.setProperty("--picture", `${Math.round(width * 0.8)}px`);
  grid.style.setProperty("--width", `${width}px`);
  return { gap, width };
}

function place() {
  const { gap, width } = measure();
  const rows = Math.ceil(shown.length / columns);
  grid.style.height = `${rows * rowHeight}px`;
  nothing.hidden = shown.length > 0;
  const top = -grid.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / rowHeight) - 2) * columns;
  const last = Math.min(shown.length, (Math.ceil((top + innerHeight) / rowHeight) + 2) * columns);
  const wanted = new Set();
  for (let index = first; index < last; index += 1) wanted.add(index);
  if (grid.contains(document.activeElement) && current < shown.length) wanted.add(current);
  const stay = new Set([...wanted].map((index) => shown[index].number));
  for (const [number, card] of cards) {
    if (!stay.has(number)) {
      card.remove();
      cards.delete(number);
    }
  }
  for (const index of wanted) {
    const item = shown[index];
    let card = cards.get(item.number);
    if (!card) {
      card = makeCard(item);
      cards.set(item.number, card);
      grid.append(card);
    }
    fill(card, item, index);
    card.style.transform = `translate(${(index % columns) * (width + gap)}px, ${Math.floor(index / columns) * rowHeight}px)`;
  }
}

function makeCard(item) {
  const card = make("div", { className: "card", role: "listitem", tabIndex: -1 });
  const frame = make("div", { className: "frame" }, picture(item.source, ""));
  const choose = make("button", { type: "button", className: "chip", tabIndex: -1 });
  card.append(frame, make("div", { className: "caption" }, choose,
    make("div", { className: "bar" }, make("span")),
    make("div", { className: "runner small soft" }),
    make("div", { className: "path small soft", title: printable(item.path) }, printable(shortName(item.path)))));
  card.addEventListener("focus", () => { setCurrent(shown.indexOf(item)); });
  card.addEventListener("click", () => { card.focus(); showLarge(item); });
  return card;
}

function fill(card, item, index) {
  const chip = card.querySelector(".chip");
  const changed = item.label !== item.predicted;
  chip.textContent = printable(item.label);
  chip.title = "Look closer, relabel";
  card.classList.toggle("changed", changed);
  card.classList.toggle("checked", item.checked);
  card.classList.toggle("unknown", item.label === unknown);
  card.querySelector(".bar span").style.width = `${100 * item.probability}%`;
  card.querySelector(".runner").textContent = changed
    ? `was ${printable(item.predicted)} ${percent(item.probability)}`
    : `${item.label === unknown ? `${printable(item.predictions[0].label)} ` : ""}${percent(item.probability)}${
      item.predictions[1] ? `, then ${printable(item.predictions[1].label)}` : ""}`;
  card.tabIndex = index === current ? 0 : -1;
  card.setAttribute("aria-setsize", shown.length);
  card.setAttribute("aria-posinset", index + 1);
  card.setAttribute("aria-label",
    `${printable(shortName(item.path))}: ${printable(item.label)}, ${percent(item.probability)}${
      changed ? ", corrected" : ""}${item.checked ? ", checked" : ""}`);
}

function setCurrent(index) {
  if (index < 0 || index === current) return;
  cards.get(shown[current]?.number)?.setAttribute("tabindex", "-1");
  current = index;
  cards.get(shown[current]?.number)?.setAttribute("tabindex", "0");
}

function walk(to) {
  if (!shown.length) return;
  setCurrent(Math.min(shown.length - 1, Math.max(0, to)));
  const row = Math.floor(current / columns);
  const top = grid.getBoundingClientRect().top + scrollY + row * rowHeight;
  const above = header.getBoundingClientRect().height * (getComputedStyle(header).position === "sticky" ? 1 : 0);
  if (top < scrollY + above) scrollTo(0, top - above - 8);
  else if (top + rowHeight > scrollY + innerHeight) scrollTo(0, top + rowHeight - innerHeight);
  if (!cards.has(shown[current].number)) place();
  cards.get(shown[current].number)?.focus({ preventScroll: true });
  place();
  if (dialog.open) showLarge(shown[current]);
}

function shortName(path) {
  return path.split("/").slice(-2).join("/");
}

/* ---- one image, large ---- */

const large = make("div", { className: "large" });
const other = make("input", { id: "other", type: "text", autocomplete: "off", placeholder: "another label", "aria-label": "Another label" });
other.setAttribute("list", "labels");
const form = make("form", { className: "other" }, other, make("button", { type: "submit" }, "Relabel"));
const details = make("div", { className: "details" });
const dialog = make("dialog", { id: "large", tabIndex: -1, "aria-label": "One image" },
  make("div", { className: "columns" }, large, make("div", {}, details, form,
    make("datalist", { id: "labels" }, ...labels.slice(0, 2000).map((value) => make("option", { value }))),
    make("p", { className: "steps" },
      make("button", { type: "button", id: "previous", onclick: () => walk(current - 1) }, "← Previous"),
      make("button", { type: "button", id: "next", onclick: () => walk(current + 1) }, "Next →"),
      make("button", { type: "button", id: "close", onclick: () => dialog.close() }, "Close")))));
let largeItem = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (largeItem) decide(largeItem, other.value);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => {
  large.replaceChildren();
  walk(current);
});

function showLarge(item) {
  if (largeItem !== item || !dialog.open) {
    large.replaceChildren(picture(item.source, `${printable(item.path)}`));
    other.value = "";
  }
  largeItem = item;
  const link = item.source && !item.source.startsWith("data:")
    ? make("a", { href: item.source, target: "_blank", rel: "noopener" }, printable(item.path))
    : make("span", {}, printable(item.path));
  details.replaceChildren(
    make("p", { className: "full-path small" }, link),
    make("h2", {}, printable(item.label), item.label !== item.predicted
      ? make("span", { className: "soft small" }, ` (was ${printable(item.predicted)})`) : null),
    make("ol", { className: "predictions" }, ...item.predictions.map((one, index) =>
      make("li", {}, make("button", {
        type: "button",
        className: one.label === item.label ? "chosen" : "",
        "aria-pressed": String(one.label === item.label),
        onclick: () => decide(item, one.label),
      }, make("kbd", {}, index < 9 ? String(index + 1) : ""), make("span", { className: "name" }, printable(one.label)),
      make("span", { className: "number" }, percent(one.probability)),
      barOf(one.probability))))),
    make("label", { className: "check" },
      make("input", { type: "checkbox", checked: item.checked, onchange: () => check(item) }), " checked: this label is right"),
  );
  if (!dialog.open) dialog.showModal();
  if (!dialog.contains(document.activeElement) || document.activeElement.matches("a")) dialog.focus();
}

function barOf(share) {
  const inner = make("span");
  inner.style.width = `${100 * share}%`;
  return make("span", { className: "bar" }, inner);
}

/* ---- the keyboard ---- */

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type='search'], input[type='text'], select, textarea");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
    event.preventDefault();
    undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing || event.target.matches("input[type='range']")) return;
  const item = dialog.open ? largeItem : grid.contains(event.target) ? shown[current] : null;
  const page = columns * Math.max(1, Math.floor(innerHeight / rowHeight));
  const steps = dialog.open
    ? { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, j: 1, k: -1 }
    : { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page, j: 1, k: -1 };
  let done = true;
  if (event.key === "/") {
    dialog.close();
    controls.text.focus();
  } else if (event.key === "u") undo();
  else if (event.key in steps && (item || event.key === "j" || event.key === "k")) walk(current + (item ? steps[event.key] : 0));
  else if (!item) done = false;
  else if (event.key === "Home") walk(0);
  else if (event.key === "End") walk(shown.length - 1);
  else if (event.key === "Enter" && !dialog.open) showLarge(item);
  else if (event.key === "e") {
    showLarge(item);
    other.focus();
  } else if (/^[1-9]$/.test(event.key) && item.predictions[event.key - 1]) decide(item, item.predictions[event.key - 1].label);
  else if (event.key === "c" || (event.key === " " && event.target.matches(".card"))) check(item);
  else done = false;
  if (done) event.preventDefault();
});

/* ---- the page ---- */

function field(text, name, ...more) {
  return make("div", { className: "field" }, make("label", { htmlFor: name }, text), ...more);
}

const keys = [
  ["arrows, j k", "walk"], ["Enter", "look closer"], ["1 … 9", "take the first, second, … prediction"],
  ["e", "another label"], ["c, space", "checked"], ["u, Ctrl+Z", "undo"], ["/", "search"],
];
const header = make("header", {},
  make("div", { className: "top" },
    make("div", {}, make("h1", {}, printable(data.title)),
      make("p", { className: "soft small counts" }, shownText, " · ", changedText, ` · ${printable(data.model)}`)),
    make("div", { className: "actions" }, undoButton,
      make("label", { className: "hidden", htmlFor: "scope" }, "What to download"), controls.scope,
      make("button", { type: "button", className: "main", id: "download", onclick: download }, "Download CSV"))),
  make("details", { className: "filters", open: matchMedia("(min-width: 40rem)").matches },
    make("summary", {}, "Filter and sort"),
    make("div", { className: "fields" },
      field("Search", "text", controls.text),
      field("Label", "label", controls.label),
      field("Probability from", "least", controls.least, leastText),
      field("to", "most", controls.most, mostText),
      field("Show", "state", controls.state),
      field("Order", "order", controls.order))));
const unread = data.errors.length
  ? make("details", { className: "unread" }, make("summary", {}, `${count(data.errors.length, "file")} could not be read`),
    make("ul", { className: "small" }, ...data.errors.slice(0, 1000).map(([path, error]) =>
      make("li", {}, `${printable(path)}: ${printable(error)}`))))
  : null;
document.getElementById("page").append(
  header,
  make("main", {}, unread, grid, nothing),
  make("footer", { className: "small soft" },
    make("p", { className: "keys" }, ...keys.flatMap(([key, what]) => [make("span", {}, make("kbd", {}, key), ` ${what}`)])),
    make("p", {}, "Download the labels and judge prompts by those that are checked: zsclip evaluate --manifest labels.csv")),
  status, dialog);

addEventListener("scroll", place, { passive: true });
new ResizeObserver(place).observe(grid);
recall();
labelChoices();
refresh();
