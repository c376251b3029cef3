// A matrix on a canvas that pointer and keyboard can read: heat map and ablation.

function createMatrix(canvas, onChoose) {
  const matrix = { model: null, cell: null, place: null };
  const choose = (cell) => {
    matrix.cell = cell;
    matrix.draw();
    onChoose(cell, false);
  };
  matrix.show = (model) => {
    Object.assign(matrix, { model, image: paintCells(model) });
    if (matrix.cell && (matrix.cell[0] >= model.rows.length || matrix.cell[1] >= model.columns.length))
      matrix.cell = null;
    matrix.draw();
  };
  matrix.draw = () => {
    if (matrix.model?.rows.length && canvas.parentElement.clientWidth) drawMatrix(canvas, matrix);
  };
  canvas.addEventListener("pointermove", (event) => {
    const cell = matrix.place && locate(matrix.place, event);
    if (cell && String(cell) !== String(matrix.cell)) choose(cell);
  });
  canvas.addEventListener("pointerdown", (event) => {
    matrix.cell = (matrix.place && locate(matrix.place, event)) ?? matrix.cell;
    if (matrix.cell) onChoose(matrix.cell, true);
    matrix.draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const cell = step(matrix, event.key);
    if (!cell) return;
    event.preventDefault();
    choose(cell);
    if (event.key === "Enter") onChoose(cell, true);
  });
  canvas.addEventListener("focus", () => matrix.cell || choose([0, Math.min(1, matrix.model.columns.length - 1)]));
  new ResizeObserver(matrix.draw).observe(canvas.parentElement);
  return matrix;
}

function step({ model, cell }, key) {
  const [i, j] = cell ?? [0, 0];
  const [rows, columns] = [model.rows.length - 1, model.columns.length - 1];
  const moves = {
    ArrowUp: [i - 1, j],
    ArrowDown: [i + 1, j],
    ArrowLeft: [i, j - 1],
    ArrowRight: [i, j + 1],
    PageUp: [i - 10, j],
    PageDown: [i + 10, j],
    Home: [i, 0],
    End: [i, columns],
    Enter: [i, j],
  };
  return moves[key] && [clamp(moves[key][0], 0, rows), clamp(moves[key][1], 0, columns)];
}

function locate(place, event) {
  const shown = event.target.getBoundingClientRect();
  const zoom = place.width / shown.width;
  const i = Math.floor(((event.clientY - shown.top) * zoom - place.top) / place.cell);
  const j = Math.floor(((event.clientX - shown.left) * zoom - place.left) / place.cell);
  return i >= 0 && j >= 0 && i < place.rows && j < place.columns ? [i, j] : null;
}
