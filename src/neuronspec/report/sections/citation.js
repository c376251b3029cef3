// How to cite.

registerSection("citation", showCitation);

function showCitation() {
  find("citation-text").textContent = data.citation;
  const button = make("button", { type: "button", id: "copy" }, "Copy");
  addCopying(button, () => data.citation);
  find("citation-copy").append(button);
}
