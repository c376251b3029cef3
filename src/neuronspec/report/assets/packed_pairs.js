// Packed matrices: the pairs above the diagonal, row by row.

const unpacked = new Map();

function readPairs(part, layer, k) {
  const text = k === undefined ? data[part]?.[layer] : data[part]?.[layer]?.[k];
  if (typeof text !== "string") return null;
  const key = JSON.stringify([part, layer, k]);
  if (!unpacked.has(key)) unpacked.set(key, unpack(text, part.startsWith("z_")));
  return unpacked.get(key);
}

function unpack(text, floats) {
  const letters = atob(text);
  const view = new DataView(new ArrayBuffer(letters.length));
  for (let i = 0; i < letters.length; i++) view.setUint8(i, letters.charCodeAt(i));
  return floats
    ? Float32Array.from({ length: letters.length / 4 }, (_, i) => view.getFloat32(4 * i, true))
    : Float64Array.from({ length: letters.length / 2 }, (_, i) => view.getUint16(2 * i, true) / 65535);
}

function pick(pairs, i, j, n) {
  if (!pairs || i === j) return null;
  const [a, b] = i < j ? [i, j] : [j, i];
  const value = pairs[a * n - (a * (a + 1)) / 2 + b - a - 1];
  return isNumber(value) ? value : null;
}

function findLimits(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list ?? []) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  return low === high ? [Math.max(0, low - 0.005), Math.min(1, high + 0.005)] : [low, high];
}
