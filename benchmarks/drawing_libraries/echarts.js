function draw(host, option) {
  host.style.setProperty("height", "360px");
  const chart = echarts.init(host, null, { renderer: "canvas" });
  chart.setOption({ animation: false, backgroundColor: colors.page, textStyle: { color: colors.ink }, aria: { enabled: true }, ...option });
}

views.heat = (host, { labels, matrix }) =>
  draw(host, {
    xAxis: { type: "category", data: labels }, yAxis: { type: "category", data: labels, inverse: true },
    visualMap: { min: 0, max: 1, right: 0 },
    series: [{ type: "heatmap", data: matrix.flatMap((row, i) => row.map((value, j) => [j, i, value])) }],
  });

views.boxes = (host, boxes) =>
  draw(host, {
    xAxis: { type: "category", data: boxes.map((box) => box.layer) }, yAxis: { scale: true },
    series: [{ type: "boxplot", data: boxes.map(({ low, q1, median, q3, high }) => [low, q1, median, q3, high]) }],
  });

views.dumbbell = (host, { tasks, systems }) =>
  draw(host, {
    xAxis: { scale: true }, yAxis: { type: "category", data: tasks, inverse: true }, legend: {},
    series: systems.flatMap(({ name, scores, low, high }) => [
      { type: "scatter", name, data: scores.map((score, i) => [score, i]) },
      {
        type: "custom", name,
        data: scores.map((_, i) => [low[i], high[i], i]),
        renderItem: (params, api) => {
          const [from, to] = [api.coord([api.value(0), api.value(2)]), api.coord([api.value(1), api.value(2)])];
          return { type: "line", shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style: { stroke: api.visual("color") } };
        },
      },
    ]),
  });

views.curves = (host, curves) =>
  draw(host, {
    xAxis: { type: "value" }, yAxis: { scale: true }, legend: {},
    series: curves.map(({ name, x, y }) => ({ type: "line", name, showSymbol: false, data: x.map((at, i) => [at, y[i]]) })),
  });
