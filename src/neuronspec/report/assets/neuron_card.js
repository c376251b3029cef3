// The card of a neuron: whose it is, and the sentences that activate it most.

function showNeuron() {
  const card = find("neuron");
  document
    .querySelectorAll("[data-neuron]")
    .forEach((chip) => chip.setAttribute("aria-pressed", String(chip.dataset.neuron === state.neuron)));
  const neuron = Object.hasOwn(data.cards.neurons ?? {}, state.neuron) ? data.cards.neurons[state.neuron] : null;
  card.hidden = !neuron;
  if (!neuron) return;
  const { owners = [], frequencies = {}, examples = [], words = [], reads = "word" } = neuron;
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
  const listWords = (list) => list.flatMap((word, i) => [i ? " · " : "", say(word)]);
  const parts = [
    make(
      "h3",
      {},
      say(`Neuron ${state.neuron}`),
      make("button", { type: "button", onclick: () => update({ neuron: "" }) }, "Close"),
    ),
    words.length ? make("p", { class: "words", dir: "auto" }, ...listWords(words)) : null,
    READS[reads] ? make("p", {}, `This neuron ${READS[reads]}.`) : null,
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
  ];
  card.replaceChildren(...parts.filter(Boolean));
}

function makeExample({ sentence, mark, token, value }) {
  const found = data.cards.sentences?.[sentence];
  if (!found) return null;
  return make(
    "li",
    {},
    make("p", { class: "example-text", dir: "auto" }, ...markText(found.text, mark, token)),
    make("p", { class: "quiet" }, say(found.task), ` · activation ${formatNumber(value)}`),
  );
}

// A text with its marked word; or with a special token, such as a tag, where it was read.
function markText(text, [start, end], token) {
  const letters = [...text]; // places count whole characters
  const [before, word, after] = [letters.slice(0, start), letters.slice(start, end), letters.slice(end)].map((part) =>
    part.join(""),
  );
  if (token === null || token === undefined) return [before, word ? make("mark", {}, word) : null, after];
  const apart = [before && " ", make("mark", { class: "token" }, token), after && " "];
  return [before, ...apart, after];
}

// What a neuron reads, if these are no words.
const READS = {
  tag: "reads the language tag",
  start: "reads the start of the sentence",
  end: "reads the end of the sentence",
  special: "reads a special token",
};

// The words that activate a neuron most, or what it reads in their place.
function previewNeuron(id) {
  const { reads = "word", words = [] } = data.cards.neurons?.[id] ?? {};
  return READS[reads] ?? words.slice(0, 3).join(", ");
}
