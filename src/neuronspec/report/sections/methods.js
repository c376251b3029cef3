// How the numbers were measured.

registerSection("methods", showMethods);

function showMethods() {
  find("methods-list").append(...data.methods.map(makeItem));
}
