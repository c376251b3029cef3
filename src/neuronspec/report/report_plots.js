"use strict";
// What the report draws: matrices on a canvas; trees, boxes and bands as SVG. It shares one scope with report.js.

// From none to all, away from the page's own lightness: what stands out is what is shared.
const SHARED = {
  light: ["#f3eed6", "#d3e8cc", "#98d0c0", "#55acbd", "#3079ab", "#2c4a8c", "#251f5b"],
  dark: ["#1d2433", "#29356f", "#2d5f9f", "#3590b8", "#6dbfba", "#b9e0bf", "#fbf6df"],
};
const HARM = {
  light: ["#0b5a9d", "#7fb4da", "#f3f2ee", "#f0b37e", "#b3520a"],
  dark: ["#7cc4ff", "#2d6596", "#222833", "#9a5a22", "#ffb86b"],
};
const PRINTED = 680; // pixels across a printed page
const PIXELS_FOR_TEXT = 9; // smaller cells get the names of families, not of languages

// ---- matrices on a canvas: heat map and ablation

function createMatrix(canvas, onChoose) {
  const matrix = { model: null, cell: null, place: null };
  const choose = (cell) => {
    matrix.cell = cell;
    matrix.draw();
    onChoose(cell, false);
  };
  matrix.show = (model) => {
    Object.assign(matrix, { model, image: paintCells(model) });
    if (matrix.cell && (matrix.cell[0] >= model.rows.length || matrix.cell[1] >= model.columns.length))
      matrix.cell = null;
    matrix.draw();
  };
  matrix.draw = () => {
    if (matrix.model?.rows.length && canvas.parentElement.clientWidth) drawMatrix(canvas, matrix);
  };
  canvas.addEventListener("pointermove", (event) => {
    const cell = matrix.place && locate(matrix.place, event);
    if (cell && String(cell) !== String(matrix.cell)) choose(cell);
  });
  canvas.addEventListener("pointerdown", (event) => {
    matrix.cell = (matrix.place && locate(matrix.place, event)) ?? matrix.cell;
    if (matrix.cell) onChoose(matrix.cell, true);
    matrix.draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const cell = step(matrix, event.key);
    if (!cell) return;
    event.preventDefault();
    choose(cell);
    if (event.key === "Enter") onChoose(cell, true);
  });
  canvas.addEventListener("focus", () => matrix.cell || choose([0, Math.min(1, matrix.model.columns.length - 1)]));
  new ResizeObserver(matrix.draw).observe(canvas.parentElement);
  return matrix;
}

function step({ model, cell }, key) {
  const [i, j] = cell ?? [0, 0];
  const [rows, columns] = [model.rows.length - 1, model.columns.length - 1];
  const moves = {
    ArrowUp: [i - 1, j],
    ArrowDown: [i + 1, j],
    ArrowLeft: [i, j - 1],
    ArrowRight: [i, j + 1],
    PageUp: [i - 10, j],
    PageDown: [i + 10, j],
    Home: [i, 0],
    End: [i, columns],
    Enter: [i, j],
  };
  return moves[key] && [clamp(moves[key][0], 0, rows), clamp(moves[key][1], 0, columns)];
}

function locate(place, event) {
  const shown = event.target.getBoundingClientRect();
  const zoom = place.width / shown.width;
  const i = Math.floor(((event.clientY - shown.top) * zoom - place.top) / place.cell);
  const j = Math.floor(((event.clientX - shown.left) * zoom - place.left) / place.cell);
  return i >= 0 && j >= 0 && i < place.rows && j < place.columns ? [i, j] : null;
}

function paintCells({ rows, columns, value, color }) {
  const image = make("canvas", { width: columns.length || 1, height: rows.length || 1 });
  const context = image.getContext("2d");
  const pixels = context.createImageData(image.width, image.height);
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      const found = value(row, column);
      if (found !== null)
        [pixels.data[at], pixels.data[at + 1], pixels.data[at + 2], pixels.data[at + 3]] = [...color(found), 255];
      at += 4;
    }
  }
  context.putImageData(pixels, 0, 0);
  return image;
}

function measureMatrix(context, canvas, { rows, columns }) {
  const available = printing ? PRINTED : canvas.parentElement.clientWidth - 6;
  const most = clamp(560 / columns.length, 32, 72);
  const strip = rows.some(({ family }) => family) ? 12 : 0;
  context.font = "11px system-ui, sans-serif";
  const widest = (items, text) =>
    Math.max(0, ...items.map((item) => context.measureText(text(item).slice(0, 60)).width));
  const limit = Math.min(150, available * 0.28);
  let label =
    Math.min(
      limit,
      widest(rows, (item) => item.label),
    ) + 8;
  let cell = Math.min(most, (available - label - strip) / columns.length);
  const small = cell < PIXELS_FOR_TEXT;
  if (small) {
    label =
      available < 500
        ? 8
        : Math.min(
            limit,
            widest(rows, (item) => item.family || ""),
          ) + 8;
    cell = Math.min(most, (available - label - strip) / columns.length);
  }
  if (cell > 6) cell = Math.floor(cell);
  const head = small
    ? 8
    : Math.min(
        limit,
        widest(columns, (item) => item.label),
      ) + 8;
  const [left, top] = [label + strip, head + strip];
  return {
    cell,
    left,
    top,
    label,
    head,
    strip,
    small,
    rows: rows.length,
    columns: columns.length,
    width: Math.ceil(left + cell * columns.length + 2),
    height: Math.ceil(top + cell * rows.length + 2),
  };
}

function drawMatrix(canvas, matrix) {
  const context = canvas.getContext("2d");
  const place = (matrix.place = measureMatrix(context, canvas, matrix.model));
  const sharpness = printing ? 3 : Math.max(1, devicePixelRatio);
  canvas.width = place.width * sharpness;
  canvas.height = place.height * sharpness;
  canvas.style.setProperty("width", `${place.width}px`);
  context.scale(sharpness, sharpness);
  context.imageSmoothingEnabled = false;
  context.drawImage(matrix.image, place.left, place.top, place.cell * place.columns, place.cell * place.rows);
  if (place.cell >= 10) drawGaps(context, place);
  drawStrips(context, place, matrix.model);
  drawLabels(context, place, matrix);
  if (matrix.cell && !printing) drawCross(context, place, matrix.cell);
}

function drawGaps(context, { left, top, cell, rows, columns }) {
  context.fillStyle = style("--page");
  for (let j = 1; j < columns; j++) context.fillRect(left + j * cell - 0.5, top, 1, rows * cell);
  for (let i = 1; i < rows; i++) context.fillRect(left, top + i * cell - 0.5, columns * cell, 1);
}

function drawStrips(context, { left, top, cell, strip }, { rows, columns }) {
  const width = strip - 5;
  const fill = (family, x, y, w, h) => {
    if (!family || width <= 0) return;
    context.fillStyle = context.createPattern(drawSwatch(family), "repeat");
    context.fillRect(x, y, w, h);
  };
  for (const run of findRuns(rows))
    fill(run.family, left - width - 3, top + run.start * cell, width, run.length * cell);
  for (const run of findRuns(columns))
    fill(run.family, left + run.start * cell, top - width - 3, run.length * cell, width);
}

function fit(context, text, width) {
  if (context.measureText(text.slice(0, 200)).width <= width && text.length <= 200) return text;
  let kept = Math.min(text.length, 60);
  while (kept > 1 && context.measureText(`${text.slice(0, kept)}…`).width > width) kept--;
  return `${text.slice(0, kept)}…`;
}

function drawLabels(context, place, { model, cell }) {
  const { left, top, label, head, strip, small } = place;
  context.textBaseline = "middle";
  const write = (text, x, y, chosen, turned, width) => {
    context.font = `${chosen ? "bold " : ""}11px system-ui, sans-serif`;
    context.fillStyle = style(chosen ? "--ink" : "--muted");
    context.textAlign = turned ? "left" : "right";
    context.save();
    context.translate(x, y);
    if (turned) context.rotate(-Math.PI / 2);
    context.fillText(fit(context, text, width), 0, 0);
    context.restore();
  };
  if (small) {
    if (label > 10)
      for (const run of findRuns(model.rows)) {
        if (run.length * place.cell >= 11) {
          write(run.family, left - strip - 4, top + (run.start + run.length / 2) * place.cell, false, false, label - 6);
        }
      }
    return;
  }
  const at = (number) => (number + 0.5) * place.cell;
  model.rows.forEach((item, i) => write(item.label, left - strip - 4, top + at(i), cell?.[0] === i, false, label - 6));
  model.columns.forEach((item, j) => write(item.label, left + at(j), top - strip - 4, cell?.[1] === j, true, head - 6));
}

function findRuns(items) {
  const runs = [];
  items.forEach(({ family = "" }, start) => {
    if (runs.at(-1)?.family === family) runs.at(-1).length++;
    else runs.push({ family, start, length: 1 });
  });
  return runs;
}

function drawCross(context, { left, top, cell, rows, columns }, [i, j]) {
  context.strokeStyle = style("--ink");
  context.globalAlpha = 0.45;
  context.lineWidth = 1;
  context.strokeRect(left, top + i * cell, columns * cell, cell);
  context.strokeRect(left + j * cell, top, cell, rows * cell);
  context.globalAlpha = 1;
  context.lineWidth = 2;
  const size = Math.max(cell, 5);
  context.strokeRect(left + (j + 0.5) * cell - size / 2, top + (i + 0.5) * cell - size / 2, size, size);
}

function drawScale(ramp, texts) {
  const canvas = make("canvas", { width: 120, height: 10, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let x = 0; x < 120; x++) {
    context.fillStyle = `rgb(${ramp(x / 119)})`;
    context.fillRect(x, 0, 1, 10);
  }
  return [make("span", {}, texts[0]), canvas, make("span", {}, texts[1])];
}

// ---- the tree

function showTrees() {
  addStackAndLayer(find("tree-controls"));
  const copy = make("button", { type: "button" }, "Copy as Newick");
  addCopying(copy, () => data.trees[state.layer]?.newick ?? "");
  find("tree-controls").append(copy);
  views.push(drawTree);
}

function drawTree() {
  const tree = data.trees[state.layer];
  const panel = panels[layerOf(state.layer).stack];
  const plot = find("tree-plot");
  const quality = isNumber(tree?.cophenetic) ? ` · cophenetic correlation ${formatNumber(tree.cophenetic)}` : "";
  find("tree-caption").replaceChildren(make("strong", {}, say(state.layer)), tree ? quality : " has no tree");
  if (!tree) return plot.replaceChildren();
  const width = printing ? PRINTED : Math.max(280, plot.clientWidth);
  const size = {
    width,
    row: printing ? Math.min(20, 760 / tree.order.length) : tree.order.length > 60 ? 14 : 20,
    label: Math.min(190, width * 0.42),
  };
  const height = tree.order.length * size.row + 34;
  const drawing = make("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `Tree of ${tree.order.length} languages in ${state.layer}: ${tree.order.map((leaf) => nameOf(panel, leaf)).join(", ")}`,
  });
  drawing.append(...drawBranches(tree, size), ...tree.order.map((leaf, at) => drawLeaf(panel, leaf, at, size)));
  plot.replaceChildren(drawing);
}

function drawBranches({ order, merges }, { width, row, label }) {
  const highest = Math.max(1e-9, ...merges.map((merge) => merge[2]));
  const end = width - label;
  const x = (distance) => end - ((end - 12) * distance) / highest;
  const nodes = [];
  order.forEach((leaf, at) => (nodes[leaf] = [end, (at + 0.5) * row]));
  const paths = merges.map(([a, b, distance], number) => {
    const [[xa, ya], [xb, yb], at] = [nodes[a], nodes[b], x(distance)];
    nodes[order.length + number] = [at, (ya + yb) / 2];
    return make(
      "path",
      { class: "branch", d: `M${xa} ${ya}H${at}V${yb}H${xb}` },
      make("title", {}, `joined at distance ${formatShare(distance)}`),
    );
  });
  const bottom = order.length * row + 6;
  const ticks = listTicks(0, highest).flatMap((value) => [
    make("line", { class: "rule", x1: x(value), x2: x(value), y1: 0, y2: bottom }),
    make("text", { class: "axis", x: x(value), y: bottom + 16, "text-anchor": "middle" }, value.toFixed(2)),
  ]);
  return [...ticks, ...paths];
}

function drawLeaf(panel, leaf, at, { width, row, label }) {
  const [x, y, family] = [width - label + 8, (at + 0.5) * row, panel.families?.[leaf]];
  const name = nameOf(panel, leaf);
  const shown = name.length > label / 7 - 3 ? `${name.slice(0, Math.floor(label / 7) - 4)}…` : name;
  const text = make("text", { x: x + (family ? 16 : 0), y: y + Math.min(4, row / 3) }, shown);
  text.style.setProperty("font-size", `${Math.min(12, row)}px`);
  const mark = family
    ? make("image", {
        x,
        y: y - Math.min(10, row) / 2,
        width: 10,
        height: Math.min(10, row),
        preserveAspectRatio: "none",
        href: drawSwatch(family).toDataURL(),
      })
    : null;
  return make("g", {}, mark, text, make("title", {}, family ? `${name} (${family})` : name));
}

// ---- charts over layers

function frameChart(plot, names, low, high, label) {
  const width = printing ? PRINTED : Math.max(280, plot.clientWidth);
  const height = clamp(width * 0.42, 200, 360);
  const inner = { left: 44, right: width - 8, top: 12, bottom: height - 58 };
  const known = names.map(layerOf).filter(Boolean);
  const gap = known.some(({ stack }) => stack !== known[0].stack) ? 0.6 : 0;
  const band = (inner.right - inner.left) / (known.length + gap);
  const x = (i) => inner.left + (i + 0.5 + (known[i].stack !== known[0].stack ? gap : 0)) * band;
  const y = (value) => inner.bottom - ((inner.bottom - inner.top) * (value - low)) / (high - low);
  const drawing = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  for (const value of listTicks(low, high)) {
    drawing.append(make("line", { class: "rule", x1: inner.left, x2: inner.right, y1: y(value), y2: y(value) }));
    drawing.append(
      make("text", { class: "axis", x: inner.left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2)),
    );
  }
  const every = Math.ceil(24 / band);
  known.forEach(({ name, stack }, i) => {
    const index = known.filter((other) => other.stack === stack).findIndex((other) => other.name === name);
    const number = name.match(/\d+$/)?.[0] ?? index;
    if (index % every === 0)
      drawing.append(
        make("text", { class: "axis", x: x(i), y: inner.bottom + 18, "text-anchor": "middle" }, String(number)),
      );
  });
  for (const stack of new Set(known.map((layer) => layer.stack))) {
    const own = known.map((layer, i) => (layer.stack === stack ? x(i) : null)).filter((found) => found !== null);
    drawing.append(
      make(
        "g",
        { class: stack },
        make(
          "text",
          { class: "axis", x: (own[0] + own.at(-1)) / 2, y: inner.bottom + 40, "text-anchor": "middle" },
          `${stack} layer`,
        ),
      ),
    );
  }
  return { drawing, known, band, x, y };
}

function listTicks(low, high) {
  const gap = [0.01, 0.02, 0.05, 0.1, 0.2].find((size) => (high - low) / size <= 6) ?? 0.25;
  const [first, last] = [Math.ceil(low / gap - 1e-9), Math.floor(high / gap + 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * gap);
}

function roundLimits(values) {
  const found = values.filter(isNumber);
  if (!found.length) return [0, 1];
  const low = Math.max(0, Math.floor(Math.min(...found) * 20 - 0.2) / 20);
  return [low, Math.max(low + 0.1, Math.min(1, Math.ceil(Math.max(...found) * 20 + 0.2) / 20))];
}

function pathOver(chart, indices, value) {
  const points = indices.filter((i) => isNumber(value(i))).map((i) => `${chart.x(i)} ${chart.y(value(i))}`);
  return points.length ? `M${points.join("L")}` : "";
}

function listStacks(chart) {
  const stacks = [...new Set(chart.known.map(({ stack }) => stack))];
  return stacks.map((stack) => [
    stack,
    chart.known.map((layer, i) => (layer.stack === stack ? i : -1)).filter((i) => i >= 0),
  ]);
}

function showProgression() {
  const names = layers.map(({ name }) => name).filter((name) => data.progression[name]);
  const columns = ["mean", "low", "q1", "median", "q3", "high"];
  const limits = roundLimits(names.flatMap((name) => columns.map((column) => data.progression[name][column])));
  views.push(() => {
    const chart = frameChart(
      find("progression-plot"),
      names,
      ...limits,
      "Box plot of the IoU of all pairs over layers",
    );
    for (const [stack, own] of listStacks(chart)) {
      const line = pathOver(chart, own, (i) => data.progression[chart.known[i].name].mean);
      chart.drawing.append(
        make(
          "g",
          { class: stack },
          make("path", { class: "stroke", d: line, "stroke-opacity": 0.6 }),
          ...own.map((i) => drawBox(chart, i)),
        ),
      );
    }
    redraw(find("progression-plot"), chart.drawing);
  });
  addTable(find("progression-table"), () =>
    makeGrid(
      "IoU of all pairs",
      ["layer", ...columns],
      names.map((name) => [name, ...columns.map((column) => formatShare(data.progression[name][column]))]),
    ),
  );
}

function drawBox(chart, i) {
  const { name } = chart.known[i];
  const { low, q1, median, q3, high, mean } = data.progression[name];
  const [x, y, half] = [chart.x(i), chart.y, Math.min(14, chart.band * 0.34)];
  const text = `${name}: mean ${formatShare(mean)}, median ${formatShare(median)}, middle half ${formatShare(q1)} to ${formatShare(q3)}, whiskers ${formatShare(low)} to ${formatShare(high)}`;
  const choose = () => mapped.some((layer) => layer.name === name) && update({ layer: name });
  const keyed = (event) =>
    (event.key === "Enter" || event.key === " ") &&
    (event.preventDefault(), choose(), find("progression-plot").querySelector(`[data-at="${i}"]`).focus());
  return make(
    "g",
    { class: "box", tabindex: 0, role: "button", "aria-label": text, "data-at": i, onclick: choose, onkeydown: keyed },
    make("title", {}, text),
    make("line", { x1: x, x2: x, y1: y(low), y2: y(high), stroke: "currentColor" }),
    make("rect", {
      class: "body",
      x: x - half,
      width: 2 * half,
      y: y(q3),
      height: Math.max(1, y(q1) - y(q3)),
      fill: "currentColor",
      "fill-opacity": 0.3,
      stroke: "currentColor",
      "stroke-width": name === state.layer ? 3 : 1,
    }),
    make("line", {
      x1: x - half,
      x2: x + half,
      y1: y(median),
      y2: y(median),
      stroke: "currentColor",
      "stroke-width": 2,
    }),
    make("circle", { class: "paint", cx: x, cy: y(mean), r: clamp(half / 3, 1.2, 3.5) }),
  );
}

function summarize(values) {
  const sorted = values.filter(isNumber).sort((a, b) => a - b);
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const below = sorted[Math.floor(place)];
    return below + (sorted[Math.ceil(place)] - below) * (place % 1);
  };
  return sorted.length ? { low: sorted[0], q1: at(0.25), median: at(0.5), q3: at(0.75), high: sorted.at(-1) } : {};
}

function showSparsity() {
  const names = layers.map(({ name }) => name).filter((name) => data.sparsity[name]);
  const summaries = names.map((name) => summarize(data.sparsity[name].values));
  const limits = roundLimits(summaries.flatMap(({ low, high }) => [low, high]));
  const tasks = [...new Set(names.flatMap((name) => data.sparsity[name].tasks))];
  const select = make(
    "select",
    { id: "sparsity-task", onchange: () => draw() },
    make("option", { value: "" }, "none"),
    ...tasks.map((task, i) => make("option", { value: i }, task)),
  );
  find("sparsity-controls").append(make("label", { class: "pick" }, make("span", {}, "Highlight a task"), select));
  const read = (name, task) => data.sparsity[name].values[data.sparsity[name].tasks.indexOf(task)];
  const draw = () => {
    const chart = frameChart(find("sparsity-plot"), names, ...limits, "Sparsity over layers");
    for (const [stack, own] of listStacks(chart)) chart.drawing.append(drawBands(chart, stack, own, summaries));
    const task = tasks[select.value];
    if (select.value !== "")
      chart.drawing.append(
        ...listStacks(chart).map(([, own]) =>
          make("path", { class: "chosen", d: pathOver(chart, own, (i) => read(names[i], task)) }),
        ),
      );
    redraw(find("sparsity-plot"), chart.drawing);
  };
  views.push(draw);
  addTable(find("sparsity-table"), () =>
    makeGrid(
      "Sparsity",
      ["task", ...names],
      tasks.map((task) => [task, ...names.map((name) => formatShare(read(name, task)))]),
    ),
  );
}

function drawBands(chart, stack, own, summaries) {
  const band = (low, high, opacity) => {
    const there = pathOver(chart, own, (i) => summaries[i][high]);
    const back = pathOver(chart, [...own].reverse(), (i) => summaries[i][low]).replace("M", "L");
    return make("path", { class: "paint", "fill-opacity": opacity, d: there && `${there}${back}Z` });
  };
  const dots = own
    .filter((i) => isNumber(summaries[i].median))
    .map((i) => {
      const text = `${chart.known[i].name}: median ${formatShare(summaries[i].median)}, range ${formatShare(summaries[i].low)} to ${formatShare(summaries[i].high)}`;
      return make(
        "circle",
        { class: "paint", cx: chart.x(i), cy: chart.y(summaries[i].median), r: 3 },
        make("title", {}, text),
      );
    });
  return make(
    "g",
    { class: stack },
    band("low", "high", 0.14),
    band("q1", "q3", 0.3),
    make("path", { class: "stroke", "stroke-width": 2, d: pathOver(chart, own, (i) => summaries[i].median) }),
    ...dots,
  );
}

function redraw(plot, drawing) {
  const at = plot.contains(document.activeElement) ? document.activeElement.dataset.at : undefined;
  plot.replaceChildren(drawing);
  if (at !== undefined) plot.querySelector(`[data-at="${at}"]`)?.focus();
}
