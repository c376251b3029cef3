// What was found: four numbers, three sentences, and folded under them all findings and caveats.

registerSection("summary", showSummary, () => ["summary", "numbers", "highlights"].some((part) => isFilled(data[part])));

const MOST_HIGHLIGHTS = 3;

function showSummary() {
  find("numbers").append(...(data.numbers ?? []).map(makeNumber));
  find("highlights").append(...chooseHighlights().map(makeHighlight));

  const findings = data.summary.filter(({ kind }) => kind === "finding");
  const caveats = data.summary.filter(({ kind }) => kind === "caveat");
  find("findings").append(...findings.map(({ text }) => makeItem(text)));
  find("caveats").querySelector("ul").append(...caveats.map(({ text }) => makeItem(text)));

  find("caveats").hidden = !caveats.length;
  find("all-findings").hidden = !data.summary.length;
  find("findings-count").textContent = `All findings (${findings.length}) and caveats (${caveats.length})`;
}

function makeNumber({ value, label, note }) {
  return make(
    "div",
    {},
    make("dt", { dir: "auto" }, label),
    make("dd", { class: "value", dir: "auto" }, String(value).replace("-", "−")),
    note ? make("dd", { class: "note", dir: "auto" }, String(note).replace(/(?<=^|\s)-(?=\d)/g, "−")) : null,
  );
}

function chooseHighlights() {
  if (isFilled(data.highlights)) return data.highlights;
  const findings = data.summary.filter(({ kind }) => kind === "finding");
  return (findings.length ? findings : data.summary).slice(0, MOST_HIGHLIGHTS);
}

function makeHighlight({ kind, text }) {
  return make("li", { class: kind === "caveat" ? "caveat" : "", dir: "auto" }, ...writeText(text));
}
