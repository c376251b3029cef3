// The card of a neuron: whose it is, and the sentences that activate it most.

function showNeuron() {
  const card = find("neuron");
  document
    .querySelectorAll("[data-neuron]")
    .forEach((chip) => chip.setAttribute("aria-pressed", String(chip.dataset.neuron === state.neuron)));
  const neuron = Object.hasOwn(data.cards.neurons ?? {}, state.neuron) ? data.cards.neurons[state.neuron] : null;
  card.hidden = !neuron;
  if (!neuron) return;
  const { owners = [], frequencies = {}, examples = [] } = neuron;
  const sorted = Object.entries(frequencies)
    .filter(([, value]) => isNumber(value))
    .sort((a, b) => b[1] - a[1]);
  const kept = sorted.slice(0, 12);
  const bars = makeBars(
    kept.map(([task, value]) => [task, value, formatShare(value), owners.includes(task) ? "" : "other"]),
  );
  const rest =
    sorted.length > kept.length
      ? make("p", { class: "quiet" }, `and ${sorted.length - kept.length} tasks below`)
      : null;
  const sentences = examples.map(makeExample).filter(Boolean);
  card.replaceChildren(
    make(
      "h3",
      {},
      say(`Neuron ${state.neuron}`),
      make("button", { type: "button", onclick: () => update({ neuron: "" }) }, "Close"),
    ),
    make(
      "p",
      {},
      "Selected for ",
      owners.length
        ? say(owners.slice(0, 40).join(", ") + (owners.length > 40 ? ` and ${owners.length - 40} more` : ""))
        : "no task",
    ),
    make(
      "div",
      { class: "columns" },
      make("div", {}, make("p", { class: "quiet" }, `Share of ${data.signature?.unit ?? "sentence"}s in which it is active`), bars, rest),
      make(
        "div",
        {},
        make("p", { class: "quiet" }, sentences.length ? "Sentences that activate it most" : "No example sentences were kept."),
        make("ul", { class: "examples" }, ...sentences),
      ),
    ),
  );
}

function makeExample({ sentence, position, value }) {
  const found = data.cards.sentences?.[sentence];
  if (!found) return null;
  const marked = found.tokens.some((token) => /^[▁Ġ]/.test(token)); // where words start, as tokenizers write it
  const parts = found.tokens.flatMap((token, i) => {
    const text = marked ? token.replace(/^[▁Ġ]/, "") : token;
    const space = i > 0 && (!marked || text !== token) ? [" "] : [];
    return [...space, i === position ? make("mark", {}, text || "␣") : text];
  });
  return make(
    "li",
    {},
    make("p", { class: "sentence", dir: "auto" }, ...parts),
    make("p", { class: "quiet" }, say(found.task), ` · activation ${formatNumber(value)}`),
  );
}
