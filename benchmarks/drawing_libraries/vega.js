function draw(host, spec) {
  const compiled = vega.compile({
    width: 520, height: 320, background: colors.page,
    config: { axis: { labelColor: colors.ink, titleColor: colors.ink, gridColor: colors.line } }, ...spec,
  }).spec;
  const runtime = vega.parse(compiled, null, { ast: true });
  return new vega.View(runtime, { expr: vega.expressionInterpreter, renderer: "canvas", container: host }).runAsync();
}

views.heat = (host, { labels, matrix }) =>
  draw(host, {
    data: { values: matrix.flatMap((row, i) => row.map((value, j) => ({ row: labels[i], column: labels[j], value }))) },
    mark: "rect",
    encoding: {
      y: { field: "row", type: "ordinal", sort: null }, x: { field: "column", type: "ordinal", sort: null },
      color: { field: "value", type: "quantitative", scale: { scheme: "viridis", zero: false } },
    },
  });

views.boxes = (host, boxes) =>
  draw(host, {
    data: { values: boxes },
    encoding: { x: { field: "layer", type: "ordinal", sort: null } },
    layer: [
      { mark: "rule", encoding: { y: { field: "low", type: "quantitative", scale: { zero: false } }, y2: { field: "high" } } },
      { mark: { type: "bar", size: 16 }, encoding: { y: { field: "q1", type: "quantitative" }, y2: { field: "q3" } } },
      { mark: { type: "tick", size: 16, color: "white" }, encoding: { y: { field: "median", type: "quantitative" } } },
    ],
  });

views.dumbbell = (host, { tasks, systems }) =>
  draw(host, {
    data: {
      values: systems.flatMap(({ name, scores, low, high }) =>
        tasks.map((task, i) => ({ task, name, score: scores[i], low: low[i], high: high[i] }))),
    },
    encoding: { y: { field: "task", type: "ordinal", sort: null }, color: { field: "name", type: "nominal" } },
    layer: [
      { mark: "rule", encoding: { x: { field: "low", type: "quantitative", scale: { zero: false } }, x2: { field: "high" } } },
      { mark: { type: "point", filled: true }, encoding: { x: { field: "score", type: "quantitative" } } },
    ],
  });

views.curves = (host, curves) =>
  draw(host, {
    data: { values: curves.flatMap(({ name, x, y }) => x.map((at, i) => ({ name, update: at, loss: y[i] }))) },
    mark: "line",
    encoding: {
      x: { field: "update", type: "quantitative" }, y: { field: "loss", type: "quantitative" },
      color: { field: "name", type: "nominal" },
    },
  });
