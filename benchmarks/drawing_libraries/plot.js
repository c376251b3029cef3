const show = (host, options) =>
  host.append(Plot.plot({ width: 560, height: 340, style: { background: colors.page, color: colors.ink }, ...options }));

views.heat = (host, { labels, matrix }) =>
  show(host, {
    color: { scheme: "viridis" }, x: { domain: labels }, y: { domain: labels },
    marks: [
      Plot.cell(matrix.flatMap((row, i) => row.map((value, j) => ({ value, row: labels[i], column: labels[j] }))), {
        x: "column", y: "row", fill: "value",
      }),
    ],
  });

views.boxes = (host, boxes) =>
  show(host, {
    x: { domain: boxes.map((box) => box.layer) },
    marks: [
      Plot.ruleX(boxes, { x: "layer", y1: "low", y2: "high" }),
      Plot.barY(boxes, { x: "layer", y1: "q1", y2: "q3", fillOpacity: 0.4 }),
      Plot.tickY(boxes, { x: "layer", y: "median" }),
    ],
  });

views.dumbbell = (host, { tasks, systems }) => {
  const rows = systems.flatMap(({ name, scores, low, high }) =>
    tasks.map((task, i) => ({ task, name, score: scores[i], low: low[i], high: high[i] })));
  show(host, {
    color: { legend: true }, y: { domain: tasks }, marginLeft: 60,
    marks: [
      Plot.ruleY(rows, { y: "task", x1: "low", x2: "high", stroke: "name" }),
      Plot.dot(rows, { y: "task", x: "score", fill: "name", tip: true }),
    ],
  });
};

views.curves = (host, curves) =>
  show(host, {
    color: { legend: true },
    marks: [
      Plot.lineY(curves.flatMap(({ name, x, y }) => x.map((at, i) => ({ name, at, loss: y[i] }))), {
        x: "at", y: "loss", stroke: "name",
      }),
    ],
  });
