// Families of languages, and the swatches that show them.

const FAMILY_COLORS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"]; // Okabe and Ito

const families = [...new Set(Object.values(panels).flatMap((panel) => panel.families ?? []))].filter(Boolean);
const swatches = new Map();

function drawSwatch(family) {
  if (swatches.has(family)) return swatches.get(family);
  const number = families.indexOf(family);
  const canvas = make("canvas", { width: 12, height: 12 });
  const context = canvas.getContext("2d");
  context.fillStyle = FAMILY_COLORS[number % FAMILY_COLORS.length];
  context.fillRect(0, 0, 12, 12);
  context.fillStyle = "#fff";
  const turn = Math.floor(number / FAMILY_COLORS.length) % 4; // past the seventh family: stripes
  for (let at = 0; turn && at < 12; at++) {
    if (turn === 1) for (let shift = 0; shift < 12; shift += 6) context.fillRect(at, (at + shift) % 12, 1, 2);
    if (turn === 2 && at % 4 === 0) context.fillRect(0, at, 12, 2);
    if (turn === 3 && at % 4 === 0) context.fillRect(at, 0, 2, 12);
  }
  swatches.set(family, canvas);
  return canvas;
}

const makeSwatch = (family) => make("img", { class: "swatch", alt: "", src: drawSwatch(family).toDataURL() });

function findRuns(items) {
  const runs = [];
  items.forEach(({ family = "" }, start) => {
    if (runs.at(-1)?.family === family) runs.at(-1).length++;
    else runs.push({ family, start, length: 1 });
  });
  return runs;
}
