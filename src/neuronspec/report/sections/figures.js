// The static figures, and links to their files.

registerSection("figures", showFigures);

function showFigures() {
  for (const figure of data.figures) {
    if (figure.svg) find("figures-parts").append(makeFigure(figure));
    else find("figures-list").append(make("li", { dir: "auto" }, say(figure.title), makeDownloads(figure)));
  }
}

function makeFigure(figure) {
  const { title, alt, svg } = figure;
  const source = `data:image/svg+xml,${encodeURIComponent(String(svg).toWellFormed?.() ?? svg)}`;
  return make(
    "figure",
    {},
    make("figcaption", { dir: "auto" }, say(title ?? ""), makeDownloads(figure)),
    make("img", { src: source, alt: alt ?? title ?? "" }),
  );
}

// Paths are relative to the page: each part of them is escaped, so that none becomes a scheme or another place.
function makeDownloads({ title, files = {} }) {
  const links = Object.entries(files).map(([format, path]) => {
    const href = (String(path).toWellFormed?.() ?? String(path)).split("/").map(encodeURIComponent).join("/");
    return make("a", { href: `./${href}`, download: "", "aria-label": `${title ?? "figure"} as ${format}` }, format);
  });
  return links.length ? make("span", { class: "downloads" }, ...links) : null;
}
