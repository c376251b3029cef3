// Families of languages, and the swatches that show them: colors and patterns are those of the static figures.

const families = [...new Set(Object.values(panels).flatMap((panel) => panel.families ?? []))].filter(Boolean);
const swatches = new Map();
const SWATCH_SIZE = 12;

// White points of a swatch, by the name of its pattern
const HATCHES = {
  "////": (x, y) => (x + y) % 6 < 2,
  xxxx: (x, y) => (x + y) % 6 === 0 || (x - y + 12) % 6 === 0,
  "----": (x, y) => y % 4 === 1,
  "||||": (x, y) => x % 4 === 1,
  "++++": (x, y) => x % 4 === 1 || y % 4 === 1,
};

function drawSwatch(family) {
  const shown = document.documentElement.dataset.theme;
  const key = JSON.stringify([family, shown]);
  if (swatches.has(key)) return swatches.get(key);

  const { [shown]: color = "#9a9a9a", hatch = "" } = data.family_colors?.[family] ?? {};
  const canvas = make("canvas", { width: SWATCH_SIZE, height: SWATCH_SIZE });
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, SWATCH_SIZE, SWATCH_SIZE);

  context.fillStyle = "#fff";
  const isWhite = HATCHES[hatch] ?? (() => false);
  for (let x = 0; x < SWATCH_SIZE; x++)
    for (let y = 0; y < SWATCH_SIZE; y++) if (isWhite(x, y)) context.fillRect(x, y, 1, 1);

  swatches.set(key, canvas);
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
