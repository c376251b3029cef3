// Search for languages, neurons, and the sentences that activate them.

registerSection("cards", showCards);

const CARDS_AT_ONCE = 12;
const NEURONS_AT_ONCE = 60;
const LEAST_LETTERS = 2; // of a text to search for: a single one is in every sentence

function showCards() {
  const { languages = [] } = data.cards;
  const index = indexNeurons();
  let shown = CARDS_AT_ONCE;

  const search = () => {
    const query = fold(find("search").value.trim());
    const found = languages.filter((language) => matchLanguage(language, query));
    const neurons = query ? findNeurons(index, query) : [];

    const counts = query ? `, ${neurons.length} neurons` : "";
    find("search-status").textContent = `${found.length} of ${languages.length} languages${counts}`;
    find("neuron-matches").replaceChildren(...makeChips(neurons.slice(0, NEURONS_AT_ONCE)));
    find("cards").replaceChildren(...found.slice(0, shown).map(makeCard));
    find("more").hidden = found.length <= shown;
  };

  find("search").addEventListener("input", () => {
    shown = CARDS_AT_ONCE;
    search();
  });
  find("more").addEventListener("click", () => {
    shown += CARDS_AT_ONCE;
    search();
    find("cards").children[shown - CARDS_AT_ONCE]?.querySelector("button, summary")?.focus();
  });
  search();
  views.push(showNeuron);
}

function matchLanguage({ name, label, stack, neurons: own }, query) {
  const isNamed = [name, label, stack].some((text) => fold(text ?? "").includes(query));
  return isNamed || (query && own?.some(({ id }) => fold(id) === query));
}

// What is searched, once for each neuron: its name and its words; and which neurons a sentence activates.
function indexNeurons() {
  const { neurons = {}, sentences = [] } = data.cards;
  const names = Object.entries(neurons).map(([id, { words = [] }]) => ({ id, text: fold([id, ...words].join(" ")) }));

  const readers = sentences.map(() => []);
  for (const [id, { examples = [] }] of Object.entries(neurons))
    for (const { sentence } of examples) readers[sentence]?.push(id);
  return { names, readers, texts: sentences.map(({ text }) => fold(text)) };
}

// Neurons whose name or words have the text come first, then those with sentences that have it.
function findNeurons({ names, readers, texts }, query) {
  const named = names.filter(({ text }) => text.includes(query)).map(({ id }) => id);
  const read = query.length < LEAST_LETTERS ? [] : readers.filter((_, i) => texts[i].includes(query)).flat();
  return [...new Set([...named, ...read])];
}
