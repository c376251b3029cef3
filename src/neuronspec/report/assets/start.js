// The start: every section is filled, and the address says what is shown first.

function start() {
  const opened = layerOf(defaults.layer);
  if (opened && !(panels[opened.stack].families ?? []).some(Boolean)) defaults.order = "name";
  showTitle();
  fillSections();
  showGlossaries();

  readAddress();
  setTheme(theme);
  watchTheme();

  addEventListener("hashchange", () => {
    readAddress();
    refresh();
  });
  addEventListener("resize", refresh);
  if (location.hash && !location.hash.includes("=")) find(location.hash.slice(1))?.scrollIntoView();
}

function showTitle() {
  const title = String(data.title ?? "");
  document.title = title;
  find("title").textContent = title;

  find("subtitle").textContent = data.subtitle ?? "";
  find("subtitle").hidden = !data.subtitle;
  find("version").textContent = data.version ? `Made with ${data.version}` : "";
}

start();
