// Light, dark, and the printed page.

const PRINTED = 680; // pixels across a printed page

let theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
let printing = false;

function setTheme(wanted, forPrint = false) {
  theme = wanted;
  printing = forPrint;
  document.documentElement.dataset.theme = printing ? "light" : theme;
  find("theme").setAttribute("aria-pressed", String(theme === "dark"));
  refresh();
}

function watchTheme() {
  find("theme").addEventListener("click", () => setTheme(theme === "dark" ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) =>
    setTheme(event.matches ? "dark" : "light"),
  );

  const print = (on) => {
    document.querySelectorAll("details").forEach((details) => (details.open = on || details.open));
    setTheme(theme, on);
  };
  matchMedia("print").addEventListener("change", (event) => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
}
