// Scores by direction: a line of dots for each direction, from the first system to the last, with intervals.

registerSection("scores", showScores);

const ROW = 26; // pixels of a direction
const APART = 5; // pixels between the intervals of two systems

function showScores() {
  const { metrics, systems, rows, note } = data.scores;
  const shown = { metric: metrics[0].name, order: "as given" };
  const draw = () => {
    find("scores-legend").replaceChildren(...systems.map(makeSystemKey));
    drawScores(data.scores, shown);
  };
  const choose = (key) => (value) => {
    shown[key] = value;
    draw();
    fillTable();
  };

  const controls = find("scores-controls");
  if (metrics.length > 1) {
    const names = metrics.map(({ name }) => name);
    addLocalChoice(controls, "Metric", names, shown.metric, choose("metric"));
  }
  if (rows.length > 2) addLocalChoice(controls, "Order", ["as given", "by gain", "by score"], shown.order, choose("order"));

  find("scores-note").append(...writeText(note ?? ""));
  views.push(draw);
  const fillTable = addTable(find("scores-table"), () => tabulateScores(data.scores, shown));
}

// Systems have the colors of their training curves and of the static figures
const systemColor = (i) => data.scores.colors[i][document.documentElement.dataset.theme];

function makeSystemKey(title, i) {
  const dot = make("circle", { cx: 6, cy: 6, r: 5, fill: systemColor(i) });
  return make("span", {}, make("svg", { width: 12, height: 12, "aria-hidden": "true" }, dot), say(title));
}

function sortRows(rows, { metric, order }, higher) {
  const sign = higher ? -1 : 1;
  const worth = ({ scores }) => {
    const known = scores[metric].filter(Boolean);
    if (!known.length) return Infinity;
    const last = known.at(-1)[0];
    return sign * (order === "by gain" ? last - known[0][0] : last);
  };
  const means = rows.filter(({ directions }) => directions > 1);
  const others = rows.filter(({ directions }) => directions === 1);
  return [...means, ...(order === "as given" ? others : [...others].sort((a, b) => worth(a) - worth(b)))];
}

function drawScores({ metrics, systems, rows }, shown) {
  const { higher } = metrics.find(({ name }) => name === shown.metric);
  const sorted = sortRows(rows, shown, higher).filter(({ scores }) => scores[shown.metric].some(Boolean));
  const frame = frameScores(sorted, shown.metric, higher);
  frame.drawing.append(...sorted.map((row, at) => drawDirection(frame, row, at, { systems, metric: shown.metric })));
  find("scores-plot").replaceChildren(frame.drawing);
}

function frameScores(rows, metric, higher) {
  const plot = find("scores-plot");
  const width = printing ? PRINTED : Math.max(260, plot.clientWidth - 2);
  const longest = Math.max(30, ...rows.map(({ label }) => measureText(label, "bold")));
  const inner = { left: Math.min(longest + 10, width * 0.34), right: width - 54, bottom: rows.length * ROW + 4 };
  const [low, high] = widenLimits(rows.flatMap(({ scores }) => scores[metric].filter(Boolean).flat()));
  const x = (value) => inner.left + 6 + ((inner.right - inner.left - 12) * (value - low)) / (high - low);

  const height = inner.bottom + 44;
  const label = `${metric} of ${rows.length} rows; the numbers are in the table below`;
  const drawing = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const { value, text } of pickTicks(low, high, 5)) {
    drawing.append(
      make("line", { class: "rule", x1: x(value), x2: x(value), y1: 0, y2: inner.bottom }),
      writeAxis(text, x(value), inner.bottom + 16),
    );
  }
  const title = `${metric} (${higher ? "higher" : "lower"} is better)`;
  const middle = (inner.left + inner.right) / 2;
  drawing.append(writeAxis(title, middle, inner.bottom + 36, { kind: "" }));
  const decimals = clamp(1 - Math.floor(Math.log10(high - low)), 1, 4);
  return { drawing, x, inner, width, decimals };
}

function drawDirection({ x, inner, width, decimals }, row, at, { systems, metric }) {
  const found = row.scores[metric];
  const y = (at + 0.5) * ROW;
  const known = found.filter(Boolean).map(([score]) => score);
  const last = found.findLast(Boolean)[0];
  const text = shorten(row.label, inner.left - 8, "bold");
  const read = () => {
    find("scores-reading").classList.remove("hint");
    find("scores-reading").replaceChildren(say(row.label), ": ", describeScores(row, systems, metric));
  };

  // Dots stand on their intervals, a little apart, so that none hides another
  const dots = found.map((one, i) => {
    if (!one) return null;
    const [score, low, high] = one;
    const line = y + (i - (found.length - 1) / 2) * APART;
    return make(
      "g",
      {},
      make("line", { class: "whisker", x1: x(low), x2: x(high), y1: line, y2: line, stroke: systemColor(i) }),
      make("circle", { cx: x(score), cy: line, r: i === found.length - 1 ? 4.5 : 3.5, fill: systemColor(i) }),
    );
  });

  return make(
    "g",
    { class: "dumbbell", onpointerenter: read },
    make("rect", { class: "wide-target", x: 0, y: at * ROW, width, height: ROW }),
    make("line", { class: "way", x1: x(Math.min(...known)), x2: x(Math.max(...known)), y1: y, y2: y }),
    ...dots.filter(Boolean),
    make("text", { class: row.directions > 1 ? "mean" : "", x: inner.left - 4, y: y + 4, "text-anchor": "end" }, text),
    make("text", { class: "value", x: width - 4, y: y + 4, "text-anchor": "end" }, formatFixed(last, decimals)),
    make("title", {}, `${row.label}: ${describeScores(row, systems, metric)}`),
  );
}

function describeScores({ scores }, systems, metric) {
  const parts = systems.map((title, i) => {
    const one = scores[metric][i];
    return one ? `${title} ${formatFixed(one[0])} (${formatFixed(one[1])} to ${formatFixed(one[2])})` : `${title} –`;
  });
  return parts.join(", ");
}

function tabulateScores({ systems, rows }, { metric }) {
  const show = (one) => (one ? `${formatFixed(one[0], 2)} (${formatFixed(one[1], 2)} to ${formatFixed(one[2], 2)})` : "–");
  return makeGrid(
    `${metric} with 95 % intervals`,
    ["direction", ...systems],
    rows.map(({ label, scores }) => [label, ...scores[metric].map(show)]),
  );
}
