// How the numbers were measured.

registerSection("methods", showMethods);

function showMethods() {
  const lines = data.methods.map((line) => make("li", { dir: "auto" }, line));
  find("methods-list").append(...lines);
}
