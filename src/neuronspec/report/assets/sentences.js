// Sentences with the translations of all systems: unpacked once, filtered and sorted by the state of the page.

const shown = data.translations ?? {};
const [DIRECTION, NUMBER, SOURCE, REFERENCE, WORDS, RAREST, TRANSLATIONS, SCORES, BROKEN] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const LENGTHS = [[1, 10], [11, 20], [21, 40], [41, Infinity]]; // words
const RARE = [0, 1, 5, 50]; // how often the rarest word was counted, at most

const unpackedSentences = { rows: null, ngrams: [], haystacks: null };
let unpacking = null;

// The sentences make most of the page: they are deflated, and inflated only where they are read.
function unpackSentences() {
  unpacking ??= inflate(shown.packed).then((text) => {
    const { rows, ngrams } = JSON.parse(text);
    Object.assign(unpackedSentences, { rows, ngrams: ngrams.map(readNgram) });
  });
  return unpacking;
}

async function inflate(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

const systemAt = (name) => shown.systems.findIndex((system) => system.name === name);
const directionAt = (name) => shown.directions.findIndex((direction) => direction.name === name);
const titleOf = (name) => shown.systems[systemAt(name)].title;

// How much better a system is than another one, in points; null where one has no translation.
function gainOf(row, system, against) {
  const [own, other] = [row[SCORES][system], row[SCORES][against]];
  return isNumber(own) && isNumber(other) ? own - other : null;
}

// The bar of a gain: losses from the largest on, the middle for less than a point, then gains.
function barOf(gain) {
  const points = Math.round(100 * gain) / 100;
  return shown.edges.length + Math.sign(points) * shown.edges.filter((edge) => Math.abs(points) >= edge).length;
}

function listSentences() {
  const [system, against] = [systemAt(state.system), systemAt(state.against)];
  const tests = listTests(system, against);
  const found = unpackedSentences.rows.filter((row, i) => tests.every((test) => test(row, i)));
  if (state.sort === "text") return found;

  // What cannot be compared comes last, whatever the order is.
  const worth = {
    gain: (row) => gainOf(row, system, against),
    loss: (row) => negate(gainOf(row, system, against)),
    lowest: (row) => negate(row[SCORES][system]),
  }[state.sort];
  const ranked = found.map((row) => [worth(row) ?? -Infinity, row]);
  return ranked.sort(([a], [b]) => b - a || 0).map(([, row]) => row);
}

const negate = (value) => (isNumber(value) ? -value : null);

// A test for each filter that is set; a sentence is shown if it passes all of them.
function listTests(system, against) {
  const tests = [];
  const add = (isSet, test) => isSet && tests.push(test);

  const direction = directionAt(state.direction);
  add(direction >= 0, (row) => row[DIRECTION] === direction);

  const number = Number(state.sentence);
  add(state.sentence, (row) => row[NUMBER] === number);

  const bit = 1 << shown.kinds.indexOf(state.kind);
  add(state.kind === "any", (row) => row[BROKEN][system] > 0);
  add(state.kind === "none", (row) => row[BROKEN][system] === 0);
  add(shown.kinds.includes(state.kind), (row) => row[BROKEN][system] & bit);

  const [low, high] = LENGTHS.find(([from]) => String(from) === state.length) ?? [];
  add(low, (row) => row[WORDS] >= low && row[WORDS] <= high);

  const most = Number(state.rare);
  add(state.rare, (row) => isNumber(row[RAREST]) && row[RAREST] <= most);

  const bar = Number(state.gain);
  const isInBar = (gain) => gain !== null && barOf(gain) === bar;
  add(state.gain, (row) => isInBar(gainOf(row, system, against)));

  const ngram = ngramAt(state.ngram);
  add(ngram, (row) => row[DIRECTION] === ngram.direction && ngram.sentences.includes(row[NUMBER]));

  const query = fold(state.text.trim());
  add(query, (row, i) => haystack(i).includes(query));
  return tests;
}

const ngramAt = (index) => (index === "" ? undefined : unpackedSentences.ngrams[Number(index)]);

const readNgram = ([direction, pair, text, system, baseline, score, sentences], index) => ({
  index: String(index),
  direction,
  pair,
  text,
  system,
  baseline,
  score,
  sentences,
});

const fold = (text) => text.normalize("NFC").toLowerCase();

// The texts of a sentence in one, in lower case; made once, since each letter that is typed searches all of them.
function haystack(i) {
  unpackedSentences.haystacks ??= unpackedSentences.rows.map((row) =>
    fold([row[SOURCE], row[REFERENCE], ...row[TRANSLATIONS]].filter(Boolean).join("\n")),
  );
  return unpackedSentences.haystacks[i];
}
