// Training curves: losses, learning rates and speed of every system over its updates.

registerSection("curves", showCurves);

const CURVE_KINDS = {
  "validation loss": { unit: "nats per token", updates: "validations", hasTasks: true },
  "training loss": { unit: "nats per token", updates: "updates", values: "losses" },
  "learning rate": { unit: "", updates: "updates", values: "learning_rates" },
  speed: { unit: "target tokens per second", updates: "validations", values: "speeds" },
};
const ALL_TASKS = "all directions together";
const EACH_TASK = "each direction";
const READ_AT_ONCE = 8; // more lines are read one by one

function showCurves() {
  const { trainings, tasks } = data.curves;
  const chosen = {
    training: trainings.at(-1).name,
    kind: Object.keys(CURVE_KINDS)[0],
    task: ALL_TASKS,
    smoothing: 0,
    isLogarithmic: false,
    hidden: new Set(),
  };
  const view = { curves: [], chart: null, at: null };
  const change = (changes) => {
    Object.assign(chosen, changes);
    view.at = null;
    draw();
  };

  const host = find("curves-controls");
  if (trainings.length > 1)
    addCurvePick(host, "Training", trainings.map(({ name }) => name), chosen.training, (training) => change({ training }));
  addCurvePick(host, "Curve", Object.keys(CURVE_KINDS), chosen.kind, (kind) => change({ kind }));
  const taskPick = addCurvePick(host, "Directions", [ALL_TASKS, EACH_TASK, ...tasks], chosen.task, (task) => change({ task }));
  addSmoothing(host, (smoothing) => change({ smoothing }));
  addCurveCheck(host, "log scale", (isLogarithmic) => change({ isLogarithmic }));

  const draw = () => {
    taskPick.disabled = !CURVE_KINDS[chosen.kind].hasTasks;
    showCurveLegend(chosen, change);
    view.curves = listCurves(chosen);
    drawCurveChart(chosen, view);
  };
  views.push(draw);
  addTable(find("curves-table"), () => tabulateCurves(chosen, view.curves));
}

// ---- controls

function addCurvePick(host, label, values, value, onChoose) {
  const options = values.map((text) => make("option", { value: text, selected: text === value }, text));
  const select = make("select", { "data-control": label.toLowerCase(), onchange: () => onChoose(select.value) }, ...options);
  host.append(make("label", { class: "pick" }, make("span", {}, label), select));
  return select;
}

function addSmoothing(host, onChoose) {
  const output = make("output", {}, "none");
  const input = make("input", { type: "range", min: 0, max: 95, step: 5, value: 0, "aria-label": "Smoothing", "data-control": "smoothing" });
  input.addEventListener("input", () => {
    const share = Number(input.value) / 100;
    output.textContent = share ? share.toFixed(2) : "none";
    input.setAttribute("aria-valuetext", output.textContent);
    onChoose(share);
  });
  host.append(make("label", { class: "slider" }, make("span", {}, "Smoothing ", output), input));
}

function addCurveCheck(host, label, onChoose) {
  const input = make("input", { type: "checkbox", "data-control": label, onchange: () => onChoose(input.checked) });
  host.append(make("label", { class: "check" }, input, label));
}

const colorOfSystem = (system) => data.curves.colors[system][document.documentElement.dataset.theme];
const systemsOf = ({ training }) => data.curves.trainings.find(({ name }) => name === training).systems;

function showCurveLegend(chosen, change) {
  const toggle = (system) => {
    const hidden = new Set(chosen.hidden);
    if (!hidden.delete(system)) hidden.add(system);
    change({ hidden });
  };
  const focused = document.activeElement?.dataset?.system;
  const buttons = systemsOf(chosen).map(({ system }) => {
    const line = make("line", { x1: 0, x2: 18, y1: 5, y2: 5, stroke: colorOfSystem(system), "stroke-width": 3 });
    const shown = String(!chosen.hidden.has(system));
    return make(
      "button",
      { type: "button", "aria-pressed": shown, "data-system": system, onclick: () => toggle(system) },
      make("svg", { width: 18, height: 10, "aria-hidden": "true" }, line),
      say(system),
    );
  });
  find("curves-legend").replaceChildren(...buttons);
  buttons.find((button) => button.dataset.system === focused)?.focus();
}

// ---- what is drawn

function listCurves(chosen) {
  const kind = CURVE_KINDS[chosen.kind];
  return systemsOf(chosen)
    .filter(({ system }) => !chosen.hidden.has(system))
    .flatMap((found) =>
      listValues(found, kind, chosen.task).map(([task, values]) => {
        const isDrawn = (value) => isNumber(value) && (!chosen.isLogarithmic || value > 0);
        const raw = found[kind.updates].map((update, i) => [update, values[i]]).filter(([, value]) => isDrawn(value));
        return {
          system: found.system,
          task,
          color: colorOfSystem(found.system),
          raw: chosen.smoothing ? raw : null,
          points: chosen.smoothing ? smooth(raw, chosen.smoothing) : raw,
        };
      }),
    )
    .filter(({ points }) => points.length)
    .map((curve, key) => ({ ...curve, key }));
}

function listValues(found, kind, task) {
  if (!kind.hasTasks) return [["", found[kind.values]]];
  if (task === ALL_TASKS) return [["", found.valid_loss]];
  if (task === EACH_TASK) return Object.entries(found.valid_losses);
  return found.valid_losses[task] ? [[task, found.valid_losses[task]]] : [];
}

// A running mean in which older values count less and less; the first value is not favored.
function smooth(points, share) {
  let [sum, weight] = [0, 0];
  return points.map(([update, value]) => {
    sum = share * sum + (1 - share) * value;
    weight = share * weight + (1 - share);
    return [update, sum / weight];
  });
}

function drawCurveChart(chosen, view) {
  const plot = find("curves-plot");
  const { curves } = view;
  if (!curves.length) {
    view.chart = null;
    plot.replaceChildren(make("p", { class: "quiet" }, "Nothing to show: choose a system above the chart."));
    return;
  }

  const kind = CURVE_KINDS[chosen.kind];
  const chart = frameCurves(printing ? PRINTED : Math.max(280, plot.clientWidth), curves, chosen.isLogarithmic);
  const title = kind.unit ? `${chosen.kind} (${kind.unit})` : chosen.kind;
  const drawing = make(
    "svg",
    {
      width: chart.width,
      height: chart.height,
      viewBox: `0 0 ${chart.width} ${chart.height}`,
      role: "group",
      tabindex: 0,
      "aria-label": `${title} over updates, ${curves.length} lines. Left and right arrow keys move between points.`,
      onpointermove: (event) => readCurvesAt(view, locateInChart(drawing, chart, event)),
      onkeydown: (event) => stepCurves(event, view),
    },
    ...drawCurveAxes(chart, title),
    ...drawCurves(chart, curves, curves.length > READ_AT_ONCE),
    make("line", { class: "picked", y1: chart.inner.top, y2: chart.inner.bottom, visibility: "hidden" }),
  );

  const hadFocus = plot.contains(document.activeElement);
  view.chart = chart;
  view.drawing = drawing;
  plot.replaceChildren(drawing);
  if (hadFocus) drawing.focus();
  find("curves-reading").replaceChildren();
}

// ---- reading values

function locateInChart(drawing, chart, event) {
  const box = drawing.getBoundingClientRect();
  const zoom = chart.width / box.width;
  return [(event.clientX - box.left) * zoom, (event.clientY - box.top) * zoom];
}

function stepCurves(event, view) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();

  const updates = [...new Set(view.curves.flatMap(({ points }) => points.map(([update]) => update)))].sort((a, b) => a - b);
  const now = updates.indexOf(view.at);
  const next = now < 0 ? (step > 0 ? 0 : updates.length - 1) : clamp(now + step, 0, updates.length - 1);
  const { chart } = view;
  readCurvesAt(view, [chart.x(updates[next]), (chart.inner.top + chart.inner.bottom) / 2]);
}

function readCurvesAt(view, [left, top]) {
  const { chart, curves, drawing } = view;
  const nearest = curves.map((curve) => ({ curve, point: findNearestPoint(chart, curve, left) }));
  const distance = ({ point: [update, value] }) =>
    Math.hypot(chart.x(update) - left, curves.length > READ_AT_ONCE ? chart.y(value) - top : 0);
  const best = nearest.reduce((one, other) => (distance(other) < distance(one) ? other : one));
  [view.at] = best.point;

  const rule = drawing.querySelector(".picked");
  for (const end of ["x1", "x2"]) rule.setAttribute(end, chart.x(view.at));
  rule.setAttribute("visibility", "visible");

  // A few lines are read together, of many the one next to the pointer
  const isMany = curves.length > READ_AT_ONCE;
  for (const line of drawing.querySelectorAll("[data-curve]")) {
    const isNear = isMany && Number(line.dataset.curve) === best.curve.key;
    line.classList.toggle("near", isNear);
    if (isNear) rule.before(line); // above all others
  }
  const read = isMany ? [best] : nearest.filter(({ point }) => point[0] === view.at);
  const parts = read.flatMap(({ curve, point }) => [
    " · ",
    say(curve.task ? `${curve.system}, ${curve.task}` : curve.system),
    " ",
    make("strong", {}, formatCurve(point[1])),
  ]);
  find("curves-reading").replaceChildren(`Update ${formatCurve(view.at)}`, ...parts);
}

function findNearestPoint(chart, { points }, left) {
  const distance = ([update]) => Math.abs(chart.x(update) - left);
  return points.reduce((one, other) => (distance(other) < distance(one) ? other : one));
}

function tabulateCurves(chosen, curves) {
  const updates = [...new Set(curves.flatMap(({ points }) => points.map(([update]) => update)))].sort((a, b) => a - b);
  const values = curves.map(({ points }) => new Map(points));
  const name = ({ system, task }) => (task ? `${system}, ${task}` : system);
  return makeGrid(
    `${chosen.kind}, ${chosen.training}`,
    ["updates", ...curves.map(name)],
    updates.map((update) => [
      formatCurve(update),
      ...values.map((found) => (found.has(update) ? formatCurve(found.get(update)) : "")),
    ]),
  );
}
