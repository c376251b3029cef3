// The frame of a chart over layers: axes, ticks, stacks.

const EDGES = { left: 62, right: 8, top: 12, bottom: 58 }; // pixels around the area that is drawn on
const PIXELS_OF_NUMBER = 24; // layers whose bands are narrower share a number

function frameChart(plot, names, { low, high, label, title }) {
  const width = printing ? PRINTED : Math.max(280, plot.clientWidth);
  const height = clamp(width * 0.42, 220, 360);
  const inner = { left: EDGES.left, right: width - EDGES.right, top: EDGES.top, bottom: height - EDGES.bottom };

  // The second stack stands a little apart
  const known = names.map(layerOf).filter(Boolean);
  const isSecond = ({ stack }) => stack !== known[0].stack;
  const gap = known.some(isSecond) ? 0.6 : 0;
  const band = (inner.right - inner.left) / (known.length + gap);
  const x = (i) => inner.left + (i + 0.5 + (isSecond(known[i]) ? gap : 0)) * band;
  const y = (value) => inner.bottom - ((inner.bottom - inner.top) * (value - low)) / (high - low);

  const drawing = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  const chart = { drawing, known, band, x, y, inner };
  drawing.append(...drawHeights(chart, low, high, title), ...drawNumbersOfLayers(chart), ...drawStackNames(chart));
  return chart;
}

function drawHeights({ inner, y }, low, high, title) {
  const rules = pickTicks(low, high).flatMap(({ value, text }) => [
    make("line", { class: "rule", x1: inner.left, x2: inner.right, y1: y(value), y2: y(value) }),
    writeAxis(text, inner.left - 6, y(value) + 4, { anchor: "end" }),
  ]);
  const middle = (inner.top + inner.bottom) / 2;
  return [...rules, writeAxis(title, 14, middle, { turned: true, kind: "" })];
}

function drawNumbersOfLayers({ known, band, inner, x }) {
  const every = Math.ceil(PIXELS_OF_NUMBER / band);
  const places = {};
  return known.flatMap(({ name, stack }, i) => {
    const index = (places[stack] = (places[stack] ?? -1) + 1);
    const number = name.match(/\d+$/)?.[0] ?? index;
    return index % every ? [] : [writeAxis(String(number), x(i), inner.bottom + 18)];
  });
}

function drawStackNames(chart) {
  return listStacks(chart).map(([stack, own]) => {
    const middle = (chart.x(own[0]) + chart.x(own.at(-1))) / 2;
    return make("g", { class: stack }, writeAxis(`${stack} layer`, middle, chart.inner.bottom + 40, { kind: "" }));
  });
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

function listStacks({ known }) {
  const stacks = [...new Set(known.map(({ stack }) => stack))];
  const listOwn = (stack) => known.map((layer, i) => (layer.stack === stack ? i : -1)).filter((i) => i >= 0);
  return stacks.map((stack) => [stack, listOwn(stack)]);
}

function redraw(plot, drawing) {
  const at = plot.contains(document.activeElement) ? document.activeElement.dataset.at : undefined;
  plot.replaceChildren(drawing);
  if (at !== undefined) plot.querySelector(`[data-at="${at}"]`)?.focus();
}
