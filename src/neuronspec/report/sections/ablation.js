// The ablation map: which texts are hurt without which neurons.

registerSection("ablation", showAblation);

function showAblation() {
  const parts = Object.entries(data.ablation).filter(([, part]) => part);
  find("ablation-parts").className = parts.length > 1 ? "pair" : "";
  for (const [stack, part] of parts) find("ablation-parts").append(makeAblation(stack, part));
}

function makeAblation(stack, { texts, switched, changes, metric, note }) {
  const canvas = make("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": `Ablation in the ${stack}, ${texts.length} texts by ${switched.length} sets of neurons. Arrow keys move between cells.`,
  });
  const reading = make(
    "p",
    { role: "status", "aria-live": "polite", class: "quiet hint" },
    "Point at a cell to read its value.",
  );
  const scale = make("span", { class: "scale" });
  const table = make("div", { class: "as-table" });
  const host = make(
    "div",
    {},
    make("h3", {}, `In the ${stack}`),
    make("p", { class: "quiet" }, "Change of ", say(metric ?? "the score"), "; positive is worse."),
    make("div", { class: "plot-head" }, scale),
    make("div", { class: "canvas" }, canvas),
    reading,
    note ? make("p", { class: "quiet" }, say(note)) : null,
    table,
  );
  const widest = Math.max(1e-9, ...changes.flat().filter(isNumber).map(Math.abs));
  const matrix = createMatrix(
    canvas,
    ([i, j]) =>
      reading.classList.remove("hint") ||
      reading.replaceChildren(
        "Text ",
        say(texts[i]),
        " without the neurons of ",
        say(switched[j]),
        ": ",
        make("strong", {}, formatNumber(changes[i][j])),
      ),
  );
  const items = (names) => names.map((label, i) => ({ i, label }));
  let painted = "";
  views.push(() => {
    if (painted === `${theme} ${printing}`) return; // no control changes it
    painted = `${theme} ${printing}`;
    const ramp = interpolate(palette(HARM));
    scale.replaceChildren(...drawScale(ramp, [formatNumber(-widest), formatNumber(widest)]));
    matrix.show({
      rows: items(texts),
      columns: items(switched),
      value: (a, b) => changes[a.i]?.[b.i] ?? null,
      color: (value) => ramp(0.5 + value / widest / 2),
    });
  });
  addTable(table, () =>
    makeGrid(
      `Change of ${metric ?? "the score"}`,
      ["text", ...switched],
      texts.map((text, i) => [text, ...switched.map((_, j) => formatNumber(changes[i][j]))]),
    ),
  );
  return host;
}
