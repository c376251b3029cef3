"use strict";
// The payload is parsed once, `state` says what is shown, and every view redraws from both.
// Texts enter the page as text nodes or onto a canvas, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "line", "path", "rect", "circle", "text", "image", "title"]);
const FAMILY_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"]; // Okabe and Ito

const data = JSON.parse(document.getElementById("payload").textContent);
const missing = data.missing ?? {};
const panels = data.panels ?? {};
const layers = data.layers ?? [];
const mapped = layers.filter(({ name, stack }) => panels[stack] && (data.iou?.[name] || data.trees?.[name]));
const ks = data.ks?.length
  ? data.ks
  : [...new Set(Object.values(data.iou ?? {}).flatMap((found) => Object.keys(found)))];
const defaults = {
  layer: mapped[0]?.name,
  k: data.k ?? ks.at(-1),
  order: "family",
  scale: "layer",
  row: "",
  column: "",
  neuron: "",
};
const state = { ...defaults };
const sections = new Set([...document.querySelectorAll("section")].map((section) => section.dataset.part));
const views = [];
let theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
let printing = false;

// ---- elements, numbers, colors

const find = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const say = (text) => make("bdi", { dir: "auto" }, String(text));
const isFilled = (part) =>
  part !== null && part !== undefined && part !== "" && (typeof part !== "object" || Object.keys(part).length > 0);
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const nameOf = (panel, i) => panel.names?.[i] || panel.labels[i];
const layerOf = (name) => layers.find((layer) => layer.name === name);

function formatNumber(value) {
  if (!isNumber(value)) return "–";
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

const formatScore = (value) => value.toFixed(1).replace("-", "−");
const formatShare = (value) => (isNumber(value) ? value.toFixed(3) : "–");

function interpolate(stops) {
  const parsed = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return (share) => {
    const place = clamp(share, 0, 1) * (stops.length - 1);
    const first = Math.min(Math.floor(place), stops.length - 2);
    return parsed[first].map((from, i) => Math.round(from + (parsed[first + 1][i] - from) * (place - first)));
  };
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = (ramps) => ramps[document.documentElement.dataset.theme];

// ---- packed matrices: the pairs above the diagonal, row by row

const unpacked = new Map();

function readPairs(part, layer, k) {
  const text = k === undefined ? data[part]?.[layer] : data[part]?.[layer]?.[k];
  if (typeof text !== "string") return null;
  const key = JSON.stringify([part, layer, k]);
  if (!unpacked.has(key)) unpacked.set(key, unpack(text, part.startsWith("z_")));
  return unpacked.get(key);
}

function unpack(text, floats) {
  const letters = atob(text);
  const view = new DataView(new ArrayBuffer(letters.length));
  for (let i = 0; i < letters.length; i++) view.setUint8(i, letters.charCodeAt(i));
  return floats
    ? Float32Array.from({ length: letters.length / 4 }, (_, i) => view.getFloat32(4 * i, true))
    : Float64Array.from({ length: letters.length / 2 }, (_, i) => view.getUint16(2 * i, true) / 65535);
}

function pick(pairs, i, j, n) {
  if (!pairs || i === j) return null;
  const [a, b] = i < j ? [i, j] : [j, i];
  const value = pairs[a * n - (a * (a + 1)) / 2 + b - a - 1];
  return isNumber(value) ? value : null;
}

function findLimits(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list ?? []) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  return low === high ? [Math.max(0, low - 0.005), Math.min(1, high + 0.005)] : [low, high];
}

// ---- families

const families = [...new Set(Object.values(panels).flatMap((panel) => panel.families ?? []))].filter(Boolean);
const swatches = new Map();

function drawSwatch(family) {
  if (swatches.has(family)) return swatches.get(family);
  const number = families.indexOf(family);
  const canvas = make("canvas", { width: 12, height: 12 });
  const context = canvas.getContext("2d");
  context.fillStyle = FAMILY_COLOURS[number % FAMILY_COLOURS.length];
  context.fillRect(0, 0, 12, 12);
  context.fillStyle = "#fff";
  const turn = Math.floor(number / FAMILY_COLOURS.length) % 4; // past the seventh family: stripes
  for (let at = 0; turn && at < 12; at++) {
    if (turn === 1) for (let shift = 0; shift < 12; shift += 6) context.fillRect(at, (at + shift) % 12, 1, 2);
    if (turn === 2 && at % 4 === 0) context.fillRect(0, at, 12, 2);
    if (turn === 3 && at % 4 === 0) context.fillRect(at, 0, 2, 12);
  }
  swatches.set(family, canvas);
  return canvas;
}

const makeSwatch = (family) => make("img", { class: "swatch", alt: "", src: drawSwatch(family).toDataURL() });

// ---- the heat map

function listItems(panel, layer) {
  const order = panel.tasks.map((_, i) => i);
  const compare = new Intl.Collator("en").compare;
  const byName = (a, b) => compare(nameOf(panel, a), nameOf(panel, b));
  const family = (i) => panel.families?.[i] || "";
  if (state.order === "name") order.sort(byName);
  if (state.order === "family") order.sort((a, b) => compare(family(a), family(b)) || byName(a, b));
  const leaves = data.trees?.[layer]?.order;
  const sorted = state.order === "tree" && leaves ? leaves : order;
  return sorted.map((i) => ({ i, label: panel.labels[i], name: nameOf(panel, i), family: family(i) }));
}

function showOverlap() {
  const matrix = createMatrix(find("heatmap"), (cell, kept) => {
    const { rows, columns } = matrix.model;
    readCell(rows[cell[0]], columns[cell[1]]);
    Object.assign(state, { row: rows[cell[0]].label, column: columns[cell[1]].label });
    if (kept) writeAddress();
  });
  const controls = find("overlap-controls");
  addStackAndLayer(controls);
  if (ks.length > 1) addSlider(controls, "Coverage k", ks, "k");
  addChoice(controls, "Order", "order", () => orders());
  addChoice(controls, "Color scale", "scale", () => [
    ["layer", "this layer"],
    ["all", "all layers"],
  ]);
  for (const [part, why] of Object.entries(missing)) {
    if (!sections.has(part)) find("overlap-notes").append(make("p", { class: "why" }, say(why)));
  }
  views.push(() => drawOverlap(matrix));
  addTable(find("overlap-table"), () => tabulateOverlap());
}

function orders() {
  const panel = panels[layerOf(state.layer).stack];
  const known = [
    ["family", "family", !(panel.families ?? []).some(Boolean)],
    ["tree", "tree", !data.trees?.[state.layer]?.order],
  ];
  return [...known, ["name", "name", false]];
}

function drawOverlap(matrix) {
  const layer = layerOf(state.layer);
  const panel = panels[layer.stack];
  const pairs = readPairs("iou", layer.name, state.k);
  const items = listItems(panel, layer.name);
  const same = state.scale === "all" ? mapped.filter(({ stack }) => stack === layer.stack) : [layer];
  const [low, high] = findLimits(same.map(({ name }) => readPairs("iou", name, state.k)));
  const ramp = interpolate(palette(SHARED));
  const at = (label) => items.findIndex((item) => item.label === label);
  matrix.cell = at(state.row) >= 0 && at(state.column) >= 0 ? [at(state.row), at(state.column)] : null;
  matrix.show({
    rows: items,
    columns: items,
    value: (a, b) => pick(pairs, a.i, b.i, items.length),
    color: (value) => ramp((value - low) / (high - low)),
  });
  find("overlap-caption").replaceChildren(
    make("strong", {}, say(layer.name)),
    ` · ${layer.width ?? "?"} neurons · `,
    say(panel.title ?? ""),
    state.k ? ` · k = ${state.k}` : "",
  );
  const span = state.scale === "all" ? "all layers" : "this layer";
  find("overlap-scale").replaceChildren(
    ...drawScale(ramp, [`IoU ${formatShare(low)}`, formatShare(high)]),
    make("span", { class: "quiet" }, `(${span})`),
  );
  find("heatmap").setAttribute(
    "aria-label",
    `Heat map of ${items.length} languages in ${layer.name}: IoU ${formatShare(low)} to ${formatShare(high)}. Arrow keys move between cells; Enter pins one.`,
  );
  const present = families.filter((family) => items.some((item) => item.family === family));
  find("families").replaceChildren(...present.map((family) => make("span", {}, makeSwatch(family), say(family))));
  if (matrix.cell) readCell(items[matrix.cell[0]], items[matrix.cell[1]]);
  else forgetCell();
}

function forgetCell() {
  find("overlap-reading").replaceChildren(
    make("p", { class: "quiet hint" }, "Point at a cell, or focus the map and use the arrow keys, to read its value."),
  );
  find("nearest").replaceChildren();
}

function readCell(row, column) {
  const panel = panels[layerOf(state.layer).stack];
  const n = panel.tasks.length;
  const read = (part, k) => pick(readPairs(part, state.layer, k), row.i, column.i, n);
  const parts = [make("p", {}, make("strong", {}, say(row.name)), " and ", make("strong", {}, say(column.name)))];
  if (row.i === column.i) parts.push(make("p", { class: "quiet" }, "The same language: its IoU with itself is 1."));
  else
    parts.push(
      make("p", {}, make("span", { class: "big" }, formatShare(read("iou", state.k))), "IoU"),
      ...(state.k === data.k ? readDoubts(read) : []),
    );
  if (row.i !== column.i && row.family && row.family !== "unknown" && row.family === column.family)
    parts.push(make("p", { class: "quiet" }, "Both ", say(row.family)));
  find("overlap-reading").replaceChildren(...parts);
  showNearest(panel, row);
}

function readDoubts(read) {
  const [low, high, chance, shuffled] = ["low", "high", "z_chance", "z_shuffled"].map((part) => read(part));
  const lines = [];
  if (low !== null && high !== null) lines.push(`95 % interval ${formatShare(low)} to ${formatShare(high)}`);
  if (chance !== null) lines.push(`z = ${formatScore(chance)} compared with random sets of the same sizes`);
  if (shuffled !== null) lines.push(`z = ${formatScore(shuffled)} compared with shuffled sentences`);
  return lines.map((line) => make("p", { class: "quiet" }, line));
}

function showNearest(panel, row) {
  const pairs = readPairs("iou", state.layer, state.k);
  const others = panel.tasks.map((_, i) => ({
    name: nameOf(panel, i),
    value: pick(pairs, row.i, i, panel.tasks.length),
  }));
  const best = others
    .filter(({ value }) => value !== null)
    .sort((a, b) => b.value - a.value)
    .slice(0, 5);
  find("nearest").replaceChildren(
    make("p", {}, "Closest to ", say(row.name)),
    makeBars(best.map(({ name, value }) => [name, value, formatShare(value)])),
  );
}

function makeBars(rows, highest = 1) {
  const cells = rows.flatMap(([name, value, text, kind]) => {
    const bar = make("i", { class: kind ?? "", "aria-hidden": "true" });
    bar.style.setProperty("width", `${100 * clamp(value / highest || 0, 0, 1)}%`);
    return [make("span", { class: "name", dir: "auto", title: name }, name), bar, make("b", {}, text)];
  });
  return make("div", { class: "bars" }, ...cells);
}

function tabulateOverlap() {
  const panel = panels[layerOf(state.layer).stack];
  const items = listItems(panel, state.layer);
  const pairs = readPairs("iou", state.layer, state.k);
  const show = (a, b) => (a === b ? "1" : formatShare(pick(pairs, a, b, items.length)));
  return makeGrid(
    `IoU in ${state.layer}`,
    ["language", ...items.map(({ name }) => name)],
    items.map((row) => [row.name, ...items.map((column) => show(row.i, column.i))]),
  );
}

// ---- ablation

function showAblation() {
  const parts = Object.entries(data.ablation).filter(([, part]) => part);
  find("ablation-parts").className = parts.length > 1 ? "pair" : "";
  for (const [stack, part] of parts) find("ablation-parts").append(makeAblation(stack, part));
}

function makeAblation(stack, { texts, switched, changes, metric, note }) {
  const canvas = make("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": `Ablation in the ${stack}, ${texts.length} texts by ${switched.length} sets of neurons. Arrow keys move between cells.`,
  });
  const reading = make(
    "p",
    { role: "status", "aria-live": "polite", class: "quiet hint" },
    "Point at a cell to read its value.",
  );
  const scale = make("span", { class: "scale" });
  const table = make("div", { class: "as-table" });
  const host = make(
    "div",
    {},
    make("h3", {}, `In the ${stack}`),
    make("p", { class: "quiet" }, "Change of ", say(metric ?? "the score"), "; positive is worse."),
    make("div", { class: "plot-head" }, scale),
    make("div", { class: "canvas" }, canvas),
    reading,
    note ? make("p", { class: "quiet" }, say(note)) : null,
    table,
  );
  const widest = Math.max(1e-9, ...changes.flat().filter(isNumber).map(Math.abs));
  const matrix = createMatrix(
    canvas,
    ([i, j]) =>
      reading.classList.remove("hint") ||
      reading.replaceChildren(
        "Text ",
        say(texts[i]),
        " without the neurons of ",
        say(switched[j]),
        ": ",
        make("strong", {}, formatNumber(changes[i][j])),
      ),
  );
  const items = (names) => names.map((label, i) => ({ i, label }));
  let painted = "";
  views.push(() => {
    if (painted === `${theme} ${printing}`) return; // no control changes it
    painted = `${theme} ${printing}`;
    const ramp = interpolate(palette(HARM));
    scale.replaceChildren(...drawScale(ramp, [formatNumber(-widest), formatNumber(widest)]));
    matrix.show({
      rows: items(texts),
      columns: items(switched),
      value: (a, b) => changes[a.i]?.[b.i] ?? null,
      color: (value) => ramp(0.5 + value / widest / 2),
    });
  });
  addTable(table, () =>
    makeGrid(
      `Change of ${metric ?? "the score"}`,
      ["text", ...switched],
      texts.map((text, i) => [text, ...switched.map((_, j) => formatNumber(changes[i][j]))]),
    ),
  );
  return host;
}

// ---- texts and figures

function showTexts() {
  const title = String(data.title ?? "");
  document.title = title;
  find("title").textContent = title;
  find("subtitle").textContent = data.subtitle ?? "";
  find("subtitle").hidden = !data.subtitle;
  find("version").textContent = data.version ? `Made with ${data.version}` : "";
  const list = (kind) =>
    data.summary.filter((line) => line.kind === kind).map(({ text }) => make("li", { dir: "auto" }, text));
  find("findings").append(...list("finding"));
  find("caveats")
    .querySelector("ul")
    .append(...list("caveat"));
  find("caveats").hidden = !list("caveat").length;
}

function showFigures() {
  for (const { title, alt, svg } of data.figures) {
    const source = `data:image/svg+xml,${encodeURIComponent(String(svg).toWellFormed?.() ?? svg)}`;
    find("figures-parts").append(
      make(
        "figure",
        {},
        make("figcaption", { dir: "auto" }, title ?? ""),
        make("img", { src: source, alt: alt ?? title ?? "" }),
      ),
    );
  }
}

function showSignature() {
  const read = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "–"));
  find("signature-list").append(
    ...Object.entries(data.signature).flatMap(([key, value]) => [
      make("dt", { dir: "auto" }, key),
      make("dd", { dir: "auto" }, read(value)),
    ]),
  );
}

function showCitation() {
  find("citation-text").textContent = data.citation;
  const button = make("button", { type: "button", id: "copy" }, "Copy");
  addCopying(button, () => data.citation);
  find("citation-copy").append(button);
}

// ---- controls

function addStackAndLayer(host) {
  const stacks = [...new Set(mapped.map(({ stack }) => stack))];
  if (stacks.length > 1) addChoice(host, "Stack", "stack", () => stacks.map((stack) => [stack, stack]));
  const own = () => mapped.filter(({ stack }) => stack === layerOf(state.layer).stack).map(({ name }) => name);
  addSlider(host, "Layer", own, "layer");
}

function addChoice(host, label, key, options) {
  const name = `${key}-${views.length}`;
  const field = make("div", { class: "segments" });
  host.append(make("fieldset", { "data-control": key }, make("legend", {}, label), field));
  const inputs = options().map(([value, text]) => {
    const input = make("input", {
      type: "radio",
      name,
      value,
      onchange: () => (key === "stack" ? changeStack(value) : update({ [key]: value })),
    });
    field.append(make("label", {}, input, make("span", {}, text)));
    return input;
  });
  views.push(() =>
    options().forEach(([value, , disabled], i) => {
      inputs[i].disabled = Boolean(disabled);
      inputs[i].checked = value === (key === "stack" ? layerOf(state.layer).stack : state[key]);
    }),
  );
}

function changeStack(stack) {
  const own = (wanted) => mapped.filter((layer) => layer.stack === wanted);
  const before = own(layerOf(state.layer).stack).findIndex(({ name }) => name === state.layer);
  const found = own(stack);
  update({ layer: found[Math.min(before, found.length - 1)].name });
}

function addSlider(host, label, values, key) {
  const list = () => (typeof values === "function" ? values() : values);
  const output = make("output");
  const input = make("input", {
    type: "range",
    min: 0,
    step: 1,
    "aria-label": label,
    "data-control": key,
    oninput: () => update({ [key]: list()[input.value] }),
  });
  host.append(make("label", { class: "slider" }, make("span", {}, `${label} `, output), input));
  views.push(() => {
    input.max = list().length - 1;
    input.value = Math.max(0, list().indexOf(state[key]));
    input.setAttribute("aria-valuetext", state[key]);
    output.textContent = state[key];
  });
}

function addTable(host, build) {
  const button = make("button", { type: "button", "aria-expanded": "false" }, "Show as table");
  const place = make("div", { hidden: true });
  const fill = () => place.hidden || place.replaceChildren(build());
  button.addEventListener("click", () => {
    place.hidden = !place.hidden;
    button.setAttribute("aria-expanded", String(!place.hidden));
    button.textContent = place.hidden ? "Show as table" : "Hide the table";
    fill();
  });
  host.append(button, place);
  views.push(fill);
}

function addCopying(button, read) {
  const label = button.textContent;
  const tell = (text) => {
    button.textContent = text;
    setTimeout(() => (button.textContent = label), 2000);
  };
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", () =>
    Promise.resolve()
      .then(() => navigator.clipboard.writeText(read()))
      .then(
        () => tell("Copied"),
        () => tell("Please select and copy it manually"),
      ),
  );
}

// ---- state, address, theme, print

function update(changes) {
  Object.assign(state, changes);
  writeAddress();
  refresh();
}

function writeAddress() {
  const own = Object.entries(state).filter(([key, value]) => value && value !== defaults[key]);
  const address = new URLSearchParams(own).toString();
  history.replaceState(null, "", address ? `#${address}` : location.pathname);
}

function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (location.hash && !location.hash.includes("=")) return; // a section of the page
  const labels = Object.values(panels).flatMap((panel) => panel.labels);
  const allowed = {
    layer: mapped.map(({ name }) => name),
    k: ks,
    order: ["family", "tree", "name"],
    scale: ["layer", "all"],
    row: labels,
    column: labels,
    neuron: Object.keys(data.cards?.neurons ?? {}),
  };
  for (const [key, values] of Object.entries(allowed))
    state[key] = values.includes(wanted.get(key)) ? wanted.get(key) : defaults[key];
}

const refresh = () => views.forEach((view) => view());

function setTheme(wanted, forPrint = false) {
  theme = wanted;
  printing = forPrint;
  document.documentElement.dataset.theme = printing ? "light" : theme;
  find("theme").setAttribute("aria-pressed", String(theme === "dark"));
  refresh();
}

function prepareSections() {
  const parts = {
    summary: () => {},
    iou: showOverlap,
    trees: showTrees,
    progression: showProgression,
    sparsity: showSparsity,
    ablation: showAblation,
    tables: showTables,
    cards: showCards,
    figures: showFigures,
    signature: showSignature,
    citation: showCitation,
    methods: () => find("methods-list").append(...data.methods.map((line) => make("li", { dir: "auto" }, line))),
  };
  for (const section of document.querySelectorAll("section")) {
    const { part } = section.dataset;
    const heading = section.querySelector("h2");
    section.setAttribute("aria-label", heading.textContent);
    if (isFilled(data[part]) && ((part !== "iou" && part !== "trees") || mapped.length)) parts[part]();
    else if (missing[part]) section.replaceChildren(heading, make("p", { class: "why" }, say(missing[part])));
    else section.remove();
    if (section.isConnected)
      find("contents").append(
        make("li", {}, make("a", { href: `#${section.id}` }, section.id[0].toUpperCase() + section.id.slice(1))),
      );
  }
}

function start() {
  if (mapped.length && !(panels[mapped[0].stack].families ?? []).some(Boolean)) defaults.order = "name";
  showTexts();
  prepareSections();
  readAddress();
  setTheme(theme);
  find("theme").addEventListener("click", () => setTheme(theme === "dark" ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) =>
    setTheme(event.matches ? "dark" : "light"),
  );
  const print = (on) => {
    document.querySelectorAll("details").forEach((details) => (details.open = on || details.open));
    setTheme(theme, on);
  };
  matchMedia("print").addEventListener("change", (event) => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  addEventListener("hashchange", () => {
    readAddress();
    refresh();
  });
  addEventListener("resize", refresh);
  if (location.hash && !location.hash.includes("=")) find(location.hash.slice(1))?.scrollIntoView();
}

start();
