// The heat map: how many neurons two languages share.

registerSection("iou", showOverlap, () => isFilled(data.iou) && mapped.length > 0);

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

function listItems(panel, layer) {
  const order = panel.tasks.map((_, i) => i);
  const compare = new Intl.Collator("en").compare;
  const family = (i) => panel.families?.[i] || "";

  // Families stand in the order of the payload, which is that of the static figures
  const places = new Map([...new Set(order.map(family))].map((name, at) => [name, at]));
  if (state.order === "name") order.sort((a, b) => compare(nameOf(panel, a), nameOf(panel, b)));
  if (state.order === "family") order.sort((a, b) => places.get(family(a)) - places.get(family(b)));
  const leaves = data.trees?.[layer]?.order;
  const sorted = state.order === "tree" && leaves ? leaves : order;
  return sorted.map((i) => ({ i, label: panel.labels[i], name: nameOf(panel, i), family: family(i) }));
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
  const [low, high] = roundOutwards(findLimits(same.map(({ name }) => readPairs("iou", name, state.k))));
  const ramp = interpolate(SHARED);
  const at = (label) => items.findIndex((item) => item.label === label);
  matrix.cell = at(state.row) >= 0 && at(state.column) >= 0 ? [at(state.row), at(state.column)] : null;
  matrix.show({
    rows: items,
    columns: items,
    titles: { rows: nameAxis(panel), columns: nameAxis(panel) },
    value: (a, b) => (a.i === b.i ? 1 : pick(pairs, a.i, b.i, items.length)),
    color: (value) => ramp((value - low) / (high - low)),
    number: (value) => formatFixed(value, 2),
  });
  find("overlap-caption").replaceChildren(
    make("strong", {}, say(layer.name)),
    ` · ${layer.width ?? "?"} neurons · `,
    say(panel.title ?? ""),
    state.k ? ` · k = ${state.k}` : "",
  );
  const span = state.scale === "all" ? "all layers" : "this layer";
  find("overlap-scale").replaceChildren(
    ...drawScale(ramp, [`IoU ${formatFixed(low, 2)}`, formatFixed(high, 2)]),
    make("span", { class: "quiet" }, `(${span})`),
  );
  find("heatmap").setAttribute(
    "aria-label",
    `Heat map of ${items.length} languages in ${layer.name}: IoU ${formatFixed(low, 2)} to ${formatFixed(high, 2)}. Arrow keys move between cells; Enter pins one.`,
  );
  const present = families.filter((family) => items.some((item) => item.family === family));
  find("families").replaceChildren(...present.map((family) => make("span", {}, makeSwatch(family), say(family))));
  if (matrix.cell) readCell(items[matrix.cell[0]], items[matrix.cell[1]]);
  else forgetCell();
}

// Whole percents around the values, as in the static figures
function roundOutwards([low, high]) {
  const [first, last] = [Math.floor(100 * low + 1e-9) / 100, Math.ceil(100 * high - 1e-9) / 100];
  return first < last ? [first, last] : [Math.max(0, first - 0.01), Math.min(1, last + 0.01)];
}

const nameAxis = ({ title, families }) => `${(families ?? []).length ? "language" : "task"}${title ? ` (${title})` : ""}`;

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
