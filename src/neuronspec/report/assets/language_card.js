// The card of a language: how many neurons are its own.

function makeChips(ids) {
  return ids.map((id) => {
    const preview = previewNeuron(id);
    return make(
      "button",
      {
        type: "button",
        "data-neuron": id,
        "aria-pressed": String(id === state.neuron),
        onclick: () => {
          update({ neuron: id === state.neuron ? "" : id });
          if (state.neuron) find("neuron").focus();
        },
      },
      make("code", {}, id),
      preview ? make("span", { dir: "auto" }, preview) : null,
    );
  });
}

// Neurons that read words come first; those that read tags and other special tokens stand apart.
function makeNeuronGroups(name, ids) {
  const isWord = (id) => (data.cards.neurons?.[id]?.reads ?? "word") === "word";
  const groups = [
    [`Neurons of ${name}`, ids.filter(isWord)],
    ["Neurons that read tags and other special tokens", ids.filter((id) => !isWord(id))],
  ];
  return groups
    .filter(([, own]) => own.length)
    .flatMap(([label, own], i) => [
      i || !ids.some(isWord) ? make("p", { class: "quiet" }, label) : null,
      make("div", { class: "chips", role: "group", "aria-label": label }, ...makeChips(own)),
    ]);
}

function makeCard({ name, label, stack, layers: own = [], neurons = [] }) {
  const columns = [
    ["own", "own"],
    ["exclusive", "exclusive"],
    ["shared_by_all", "shared by all"],
  ];
  const range = (key) => {
    const found = own.map((layer) => layer[key]).filter(isNumber);
    const [low, high] = [Math.min(...found), Math.max(...found)];
    return !found.length ? "–" : low === high ? formatNumber(low) : `${formatNumber(low)} to ${formatNumber(high)}`;
  };
  const facts = columns.flatMap(([key, text]) => [make("dt", {}, text), make("dd", {}, range(key))]);
  const grid = () =>
    makeGrid(
      `Neurons of ${name}, ${stack}`,
      ["layer", ...columns.map(([, text]) => text)],
      own.map((layer) => [layer.layer, ...columns.map(([key]) => formatNumber(layer[key]))]),
    );
  return make(
    "article",
    { class: "card" },
    make("h3", {}, say(name), make("small", { dir: "auto" }, `${label} · ${stack}`)),
    make("dl", {}, ...facts),
    own.length ? make("details", {}, make("summary", {}, `Layer by layer (${own.length})`), grid()) : null,
    ...makeNeuronGroups(
      name,
      neurons.map(({ id }) => id),
    ),
  );
}
