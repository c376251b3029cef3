// Box plots of the overlap over layers.

registerSection("progression", showProgression);

function showProgression() {
  const names = layers.map(({ name }) => name).filter((name) => data.progression[name]);
  const columns = ["mean", "low", "q1", "median", "q3", "high"];
  const limits = roundLimits(names.flatMap((name) => columns.map((column) => data.progression[name][column])));
  views.push(() => {
    const [low, high] = limits;
    const label = "Box plot of the IoU of all pairs over layers";
    const chart = frameChart(find("progression-plot"), names, { low, high, label, title: "IoU of all pairs" });
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
