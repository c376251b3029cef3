// Translations side by side: every system's, with filters, counts that link their sentences, and pages of sentences.

registerSection("translations", showTranslations, () => shown.systems?.length);

const SENTENCES_AT_ONCE = 10;
const TYPING_PAUSE = 150; // milliseconds
const SORTS = [
  ["gain", "largest gain first"],
  ["loss", "largest loss first"],
  ["lowest", "lowest score first"],
  ["text", "order of the text"],
];
const SENTENCE_KEYS = ["system", "against", "direction", "sort", "kind", "length", "rare", "text", "gain", "ngram", "sentence", "page"];
const FILTER_KEYS = ["direction", "kind", "length", "rare", "text", "gain", "ngram", "sentence"];
const BAR = 80; // pixels at the top of the window, which the bar of sections covers
const NARROW = "(max-width: 40rem)";

function showTranslations() {
  registerSentenceState();
  describeTranslations();
  addSentenceControls();
  views.push(drawTranslations);
  unpackInView(find("translations"));
}

function registerSentenceState() {
  const systems = shown.systems.map(({ name }) => name);
  const [against, system] = (shown.pairs[0] ?? [0, 0]).map((i) => systems[i]);
  const isNumeral = (text) => /^\d+$/.test(text);
  const oneOf = (values) => (text) => values.includes(text);

  registerState("system", system, oneOf(systems));
  registerState("against", against, oneOf(systems));
  registerState("direction", "", oneOf(shown.directions.map(({ name }) => name)));
  registerState("sort", shown.pairs.length ? "gain" : "lowest", oneOf(SORTS.map(([key]) => key)));
  registerState("kind", "", oneOf(["any", "none", ...shown.kinds]));
  registerState("length", "", oneOf(LENGTHS.map(([low]) => String(low))));
  registerState("rare", "", oneOf(RARE.map(String)));
  registerState("text", "", () => true);
  registerState("gain", "", oneOf([...Array(2 * shown.edges.length + 1).keys()].map(String)));
  for (const key of ["ngram", "sentence", "page"]) registerState(key, "", isNumeral);
}

function describeTranslations() {
  const total = shown.directions.reduce((sum, { sentences }) => sum + sentences, 0);
  const kept = shown.directions.reduce((sum, direction) => sum + direction.shown, 0);
  const file = make("a", { href: encodeURIComponent(shown.file), download: shown.file }, shown.file);
  find("translations-lead").append(
    `${total.toLocaleString("en")} sentences in ${shown.directions.length} direction${shown.directions.length === 1 ? "" : "s"}, with the ${shown.metric} of each translation. The rarest word of a reference is counted in ${shown.words}. All sentences are in the file `,
    file,
    " next to this page.",
  );
  find("translations-choice").hidden = !shown.choice;
  find("translations-choice").textContent =
    `This page holds ${kept.toLocaleString("en")} of them: ${shown.choice}. Counts are of all sentences.`;
}

// ---- when to unpack

function unpackInView(section) {
  const start = () => {
    watcher.disconnect();
    unpackSentences().then(() => keepPlace(section, refresh), explainPacking);
  };
  const watcher = new IntersectionObserver(([entry]) => entry.isIntersecting && start(), { rootMargin: "800px" });
  watcher.observe(section);
  addEventListener("beforeprint", start);

  // An address that names sentences leads to them.
  views.push(() => {
    if (!unpacking && isAddressed()) {
      start();
      section.scrollIntoView();
    }
  });
}

// Who reads below the section stays there while it grows.
function keepPlace(section, draw) {
  const readBelow = section.getBoundingClientRect().bottom < BAR;
  const before = document.documentElement.scrollHeight - scrollY;
  draw();
  if (readBelow) scrollTo(0, document.documentElement.scrollHeight - before);
}

const isAddressed = () => SENTENCE_KEYS.some((key) => state[key] !== defaults[key]);

function explainPacking() {
  find("translations-status").textContent =
    `This browser cannot unpack the sentences; they are in the file ${shown.file} next to this page.`;
}

// ---- controls

function addSentenceControls() {
  const systems = shown.systems.map(({ name, title }) => [name, title]);
  addSelect(find("translations-systems"), "System", "system", systems);
  if (systems.length > 1) addSelect(find("translations-systems"), "Compared with", "against", systems);
  const directions = shown.directions.map(({ name, sentences }) => [name, `${name} (${sentences.toLocaleString("en")})`]);
  addSelect(find("translations-systems"), "Direction", "direction", [["", "all directions"], ...directions]);

  const filters = find("translations-filters");
  addSelect(filters, "Order", "sort", SORTS);
  const kinds = shown.kinds.map((kind) => [kind, kind]);
  addSelect(filters, "Broken", "kind", [["", "all sentences"], ["any", "broken in any way"], ...kinds, ["none", "not broken"]]);
  const lengths = LENGTHS.map(([low, high]) => [String(low), high === Infinity ? `${low} words or more` : `${low} to ${high} words`]);
  addSelect(filters, "Length", "length", [["", "any length"], ...lengths]);
  const rare = RARE.map((most) => [String(most), most ? `seen ${most}× or less` : "never seen"]);
  addSelect(filters, "Rarest word", "rare", [["", "any"], ...rare]);
  addTextSearch(filters);
  find("translations-clear").addEventListener("click", clearFilters);

  // A small screen shows sentences first.
  find("translations-overview").open = !matchMedia(NARROW).matches;
}

function addSelect(host, label, key, options) {
  const select = make("select", { "data-control": key, onchange: () => selectSentences({ [key]: select.value }) });
  select.append(...options.map(([value, text]) => make("option", { value }, text)));
  host.append(make("label", { class: "pick" }, make("span", {}, label), select));
  views.push(() => (select.value = state[key]));
}

function addTextSearch(host) {
  let timer = 0;
  const input = make("input", { type: "search", "data-control": "text", autocomplete: "off", spellcheck: "false", dir: "auto" });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => selectSentences({ text: input.value }), TYPING_PAUSE);
  });
  host.append(make("label", { class: "pick" }, make("span", {}, "Text"), input));
  views.push(() => input.value === state.text || document.activeElement === input || (input.value = state.text));
}

// Other filters begin with their first page; the rest of the report stays as it is.
function selectSentences(changes) {
  const before = { ...state };
  const isDirectionNew = "direction" in changes && changes.direction !== state.direction;
  Object.assign(state, { page: "", sentence: "" }, isDirectionNew ? { ngram: "" } : {}, changes);
  const isPairNew = ["system", "against"].some((key) => key in changes && changes[key] !== before[key]);
  if (isPairNew) Object.assign(state, { ngram: "", gain: "" });
  writeAddress();
  refresh();
}

function clearFilters() {
  find("translations-filters").querySelector("input").value = "";
  selectSentences(Object.fromEntries(FILTER_KEYS.map((key) => [key, ""])));
  find("sentences").focus({ preventScroll: true }); // the button is gone
}

// ---- drawing

let drawnSentences = "";

function drawTranslations() {
  const wanted = JSON.stringify([SENTENCE_KEYS.map((key) => state[key]), Boolean(unpackedSentences.rows)]);
  if (wanted === drawnSentences) return; // neither the theme nor another section changes anything here
  drawnSentences = wanted;

  drawBroken();
  find("translations-gains").replaceChildren(...makeGainBars(selectSentences));
  find("translations-clear").hidden = !FILTER_KEYS.some((key) => state[key]);
  if (!unpackedSentences.rows) return;

  find("translations-ngrams").replaceChildren(...makeNgrams(selectSentences));
  drawLegend();
  drawSentences(listSentences());
}

function drawBroken() {
  const host = find("translations-broken");
  const table = makeBrokenTable(selectSentences);
  if (host.firstChild) host.firstChild.replaceWith(table);
  else host.append(table, makeBrokenByDirection(selectSentences));
}

function drawLegend() {
  const only = (role, name) => [make("mark", { class: `only-${role}` }, "word"), " only ", say(titleOf(name)), " has it"];
  const isPair = state.system !== state.against;
  find("translations-legend").replaceChildren(
    make("span", {}, make("mark", { class: "differs" }, "word"), " not in the reference"),
    ...(isPair ? [make("span", {}, ...only("own", state.system)), make("span", {}, ...only("against", state.against))] : []),
  );
}

function drawSentences(found) {
  const pages = Math.max(1, Math.ceil(found.length / SENTENCES_AT_ONCE));
  const page = clamp(Number(state.page) || 1, 1, pages);
  const from = (page - 1) * SENTENCES_AT_ONCE;
  const list = found.slice(from, from + SENTENCES_AT_ONCE);

  find("sentences").setAttribute("start", from + 1);
  find("sentences").replaceChildren(...list.map(makeSentence));
  const total = unpackedSentences.rows.length;
  const where = shown.choice ? " on this page" : "";
  find("translations-status").textContent = found.length
    ? `${(from + 1).toLocaleString("en")} to ${(from + list.length).toLocaleString("en")} of ${found.length.toLocaleString("en")} sentences${where}${found.length < total ? ` (${total.toLocaleString("en")} without filters)` : ""}`
    : `None of the ${total.toLocaleString("en")} sentences${where} passes these filters.`;
  drawPages(page, pages);
}

function drawPages(page, pages) {
  const host = find("translations-pages");
  host.hidden = pages < 2;
  const go = (wanted) => () => {
    Object.assign(state, { page: wanted > 1 ? String(wanted) : "" });
    writeAddress();
    drawTranslations();
    find("translations-status").scrollIntoView({ block: "start" });
    find("sentences").focus({ preventScroll: true });
  };
  const button = (text, wanted, label) =>
    make("button", { type: "button", "aria-label": label, disabled: wanted < 1 || wanted > pages || wanted === page, onclick: go(wanted) }, text);
  host.replaceChildren(
    button("«", 1, "First page"),
    button("‹ Previous", page - 1, "Previous page"),
    make("span", {}, `Page ${page.toLocaleString("en")} of ${pages.toLocaleString("en")}`),
    button("Next ›", page + 1, "Next page"),
    button("»", pages, "Last page"),
  );
}
