// How many translations are broken, and n-grams that only one of two systems gets right: each links its sentences.

function makeBrokenTable(select) {
  const place = directionAt(state.direction);
  const rows = shown.systems.map(({ name, title }, i) => {
    const counts = shown.kinds.map((_, kind) => countBroken(i, kind, place));
    return makeBrokenRow({ system: name, title, counts, direction: state.direction }, select);
  });
  const where = place < 0 ? "all directions" : state.direction;
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Broken translations" },
    make(
      "table",
      {},
      make("caption", {}, "Broken translations, ", say(where)),
      makeHead(["system", ...shown.kinds]),
      make("tbody", {}, ...rows),
    ),
  );
}

// The number of sentences of one direction, or of all; null if it is known of none of them.
function countBroken(system, kind, place) {
  const directions = place < 0 ? shown.broken : [shown.broken[place]];
  const counts = directions.map((systems) => systems[system][kind]).filter(isNumber);
  return counts.length ? counts.reduce((sum, count) => sum + count, 0) : null;
}

function makeBrokenRow({ system, title, counts, direction, where }, select) {
  const cells = counts.map((count, i) => {
    const kind = shown.kinds[i];
    if (!isNumber(count)) return make("td", { title: "not known" }, "–");
    if (!count) return make("td", { class: "quiet" }, "0");
    const isChosen = state.kind === kind && state.system === system && state.direction === direction;
    const label = `${count} ${kind} translations of ${title}${direction ? `, ${direction}` : ""}`;
    const attributes = { type: "button", class: "count", "aria-label": label, "aria-pressed": String(isChosen) };
    const onclick = () => select({ system, direction, kind: isChosen ? "" : kind });
    return make("td", {}, make("button", { ...attributes, onclick }, count.toLocaleString("en")));
  });
  return make("tr", {}, where ? make("td", { class: "text" }, say(where)) : null, makeRowHead(title), ...cells);
}

const makeRowHead = (title) => make("th", { scope: "row", dir: "auto" }, title);

const makeHead = ([first, ...others]) =>
  make(
    "thead",
    {},
    make(
      "tr",
      {},
      make("th", { scope: "col", class: "text" }, first),
      ...others.map((text) => make("th", { scope: "col" }, text)),
    ),
  );

// Direction by direction, where something is broken; made when it is opened.
function makeBrokenByDirection(select) {
  const details = make("details", {}, make("summary", {}, "Direction by direction"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const rows = shown.directions.flatMap(({ name }, place) =>
      shown.systems
        .map(({ name: system, title }, i) => ({ system, title, direction: name, where: name, counts: shown.broken[place][i] }))
        .filter(({ counts }) => counts.some(Boolean)),
    );
    const table = make(
      "table",
      {},
      makeHead(["direction", "system", ...shown.kinds]),
      make("tbody", {}, ...rows.map((row) => makeBrokenRow(row, select))),
    );
    const label = "Broken translations by direction";
    details.append(
      rows.length
        ? make("div", { class: "scroll tall", tabindex: 0, role: "group", "aria-label": label }, table)
        : make("p", { class: "quiet" }, "No translation is broken in a way that is counted here."),
    );
  });
  return details;
}

// ---- n-grams

const NGRAMS_AT_ONCE = 8;

function makeNgrams(select) {
  const pair = findPair();
  if (!shown.pairs.length) return [];
  const title = make("h3", {}, "Words that one gets right and the other does not");
  if (pair.index < 0) return [title, make("p", { class: "quiet" }, `They are counted for ${listPairs()}.`)];

  const place = directionAt(state.direction);
  const own = unpackedSentences.ngrams.filter(
    ({ pair: index, direction }) => index === pair.index && (place < 0 || place === direction),
  );
  const columns = [
    [state.system, (one) => (pair.isTurned ? [one.baseline, one.system] : [one.system, one.baseline])],
    [state.against, (one) => (pair.isTurned ? [one.system, one.baseline] : [one.baseline, one.system])],
  ].map(([name, read]) => makeNgramList(name, own, read, select));
  return [title, make("div", { class: "ngrams" }, ...columns)];
}

// The pair that is shown, as it was counted or the other way round
function findPair() {
  const [system, against] = [systemAt(state.system), systemAt(state.against)];
  const at = (first, second) => shown.pairs.findIndex(([baseline, own]) => baseline === first && own === second);
  const straight = at(against, system);
  return straight >= 0 ? { index: straight, isTurned: false } : { index: at(system, against), isTurned: true };
}

const listPairs = () =>
  shown.pairs.map(([baseline, own]) => `${shown.systems[own].title} against ${shown.systems[baseline].title}`).join("; ");

function makeNgramList(name, ngrams, read, select) {
  const won = ngrams.map((one) => [...read(one), one]).filter(([wins, losses]) => wins > losses);
  const share = ([wins, losses]) => (wins + 1) / (wins + losses + 2);
  won.sort((a, b) => share(b) - share(a));

  // What is frequent in many directions is named once, with the direction in which it is clearest.
  const seen = new Set();
  const distinct = won.filter(([, , { text }]) => !seen.has(text) && seen.add(text));
  const items = distinct.slice(0, NGRAMS_AT_ONCE).map(([wins, losses, one]) => {
    const isChosen = state.ngram === one.index;
    const direction = state.direction ? "" : `${shown.directions[one.direction].name} `;
    const counts = `${direction}${wins} : ${losses}`;
    const button = make(
      "button",
      {
        type: "button",
        "aria-pressed": String(isChosen),
        title: `right ${wins} times here only, ${losses} times in the other system only`,
        onclick: () => select({ ngram: isChosen ? "" : one.index }),
      },
      say(one.text),
      make("small", {}, counts),
    );
    return make("li", {}, button);
  });
  return make(
    "div",
    {},
    make("p", { class: "quiet" }, "Only ", say(titleOf(name))),
    items.length ? make("ol", {}, ...items) : make("p", { class: "quiet" }, "none that comes twice"),
  );
}
