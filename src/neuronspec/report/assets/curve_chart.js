// A chart of curves over updates: axes, lines, and the point that is read.

const CURVE_EDGES = { left: 70, right: 20, top: 10, bottom: 46 }; // pixels around the area that is drawn on
const CURVE_TICKS = 6; // at most, on the vertical axis
const CURVES_WITH_DOTS = 8; // more lines, or more points, are drawn without dots
const DOTS_OF_CURVE = 30;

function frameCurves(width, curves, isLogarithmic) {
  const height = clamp(width * 0.45, 240, 400);
  const inner = {
    left: CURVE_EDGES.left,
    right: width - CURVE_EDGES.right,
    top: CURVE_EDGES.top,
    bottom: height - CURVE_EDGES.bottom,
  };

  const points = curves.flatMap(({ points, raw }) => [...points, ...(raw ?? [])]);
  const [first, last] = findCurveLimits(points.map(([update]) => update));
  const scale = isLogarithmic ? Math.log10 : (value) => value;
  const [low, high] = findCurveLimits(points.map(([, value]) => value));

  // Some air above the highest and below the lowest value
  const air = 0.04 * (scale(high) - scale(low));
  const [bottom, top] = [scale(low) - air, scale(high) + air];
  return {
    width,
    height,
    inner,
    limits: { first, last, low, high },
    isLogarithmic,
    x: (update) => inner.left + ((inner.right - inner.left) * (update - first)) / (last - first),
    y: (value) => inner.bottom - ((inner.bottom - inner.top) * (scale(value) - bottom)) / (top - bottom),
  };
}

// The ends of an axis; a single value gets some room, so that the axis has a length.
function findCurveLimits(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low < high) return [low, high];
  const room = Math.abs(low) / 20 || 1;
  return [low - room, low + room];
}

// Round numbers between two ends: 1, 2 or 5 times a power of ten apart.
function pickRoundTicks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const gap = [1, 2, 5, 10].map((size) => size * power).find((size) => size >= rough * 0.999);
  const [first, last] = [Math.ceil(low / gap - 1e-9), Math.floor(high / gap + 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * gap).toPrecision(12)));
}

function pickPowerTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
    for (const size of [1, 2, 5]) ticks.push(Number((size * 10 ** power).toPrecision(12)));
  const inside = ticks.filter((tick) => tick >= low && tick <= high);

  // Within less than a power of ten, few of these are left
  return inside.length >= 3 ? inside : pickRoundTicks(low, high, CURVE_TICKS);
}

function drawCurveAxes({ inner, limits, isLogarithmic, width, x, y }, title) {
  const { first, last, low, high } = limits;
  const heights = isLogarithmic ? pickPowerTicks(low, high) : pickRoundTicks(low, high, CURVE_TICKS);
  const rules = heights.flatMap((value) => [
    make("line", { class: "rule", x1: inner.left, x2: inner.right, y1: y(value), y2: y(value) }),
    make("text", { class: "axis", x: inner.left - 6, y: y(value) + 4, "text-anchor": "end" }, formatCurve(value)),
  ]);

  const most = clamp(width / 90, 2, 10);
  const updates = pickRoundTicks(first, last, most)
    .filter(Number.isInteger)
    .map((update) =>
      make("text", { class: "axis", x: x(update), y: inner.bottom + 18, "text-anchor": "middle" }, formatCurve(update)),
    );

  const [middle, center] = [(inner.top + inner.bottom) / 2, (inner.left + inner.right) / 2];
  return [
    ...rules,
    ...updates,
    make("text", { x: center, y: inner.bottom + 40, "text-anchor": "middle" }, "updates"),
    make("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, title),
  ];
}

// Four digits, as a number of updates in whole; small learning rates as powers of ten.
function formatCurve(value) {
  const isSmall = value !== 0 && Math.abs(value) < 0.001;
  const digits = { maximumSignificantDigits: Number.isInteger(value) ? 15 : 4 };
  const text = isSmall ? Number(value.toPrecision(4)).toExponential() : value.toLocaleString("en", digits);
  return text.replace("-", "−");
}

function drawCurves({ x, y }, curves, isMany) {
  return curves.flatMap(({ points, raw, color, key }) => {
    const trace = (list) => `M${list.map(([update, value]) => `${x(update).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`;
    const line = { stroke: color, "stroke-width": isMany ? 1 : 2 };
    const hasDots = points.length === 1 || (curves.length <= CURVES_WITH_DOTS && points.length <= DOTS_OF_CURVE);
    const dots = hasDots
      ? points.map(([update, value]) => make("circle", { cx: x(update), cy: y(value), r: 2.5, fill: color }))
      : [];
    return [
      raw && !isMany ? make("path", { class: "curve raw", ...line, "stroke-width": 1, d: trace(raw) }) : null,
      make("path", { class: `curve${isMany ? " many" : ""}`, "data-curve": key, ...line, d: trace(points) }),
      ...dots,
    ].filter(Boolean);
  });
}
