"use strict";
// The payload, parsed once: what every part of the page reads. All scripts of the page share one scope.

const data = JSON.parse(document.getElementById("payload").textContent);
const missing = data.missing ?? {};
const panels = data.panels ?? {};
const layers = data.layers ?? [];
const mapped = layers.filter(({ name, stack }) => panels[stack] && (data.iou?.[name] || data.trees?.[name]));
const ks = data.ks?.length
  ? data.ks
  : [...new Set(Object.values(data.iou ?? {}).flatMap((found) => Object.keys(found)))];

const isFilled = (part) =>
  part !== null && part !== undefined && part !== "" && (typeof part !== "object" || Object.keys(part).length > 0);

const nameOf = (panel, i) => panel.names?.[i] || panel.labels[i];
const layerOf = (name) => layers.find((layer) => layer.name === name);
