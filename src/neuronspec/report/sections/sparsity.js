// Sparsity over layers: bands over all tasks, and one task as a line.

registerSection("sparsity", showSparsity);

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
  const [low, high] = roundLimits(summaries.flatMap(({ low, high }) => [low, high]));
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
    const chart = frameChart(find("sparsity-plot"), names, { low, high, label: "Sparsity over layers", title: "sparsity" });
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
