// Bars with names and values.

function makeBars(rows, highest = 1) {
  const cells = rows.flatMap(([name, value, text, kind]) => {
    const bar = make("i", { class: kind ?? "", "aria-hidden": "true" });
    bar.style.setProperty("width", `${100 * clamp(value / highest || 0, 0, 1)}%`);
    return [make("span", { class: "name", dir: "auto", title: name }, name), bar, make("b", {}, text)];
  });
  return make("div", { class: "bars" }, ...cells);
}
