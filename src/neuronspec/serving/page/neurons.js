// Which neurons fired for the text and its translation: layer by layer, and the strongest ones.

async function explain(task, text, isLast) {
  find("neurons").hidden = true;
  if (!offer.has_neurons) return;

  const found = await ask("v1/neurons", { task, text });
  if (!isLast()) return;
  find("neurons").hidden = false;
  find("neurons-lead").textContent = describeFiring(found.layers);
  find("layers").replaceChildren(makeLegend(task), ...found.layers.map(makeLayer));
}
