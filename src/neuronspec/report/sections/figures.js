// The static figures.

registerSection("figures", showFigures);

function showFigures() {
  for (const { title, alt, svg } of data.figures) {
    const source = `data:image/svg+xml,${encodeURIComponent(String(svg).toWellFormed?.() ?? svg)}`;
    find("figures-parts").append(
      make(
        "figure",
        {},
        make("figcaption", { dir: "auto" }, title ?? ""),
        make("img", { src: source, alt: alt ?? title ?? "" }),
      ),
    );
  }
}
