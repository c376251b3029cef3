// How a matrix is measured and drawn.

const PIXELS_FOR_TEXT = 9; // smaller cells get the names of families, not of languages
const MOST_NUMBERED = 12; // rows or columns; larger matrices show no numbers, as in the static figures
const PIXELS_FOR_NUMBERS = 24; // narrower cells cannot hold one
const TITLE = 20; // pixels for the title of an axis

const setFont = (context, size = 11, weight = "") => (context.font = `${weight} ${size}px system-ui, sans-serif`.trim());

// ---- colors of the cells, one pixel a cell

function paintCells({ rows, columns, value, color }) {
  const image = make("canvas", { width: columns.length || 1, height: rows.length || 1 });
  const context = image.getContext("2d");
  const pixels = context.createImageData(image.width, image.height);

  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      const found = value(row, column);
      if (found !== null) pixels.data.set([...color(found), 255], at);
      at += 4;
    }
  }
  context.putImageData(pixels, 0, 0);
  return image;
}

// ---- places

function measureMatrix(context, canvas, { rows, columns, titles }) {
  const available = printing ? PRINTED : canvas.parentElement.clientWidth - 6;
  const limit = Math.min(150, available * 0.28);
  const title = titles ? TITLE : 0;
  const strip = rows.some(({ family }) => family) ? 12 : 0;

  setFont(context);
  const measure = (text) => context.measureText(String(text ?? "").slice(0, 60)).width;
  const widest = (items, key) => Math.min(limit, Math.max(0, ...items.map((item) => measure(item[key])))) + 8;
  const fitCell = (label) => {
    const most = clamp(560 / columns.length, 32, 96);
    return Math.min(most, (available - title - label - strip) / columns.length);
  };

  // Cells too small for labels stand next to the names of their families
  let label = widest(rows, "label");
  const small = fitCell(label) < PIXELS_FOR_TEXT;
  if (small) label = available < 500 ? 8 : widest(rows, "family");
  const head = small ? 8 : widest(columns, "label");

  const exact = fitCell(label);
  const cell = exact > 6 ? Math.floor(exact) : exact;
  const [left, top] = [title + label + strip, title + head + strip];
  return {
    ...{ cell, left, top, title, label, head, strip, small },
    rows: rows.length,
    columns: columns.length,
    width: Math.ceil(left + cell * columns.length + 2),
    height: Math.ceil(top + cell * rows.length + 2),
  };
}

// ---- drawing

function drawMatrix(canvas, matrix) {
  const context = canvas.getContext("2d");
  const place = (matrix.place = measureMatrix(context, canvas, matrix.model));
  const sharpness = printing ? 3 : Math.max(1, devicePixelRatio);
  canvas.width = place.width * sharpness;
  canvas.height = place.height * sharpness;
  canvas.style.setProperty("width", `${place.width}px`);

  context.scale(sharpness, sharpness);
  context.imageSmoothingEnabled = false;
  context.drawImage(matrix.image, place.left, place.top, place.cell * place.columns, place.cell * place.rows);

  if (place.cell >= 10) drawGaps(context, place);
  drawNumbers(context, place, matrix.model);
  drawOutlines(context, place, matrix.model);
  drawStrips(context, place, matrix.model);
  drawLabels(context, place, matrix);
  drawTitles(context, place, matrix.model);
  if (matrix.cell && !printing) drawCross(context, place, matrix.cell);
}

function drawGaps(context, { left, top, cell, rows, columns }) {
  context.fillStyle = style("--page");
  for (let j = 1; j < columns; j++) context.fillRect(left + j * cell - 0.5, top, 1, rows * cell);
  for (let i = 1; i < rows; i++) context.fillRect(left, top + i * cell - 0.5, columns * cell, 1);
}

function drawNumbers(context, { left, top, cell }, { rows, columns, value, color, number }) {
  if (!number || Math.max(rows.length, columns.length) > MOST_NUMBERED || cell < PIXELS_FOR_NUMBERS) return;
  const cells = rows.flatMap((row, i) => columns.map((column, j) => ({ i, j, found: value(row, column) })));
  const known = cells.filter(({ found }) => found !== null);

  // One size for all numbers: the widest fits into its cell
  setFont(context, 12);
  const widest = Math.max(1, ...known.map(({ found }) => context.measureText(number(found)).width));
  setFont(context, Math.min(12, (12 * (cell - 4)) / widest));
  context.textBaseline = "middle";
  context.textAlign = "center";
  for (const { i, j, found } of known) {
    context.fillStyle = chooseInk(color(found));
    context.fillText(number(found), left + (j + 0.5) * cell, top + (i + 0.5) * cell);
  }
}

function drawOutlines(context, { left, top, cell }, { rows, columns, outlined }) {
  if (!outlined) return;
  context.strokeStyle = "#000"; // on cells that are as light on dark pages
  context.lineWidth = Math.min(2, cell / 8);
  rows.forEach((row, i) =>
    columns.forEach((column, j) => {
      if (outlined(row, column)) context.strokeRect(left + j * cell + 1, top + i * cell + 1, cell - 2, cell - 2);
    }),
  );
}

function drawStrips(context, { left, top, cell, strip }, { rows, columns }) {
  const width = strip - 5;
  const fill = (family, x, y, w, h) => {
    if (!family || width <= 0) return;
    context.fillStyle = context.createPattern(drawSwatch(family), "repeat");
    context.fillRect(x, y, w, h);
  };
  for (const run of findRuns(rows))
    fill(run.family, left - width - 3, top + run.start * cell, width, run.length * cell);
  for (const run of findRuns(columns))
    fill(run.family, left + run.start * cell, top - width - 3, run.length * cell, width);
}

function fit(context, text, width) {
  if (context.measureText(text.slice(0, 200)).width <= width && text.length <= 200) return text;
  let kept = Math.min(text.length, 60);
  while (kept > 1 && context.measureText(`${text.slice(0, kept)}…`).width > width) kept--;
  return `${text.slice(0, kept)}…`;
}

function drawLabels(context, place, { model, cell }) {
  const { left, top, label, head, strip, small } = place;
  const write = makeWriter(context);
  if (small) {
    if (label > 10) drawFamilyNames(write, place, model);
    return;
  }
  const at = (number) => (number + 0.5) * place.cell;
  const [x, y] = [left - strip - 4, top - strip - 4];
  model.rows.forEach((item, i) => write(item.label, x, top + at(i), { width: label - 6, chosen: cell?.[0] === i }));
  model.columns.forEach((item, j) =>
    write(item.label, left + at(j), y, { width: head - 6, chosen: cell?.[1] === j, turned: true }),
  );
}

function makeWriter(context) {
  context.textBaseline = "middle";
  return (text, x, y, { width, chosen = false, turned = false }) => {
    setFont(context, 11, chosen ? "bold" : "");
    context.fillStyle = style(chosen ? "--ink" : "--muted");
    context.textAlign = turned ? "left" : "right";
    context.save();
    context.translate(x, y);
    if (turned) context.rotate(-Math.PI / 2);
    context.fillText(fit(context, text, width), 0, 0);
    context.restore();
  };
}

function drawFamilyNames(write, { left, top, label, strip, cell }, { rows }) {
  for (const run of findRuns(rows)) {
    const middle = top + (run.start + run.length / 2) * cell;
    if (run.length * cell >= 11) write(run.family, left - strip - 4, middle, { width: label - 6 });
  }
}

function drawTitles(context, { left, top, cell, title, rows, columns }, { titles }) {
  if (!titles) return;
  setFont(context, 12);
  context.fillStyle = style("--ink");
  context.textAlign = "center";
  context.textBaseline = "middle";

  // Above the columns, and turned at the left of the rows
  const [width, height] = [cell * columns, cell * rows];
  context.fillText(fit(context, titles.columns, Math.max(width, 120)), left + width / 2, title / 2);
  context.save();
  context.translate(title / 2, top + height / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(fit(context, titles.rows, Math.max(height, 120)), 0, 0);
  context.restore();
}

function drawCross(context, { left, top, cell, rows, columns }, [i, j]) {
  context.strokeStyle = style("--ink");
  context.globalAlpha = 0.45;
  context.lineWidth = 1;
  context.strokeRect(left, top + i * cell, columns * cell, cell);
  context.strokeRect(left + j * cell, top, cell, rows * cell);
  context.globalAlpha = 1;
  context.lineWidth = 2;
  const size = Math.max(cell, 5);
  context.strokeRect(left + (j + 0.5) * cell - size / 2, top + (i + 0.5) * cell - size / 2, size, size);
}
