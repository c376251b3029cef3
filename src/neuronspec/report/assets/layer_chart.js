// The frame of a chart over layers: axes, ticks, stacks.

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

function redraw(plot, drawing) {
  const at = plot.contains(document.activeElement) ? document.activeElement.dataset.at : undefined;
  plot.replaceChildren(drawing);
  if (at !== undefined) plot.querySelector(`[data-at="${at}"]`)?.focus();
}
