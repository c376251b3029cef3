// Controls: choices, sliders, and buttons that copy.

function addStackAndLayer(host) {
  const stacks = [...new Set(mapped.map(({ stack }) => stack))];
  if (stacks.length > 1) addChoice(host, "Stack", "stack", () => stacks.map((stack) => [stack, stack]));
  const own = () => mapped.filter(({ stack }) => stack === layerOf(state.layer).stack).map(({ name }) => name);
  addSlider(host, "Layer", own, "layer");
}

function addChoice(host, label, key, options) {
  const name = `${key}-${views.length}`;
  const field = make("div", { class: "segments" });
  host.append(make("fieldset", { "data-control": key }, make("legend", {}, label), field));
  const inputs = options().map(([value, text]) => {
    const input = make("input", {
      type: "radio",
      name,
      value,
      onchange: () => (key === "stack" ? changeStack(value) : update({ [key]: value })),
    });
    field.append(make("label", {}, input, make("span", {}, text)));
    return input;
  });
  views.push(() =>
    options().forEach(([value, , disabled], i) => {
      inputs[i].disabled = Boolean(disabled);
      inputs[i].checked = value === (key === "stack" ? layerOf(state.layer).stack : state[key]);
    }),
  );
}

// A choice of one section alone: it is no part of the page's state.
function addLocalChoice(host, label, values, chosen, onChoose) {
  const name = `local-${label}-${views.length}`;
  const field = make("div", { class: "segments" });
  for (const value of values) {
    const input = make("input", { type: "radio", name, value, onchange: () => onChoose(value) });
    input.checked = value === chosen;
    field.append(make("label", {}, input, make("span", { dir: "auto" }, value)));
  }
  host.append(make("fieldset", { "data-control": label.toLowerCase() }, make("legend", {}, label), field));
}

function changeStack(stack) {
  const own = (wanted) => mapped.filter((layer) => layer.stack === wanted);
  const before = own(layerOf(state.layer).stack).findIndex(({ name }) => name === state.layer);
  const found = own(stack);
  update({ layer: found[Math.min(before, found.length - 1)].name });
}

function addSlider(host, label, values, key) {
  const list = () => (typeof values === "function" ? values() : values);
  const output = make("output");
  const input = make("input", {
    type: "range",
    min: 0,
    step: 1,
    "aria-label": label,
    "data-control": key,
    oninput: () => update({ [key]: list()[input.value] }),
  });
  host.append(make("label", { class: "slider" }, make("span", {}, `${label} `, output), input));
  views.push(() => {
    input.max = list().length - 1;
    input.value = Math.max(0, list().indexOf(state[key]));
    input.setAttribute("aria-valuetext", state[key]);
    output.textContent = state[key];
  });
}

function addCopying(button, read) {
  const label = button.textContent;
  const tell = (text) => {
    button.textContent = text;
    setTimeout(() => (button.textContent = label), 2000);
  };
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", () =>
    Promise.resolve()
      .then(() => navigator.clipboard.writeText(read()))
      .then(
        () => tell("Copied"),
        () => tell("Please select and copy it manually"),
      ),
  );
}
