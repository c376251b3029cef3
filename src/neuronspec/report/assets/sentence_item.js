// One sentence: source, reference, and every translation with its score, what is broken, and what differs.

function makeSentence(row) {
  const [system, against] = [systemAt(state.system), systemAt(state.against)];
  const direction = shown.directions[row[DIRECTION]];
  const reference = splitText(row[REFERENCE]);
  const lines = row[TRANSLATIONS].map((text) => readTranslation(text, reference));

  // The two that are compared come first, then the others as a run lists them.
  const order = [...new Set([system, against, ...shown.systems.keys()])].filter((i) => lines[i]);
  const found = makeFound(lines[system], lines[against]);
  return make(
    "li",
    { class: "sentence" },
    makeSentenceHead(row, direction, system === against ? null : gainOf(row, system, against)),
    make(
      "dl",
      {},
      ...(row[SOURCE] === null ? [] : makeLine("source", direction.languages[0], [row[SOURCE]])),
      ...makeLine("reference", direction.languages[1], markReference(reference, found)),
      ...order.flatMap((i) => {
        const role = { [against]: "against", [system]: "own" }[i] ?? "";
        return makeLine(makeLabel(row, i), direction.languages[1], markTranslation(lines[i], role, found), role);
      }),
    ),
  );
}

function makeSentenceHead(row, { name }, gain) {
  const facts = [
    `${row[WORDS]} word${row[WORDS] === 1 ? "" : "s"}`,
    isNumber(row[RAREST]) ? `rarest word ${row[RAREST] ? `seen ${row[RAREST].toLocaleString("en")}×` : "never seen"}` : null,
  ];
  const pair = ["system", "against"].filter((key) => state[key] !== defaults[key]).map((key) => [key, state[key]]);
  const address = new URLSearchParams([...pair, ["direction", name], ["sentence", row[NUMBER]]]);
  return make(
    "p",
    { class: "sentence-head" },
    make("a", { href: `#${address}`, title: "Link to this sentence" }, say(name), ` · ${row[NUMBER]}`),
    makeGain(gain),
    make("span", { class: "quiet" }, facts.filter(Boolean).join(" · ")),
  );
}

function makeGain(gain) {
  if (gain === null) return null;
  const rounded = Number(gain.toFixed(1));
  const kind = rounded > 0 ? "better" : rounded < 0 ? "worse" : "";
  const sign = { better: "▲ +", worse: "▼ " }[kind] ?? "";
  return make("b", { class: `gain ${kind}` }, `${sign}${formatScore(rounded || 0)} ${shown.metric}`);
}

function makeLabel(row, system) {
  const kinds = shown.kinds.filter((_, bit) => row[BROKEN][system] & (1 << bit));
  return [
    say(shown.systems[system].title),
    make("b", {}, isNumber(row[SCORES][system]) ? ` ${formatScore(row[SCORES][system])}` : ""),
    ...kinds.map((kind) => make("span", { class: "kind" }, kind)),
  ];
}

function makeLine(label, language, parts, role = "") {
  return [
    make("dt", { class: role }, ...[label].flat()),
    make("dd", { dir: "auto", lang: language || null, class: role }, ...parts),
  ];
}

// ---- what differs

function readTranslation(text, reference) {
  if (text === null) return null;
  const pieces = splitText(text);
  return { pieces, partners: alignWords(pieces, reference) };
}

// The words of the reference that each of the two systems has.
function makeFound(own, other) {
  const found = (line) => (line?.partners ? new Set(line.partners) : null);
  return { own: found(own), against: found(other) };
}

function isOnly(role, place, found) {
  const other = role === "own" ? "against" : "own";
  return Boolean(found.own && found.against && found[role].has(place) && !found[other].has(place));
}

function markReference(pieces, found) {
  return pieces.map(({ text }, place) => {
    const role = ["own", "against"].find((one) => isOnly(one, place, found));
    return role ? make("mark", { class: `only-${role}` }, text) : text;
  });
}

function markTranslation({ pieces, partners }, role, found) {
  if (!pieces.length) return [make("span", { class: "quiet" }, "(empty)")];
  if (!partners) return pieces.map(({ text }) => text);
  return pieces.map(({ text, isWord }, i) => {
    if (isWord && partners[i] < 0) return make("mark", { class: "differs" }, text);
    const isAhead = role && partners[i] >= 0 && isOnly(role, partners[i], found);
    return isAhead ? make("mark", { class: `only-${role}` }, text) : text;
  });
}
