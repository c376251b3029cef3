// Search for languages and neurons.

registerSection("cards", showCards);

const CARDS_AT_ONCE = 12;

function showCards() {
  const { languages = [], neurons = {} } = data.cards;
  const ids = Object.keys(neurons);
  let shown = CARDS_AT_ONCE;
  const search = () => {
    const query = find("search").value.trim().toLowerCase();
    const has = (text) =>
      String(text ?? "")
        .toLowerCase()
        .includes(query);
    const found = languages.filter(
      ({ name, label, stack, neurons: own }) =>
        has(name) || has(label) || has(stack) || (query && own?.some(({ id }) => id.toLowerCase() === query)),
    );
    const named = query ? ids.filter(has) : [];
    find("search-status").textContent =
      `${found.length} of ${languages.length} languages${query ? `, ${named.length} neurons` : ""}`;
    find("neuron-matches").replaceChildren(...makeChips(named.slice(0, 60)));
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
