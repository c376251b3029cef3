// The tree of languages in a layer.

registerSection("trees", showTrees, () => isFilled(data.trees) && mapped.length > 0);

function showTrees() {
  addStackAndLayer(find("tree-controls"));
  const copy = make("button", { type: "button" }, "Copy as Newick");
  addCopying(copy, () => data.trees[state.layer]?.newick ?? "");
  find("tree-controls").append(copy);
  views.push(drawTree);
}

function drawTree() {
  const tree = data.trees[state.layer];
  const panel = panels[layerOf(state.layer).stack];
  const plot = find("tree-plot");
  const quality = isNumber(tree?.cophenetic) ? ` · cophenetic correlation ${formatNumber(tree.cophenetic)}` : "";
  find("tree-caption").replaceChildren(make("strong", {}, say(state.layer)), tree ? quality : " has no tree");
  if (!tree) return plot.replaceChildren();
  const width = printing ? PRINTED : Math.max(280, plot.clientWidth);
  const size = {
    width,
    row: printing ? Math.min(20, 760 / tree.order.length) : tree.order.length > 60 ? 14 : 20,
    label: Math.min(190, width * 0.42),
  };
  const height = tree.order.length * size.row + 52;
  const drawing = make("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `Tree of ${tree.order.length} languages in ${state.layer}: ${tree.order.map((leaf) => nameOf(panel, leaf)).join(", ")}`,
  });
  drawing.append(...drawBranches(tree, size), ...tree.order.map((leaf, at) => drawLeaf(panel, leaf, at, size)));
  plot.replaceChildren(drawing);
}

function drawBranches({ order, merges }, { width, row, label }) {
  const highest = Math.max(1e-9, ...merges.map((merge) => merge[2]));
  const end = width - label;
  const x = (distance) => end - ((end - 12) * distance) / highest;
  const nodes = [];
  order.forEach((leaf, at) => (nodes[leaf] = [end, (at + 0.5) * row]));
  const paths = merges.map(([a, b, distance], number) => {
    const [[xa, ya], [xb, yb], at] = [nodes[a], nodes[b], x(distance)];
    nodes[order.length + number] = [at, (ya + yb) / 2];
    return make(
      "path",
      { class: "branch", d: `M${xa} ${ya}H${at}V${yb}H${xb}` },
      make("title", {}, `joined at distance ${formatShare(distance)}`),
    );
  });
  const bottom = order.length * row + 6;
  const ticks = pickTicks(0, highest).flatMap(({ value, text }) => [
    make("line", { class: "rule", x1: x(value), x2: x(value), y1: 0, y2: bottom }),
    writeAxis(text, x(value), bottom + 16),
  ]);
  const title = writeAxis("distance (1 − IoU)", x(highest / 2), bottom + 36, { kind: "" });
  return [...ticks, ...paths, title];
}

function drawLeaf(panel, leaf, at, { width, row, label }) {
  const [x, y, family] = [width - label + 8, (at + 0.5) * row, panel.families?.[leaf]];
  const name = nameOf(panel, leaf);
  const shown = name.length > label / 7 - 3 ? `${name.slice(0, Math.floor(label / 7) - 4)}…` : name;
  const text = make("text", { x: x + (family ? 16 : 0), y: y + Math.min(4, row / 3) }, shown);
  text.style.setProperty("font-size", `${Math.min(12, row)}px`);
  const mark = family
    ? make("image", {
        x,
        y: y - Math.min(10, row) / 2,
        width: 10,
        height: Math.min(10, row),
        preserveAspectRatio: "none",
        href: drawSwatch(family).toDataURL(),
      })
    : null;
  return make("g", {}, mark, text, make("title", {}, family ? `${name} (${family})` : name));
}
