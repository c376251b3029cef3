// What is shown now, as the address of the page says it, and the views that follow.

// The last layer is the most telling: that of the decoder, where there is one
const decoding = mapped.filter(({ stack }) => stack === "decoder");

const defaults = {
  layer: (decoding.at(-1) ?? mapped.at(-1))?.name,
  k: data.k ?? ks.at(-1),
  order: "family",
  scale: "layer",
  row: "",
  column: "",
  neuron: "",
};
const state = { ...defaults };
const views = []; // functions that draw again what the state or the theme has changed
const checks = {}; // of a section's own keys: whether the address may give a value to them

// A section adds what it keeps in the address; a value that it does not allow is ignored.
function registerState(key, value, isAllowed) {
  defaults[key] = state[key] = value;
  checks[key] = isAllowed;
}

function update(changes) {
  Object.assign(state, changes);
  writeAddress();
  refresh();
}

const refresh = () => views.forEach((view) => view());

function writeAddress() {
  const own = Object.entries(state).filter(([key, value]) => value && value !== defaults[key]);
  const address = new URLSearchParams(own).toString();
  history.replaceState(null, "", address ? `#${address}` : location.pathname);
}

function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (location.hash && !location.hash.includes("=")) return; // a section of the page
  const labels = Object.values(panels).flatMap((panel) => panel.labels);
  const allowed = {
    layer: mapped.map(({ name }) => name),
    k: ks,
    order: ["family", "tree", "name"],
    scale: ["layer", "all"],
    row: labels,
    column: labels,
    neuron: Object.keys(data.cards?.neurons ?? {}),
  };
  for (const [key, values] of Object.entries(allowed))
    state[key] = values.includes(wanted.get(key)) ? wanted.get(key) : defaults[key];
  for (const [key, isAllowed] of Object.entries(checks))
    state[key] = wanted.has(key) && isAllowed(wanted.get(key)) ? wanted.get(key) : defaults[key];
}
