// What was found, and what limits it.

registerSection("summary", showSummary);

function showSummary() {
  const findings = listLines("finding");
  const caveats = listLines("caveat");

  find("findings").append(...findings);
  find("caveats").querySelector("ul").append(...caveats);
  find("caveats").hidden = !caveats.length;
}

function listLines(kind) {
  const lines = data.summary.filter((line) => line.kind === kind);
  return lines.map(({ text }) => make("li", { dir: "auto" }, text));
}
