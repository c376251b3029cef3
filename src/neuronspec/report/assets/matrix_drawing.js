// How a matrix is measured and drawn.

const PIXELS_FOR_TEXT = 9; // smaller cells get the names of families, not of languages

function paintCells({ rows, columns, value, color }) {
  const image = make("canvas", { width: columns.length || 1, height: rows.length || 1 });
  const context = image.getContext("2d");
  const pixels = context.createImageData(image.width, image.height);
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      const found = value(row, column);
      if (found !== null)
        [pixels.data[at], pixels.data[at + 1], pixels.data[at + 2], pixels.data[at + 3]] = [...color(found), 255];
      at += 4;
    }
  }
  context.putImageData(pixels, 0, 0);
  return image;
}

function measureMatrix(context, canvas, { rows, columns }) {
  const available = printing ? PRINTED : canvas.parentElement.clientWidth - 6;
  const most = clamp(560 / columns.length, 32, 72);
  const strip = rows.some(({ family }) => family) ? 12 : 0;
  context.font = "11px system-ui, sans-serif";
  const widest = (items, text) =>
    Math.max(0, ...items.map((item) => context.measureText(text(item).slice(0, 60)).width));
  const limit = Math.min(150, available * 0.28);
  let label =
    Math.min(
      limit,
      widest(rows, (item) => item.label),
    ) + 8;
  let cell = Math.min(most, (available - label - strip) / columns.length);
  const small = cell < PIXELS_FOR_TEXT;
  if (small) {
    label =
      available < 500
        ? 8
        : Math.min(
            limit,
            widest(rows, (item) => item.family || ""),
          ) + 8;
    cell = Math.min(most, (available - label - strip) / columns.length);
  }
  if (cell > 6) cell = Math.floor(cell);
  const head = small
    ? 8
    : Math.min(
        limit,
        widest(columns, (item) => item.label),
      ) + 8;
  const [left, top] = [label + strip, head + strip];
  return {
    cell,
    left,
    top,
    label,
    head,
    strip,
    small,
    rows: rows.length,
    columns: columns.length,
    width: Math.ceil(left + cell * columns.length + 2),
    height: Math.ceil(top + cell * rows.length + 2),
  };
}

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
  drawStrips(context, place, matrix.model);
  drawLabels(context, place, matrix);
  if (matrix.cell && !printing) drawCross(context, place, matrix.cell);
}

function drawGaps(context, { left, top, cell, rows, columns }) {
  context.fillStyle = style("--page");
  for (let j = 1; j < columns; j++) context.fillRect(left + j * cell - 0.5, top, 1, rows * cell);
  for (let i = 1; i < rows; i++) context.fillRect(left, top + i * cell - 0.5, columns * cell, 1);
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
  context.textBaseline = "middle";
  const write = (text, x, y, chosen, turned, width) => {
    context.font = `${chosen ? "bold " : ""}11px system-ui, sans-serif`;
    context.fillStyle = style(chosen ? "--ink" : "--muted");
    context.textAlign = turned ? "left" : "right";
    context.save();
    context.translate(x, y);
    if (turned) context.rotate(-Math.PI / 2);
    context.fillText(fit(context, text, width), 0, 0);
    context.restore();
  };
  if (small) {
    if (label > 10)
      for (const run of findRuns(model.rows)) {
        if (run.length * place.cell >= 11) {
          write(run.family, left - strip - 4, top + (run.start + run.length / 2) * place.cell, false, false, label - 6);
        }
      }
    return;
  }
  const at = (number) => (number + 0.5) * place.cell;
  model.rows.forEach((item, i) => write(item.label, left - strip - 4, top + at(i), cell?.[0] === i, false, label - 6));
  model.columns.forEach((item, j) => write(item.label, left + at(j), top - strip - 4, cell?.[1] === j, true, head - 6));
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
