"use strict";
// Tables that can be sorted, and the cards of languages and neurons. It shares one scope with report.js.

const CARDS_AT_ONCE = 12;

// ---- tables

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

function showTables() {
  for (const [group, tables] of Object.entries(data.tables)) {
    if (!isFilled(tables)) continue;
    find("tables-parts").append(
      make("h3", { class: "group-title", dir: "auto" }, group[0].toUpperCase() + group.slice(1)),
    );
    for (const table of tables) find("tables-parts").append(makeTable(group, table));
  }
}

// A table comes as the rows of Table.to_json, or described whole.
function readTable(table) {
  if (!Array.isArray(table)) {
    const { header, sections } = table;
    const titled = isFilled(sections);
    const add = (row, i) => [...(titled ? [{ value: sections[i], text: sections[i] }] : []), ...row];
    return { ...table, header: titled ? ["section", ...header] : header, rows: table.rows.map(add) };
  }
  const header = Object.keys(table[0] ?? {});
  const rows = table.map((row) =>
    header.map((key) => ({ value: row[key], text: typeof row[key] === "string" ? row[key] : formatNumber(row[key]) })),
  );
  return { title: "", header, rows, notes: [] };
}

function makeTable(group, table) {
  const { title, header, rows, notes } = readTable(table);
  const isText = header.map((_, i) => rows.some((row) => typeof row[i].value === "string"));
  const body = make("tbody");
  const sort = (column, descending) => {
    const worth = ({ value }) => value ?? null;
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
    const both = (a, b) =>
      (worth(a[column]) === null) - (worth(b[column]) === null) ||
      (descending ? -1 : 1) * (worth(a[column]) === null ? 0 : compare(worth(a[column]), worth(b[column])));
    fill([...rows].sort(both));
  };
  const fill = (sorted) =>
    body.replaceChildren(
      ...sorted.map((row) =>
        make(
          "tr",
          {},
          ...row.map((cell, i) =>
            make(
              "td",
              { class: isText[i] ? "text" : "", dir: "auto" },
              cell.bold ? make("b", {}, cell.text) : cell.text,
            ),
          ),
        ),
      ),
    );
  const heads = header.map((text, i) =>
    make(
      "th",
      { scope: "col", class: isText[i] ? "text" : "" },
      make(
        "button",
        {
          type: "button",
          dir: "auto",
          onclick: () => {
            const descending = heads[i].getAttribute("aria-sort") === "ascending";
            heads.forEach((head) => head.removeAttribute("aria-sort"));
            heads[i].setAttribute("aria-sort", descending ? "descending" : "ascending");
            sort(i, descending);
          },
        },
        text,
      ),
    ),
  );
  fill(rows);
  const whole = make(
    "table",
    {},
    title ? make("caption", { dir: "auto" }, title) : null,
    make("thead", {}, make("tr", {}, ...heads)),
    body,
  );
  const scroll = make("div", { class: "scroll tall", tabindex: 0, role: "group", "aria-label": title || group }, whole);
  return make("div", { class: "table-block" }, scroll, ...(notes ?? []).map(makeNote));
}

// What stands between two backticks is code.
const makeNote = (note) =>
  make(
    "p",
    { class: "quiet", dir: "auto" },
    ...note.split(/`([^`]+)`/).map((text, i) => (i % 2 ? make("code", {}, text) : text)),
  );

// ---- cards

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

function makeChips(ids) {
  return ids.map((id) =>
    make(
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
      id,
    ),
  );
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
    neurons.length
      ? make(
          "div",
          { class: "chips", role: "group", "aria-label": `Neurons of ${name}` },
          ...makeChips(neurons.map(({ id }) => id)),
        )
      : null,
  );
}

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
