const frame = (extra = {}) => ({
  paper_bgcolor: colors.page, plot_bgcolor: colors.page, font: { color: colors.ink },
  margin: { l: 60, r: 10, t: 10, b: 50 }, height: 360, ...extra,
});
const options = { displayModeBar: false };

views.heat = (host, { labels, matrix }) =>
  Plotly.newPlot(host, [{ type: "heatmap", x: labels, y: labels, z: matrix, colorscale: "Viridis" }], frame(), options);

views.boxes = (host, boxes) =>
  Plotly.newPlot(host, [{
    type: "box", x: boxes.map((box) => box.layer),
    lowerfence: boxes.map((box) => box.low), q1: boxes.map((box) => box.q1), median: boxes.map((box) => box.median),
    q3: boxes.map((box) => box.q3), upperfence: boxes.map((box) => box.high),
  }], frame(), options);

views.dumbbell = (host, { tasks, systems }) =>
  Plotly.newPlot(host, systems.map(({ name, scores, low, high }) => ({
    type: "scatter", mode: "markers", name, x: scores, y: tasks,
    error_x: {
      type: "data", symmetric: false, array: high.map((end, i) => end - scores[i]),
      arrayminus: low.map((end, i) => scores[i] - end),
    },
  })), frame({ yaxis: { autorange: "reversed" } }), options);

views.curves = (host, curves) =>
  Plotly.newPlot(host, curves.map(({ name, x, y }) => ({ type: "scatter", mode: "lines", name, x, y })), frame(), options);
