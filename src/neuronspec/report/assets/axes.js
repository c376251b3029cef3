// Axes of charts: round ticks, limits, and titles.

// Round values between two limits, with their texts: about `count` of them.
function pickTicks(low, high, count = 6) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const gap = [1, 2, 5, 10].find((size) => size * power >= rough * 0.999) * power;
  const decimals = Math.max(0, -Math.floor(Math.log10(gap) + 1e-9));

  const [first, last] = [Math.ceil(low / gap - 1e-9), Math.floor(high / gap + 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const value = (first + i) * gap;
    return { value, text: formatFixed(value, decimals) };
  });
}

// Limits of values with some space around them; two different numbers, also where all values are alike.
function widenLimits(values, share = 0.04) {
  const found = values.filter(isNumber);
  if (!found.length) return [0, 1];
  const low = found.reduce((a, b) => Math.min(a, b));
  const high = found.reduce((a, b) => Math.max(a, b));
  const space = (high - low) * share || Math.abs(high) * share || 0.5;
  return [low - space, high + space];
}

function writeAxis(text, x, y, { anchor = "middle", turned = false, kind = "axis" } = {}) {
  const turn = turned ? `rotate(-90 ${x} ${y})` : null;
  return make("text", { class: kind, x, y, "text-anchor": anchor, transform: turn }, text);
}
