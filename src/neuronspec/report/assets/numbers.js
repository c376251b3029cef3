// Numbers as texts.

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function formatNumber(value) {
  if (!isNumber(value)) return "–";
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

const formatScore = (value) => value.toFixed(1).replace("-", "−");
const formatShare = (value) => (isNumber(value) ? value.toFixed(3) : "–");
