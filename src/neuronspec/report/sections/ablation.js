// The ablation map: which texts are hurt without which neurons.

registerSection("ablation", showAblation);

function showAblation() {
  // The last stack is the most telling: the decoder, where there is one
  const stacks = Object.keys(data.ablation).filter((stack) => data.ablation[stack]);
  const maps = stacks.map((stack) => makeAblation(stack, data.ablation[stack]));
  find("ablation-parts").append(...maps);
  const show = (chosen) => maps.forEach((map, i) => (map.hidden = stacks[i] !== chosen));

  if (stacks.length > 1) addLocalChoice(find("ablation-controls"), "Stack", stacks, stacks.at(-1), show);
  show(stacks.at(-1));
}

function makeAblation(stack, { texts, switched, changes, metric = "the score", note }) {
  const label =
    `Ablation in the ${stack}, ${texts.length} texts by ${switched.length} sets of neurons. ` +
    "Arrow keys move between cells.";
  const canvas = make("canvas", { tabindex: 0, role: "application", "aria-label": label });
  const reading = make("p", { role: "status", "aria-live": "polite", class: "quiet hint" }, "Point at a cell to read it.");
  const scale = make("span", { class: "scale" });
  const map = make("div", { class: "canvas" }, canvas);
  const table = make("div", { class: "as-table" });

  drawAblation(canvas, scale, { texts, switched, changes }, (i, j) => {
    reading.classList.remove("hint");
    const harm = make("strong", {}, formatNumber(changes[i][j]));
    reading.replaceChildren("Text ", say(texts[i]), " without the neurons of ", say(switched[j]), ": ", harm);
  });
  addTable(table, () =>
    makeGrid(
      `Harm: change of ${metric}`,
      ["text", ...switched],
      texts.map((text, i) => [text, ...changes[i].map(formatNumber)]),
    ),
  );

  const head = make("div", { class: "plot-head" }, make("span", {}, "harm: ", say(metric)), scale);
  return make("div", { "data-stack": stack }, head, map, reading, note ? makeNote(note) : null, table);
}

function drawAblation(canvas, scale, { texts, switched, changes }, onRead) {
  const values = changes.flat().filter(isNumber).map(Math.abs);
  const widest = Math.max(1e-9, ...values);
  const decimals = clamp(1 - Math.floor(Math.log10(widest)), 0, 4); // two digits of the largest change
  const ramp = interpolate(HARM);
  const matrix = createMatrix(canvas, ([i, j]) => onRead(i, j));
  const items = (names) => names.map((label, i) => ({ i, label }));

  let painted = "";
  views.push(() => {
    if (painted === `${theme} ${printing}`) return; // no control changes it
    painted = `${theme} ${printing}`;
    scale.replaceChildren(...drawScale(ramp, [formatNumber(-widest), formatNumber(widest)]));
    matrix.show({
      rows: items(texts),
      columns: items(switched),
      titles: { rows: "text", columns: "neurons switched off" },
      value: (a, b) => changes[a.i]?.[b.i] ?? null,
      color: (value) => ramp(0.5 + value / widest / 2),
      number: (value) => formatDifference(value, decimals),
      outlined: (a, b) => a.label === b.label,
    });
  });
}
