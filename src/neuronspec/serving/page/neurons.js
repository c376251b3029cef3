// Which neurons fired for the text and its translation: layer by layer, and the strongest ones.

async function explain(task, text, isLast) {
  find("neurons").hidden = true;
  if (!offer.has_neurons) return;

  const { layers } = await ask("v1/neurons", { task, text });
  if (!isLast() || !layers.length) return;
  find("neurons").hidden = false;
  find("layers").replaceChildren(...layers.map(makeLayer));
}

function makeLayer(layer) {
  const share = `${layer.fired} of ${layer.width} neurons fired`;
  return make(
    "article",
    { class: "card layer" },
    make("h3", {}, make("code", {}, layer.layer), make("small", {}, share)),
    makeFiringBar(layer),
    make("details", {}, make("summary", {}, "Strongest neurons"), makeStrongest(layer)),
  );
}

// Parts of a layer: those that fired by who else uses them, and those that the mask switches off.
function makeFiringBar(layer) {
  const shared = layer.fired - layer.own - layer.common;
  const parts = layer.directions
    ? [
        ["own", layer.own, "this direction’s alone"],
        ["some", shared, "shared with some directions"],
        ["common", layer.common, "shared by all directions"],
        ["silent", layer.selected - layer.fired, "in the mask, silent"],
        ["off", layer.width - layer.selected, "switched off by the mask"],
      ]
    : [
        ["some", layer.fired, "fired"],
        ["silent", layer.width - layer.fired, "silent"],
      ];
  const drawn = parts.filter(([, count]) => count > 0);
  const bar = make("div", { class: "firing", "aria-hidden": "true" });
  for (const [kind, count] of drawn) {
    const piece = make("i", { class: kind });
    piece.style.setProperty("flex-grow", String(count));
    bar.append(piece);
  }
  const legend = drawn.map(([kind, count, text]) =>
    make("span", {}, make("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), `${count} ${text}`),
  );
  return make("div", {}, bar, make("p", { class: "legend" }, ...legend));
}

function makeStrongest({ strongest, directions }) {
  const head = ["neuron", "mean value", "tokens", ...(directions ? ["directions"] : [])];
  const rows = strongest.map((found) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, String(found.neuron)),
      make("td", {}, formatFixed(found.strength, 2)),
      make("td", {}, String(found.tokens)),
      directions ? make("td", {}, `${found.directions} of ${directions}`) : null,
    ),
  );
  const columns = head.map((name) => make("th", { scope: "col" }, name));
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...columns)), make("tbody", {}, ...rows)));
}
