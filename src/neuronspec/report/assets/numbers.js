// Numbers as texts.

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function formatNumber(value) {
  if (!isNumber(value)) return "–";
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

// A number with its sign and a fixed number of decimals; what rounds to zero has no sign.
function formatFixed(value, decimals = 1) {
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function formatDifference(value, decimals = 1) {
  const text = formatFixed(value, decimals);
  return Number(value.toFixed(decimals)) > 0 ? `+${text}` : text;
}

const formatScore = (value) => formatFixed(value, 1);
const formatShare = (value) => (isNumber(value) ? value.toFixed(3) : "–");
