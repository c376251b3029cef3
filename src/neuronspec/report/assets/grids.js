// Plain tables of numbers, and the button under a chart that shows its numbers as one.

function makeGrid(caption, header, rows) {
  const [first, ...others] = header;
  const head = make(
    "tr",
    {},
    make("th", { scope: "col", class: "text" }, first),
    ...others.map((text) => make("th", { scope: "col", dir: "auto" }, text)),
  );
  const body = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row", dir: "auto" }, name), ...cells.map((cell) => make("td", {}, cell))),
  );
  return make(
    "div",
    { class: "scroll tall", tabindex: 0, role: "group", "aria-label": caption },
    make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body)),
  );
}

function addTable(host, build) {
  const button = make("button", { type: "button", "aria-expanded": "false" }, "Show as table");
  const place = make("div", { hidden: true });
  const fill = () => place.hidden || place.replaceChildren(build());
  button.addEventListener("click", () => {
    place.hidden = !place.hidden;
    button.setAttribute("aria-expanded", String(!place.hidden));
    button.textContent = place.hidden ? "Show as table" : "Hide the table";
    fill();
  });
  host.append(button, place);
  views.push(fill);
  return fill; // for a section that changes alone
}
