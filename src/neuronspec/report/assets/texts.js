// Sentences of the payload. What stands between two backticks is code; nothing else is markup.

function writeText(text) {
  const parts = String(text).split(/`([^`]+)`/);
  return parts.map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

const makeNote = (note) => make("p", { class: "quiet", dir: "auto" }, ...writeText(note));
const makeItem = (text) => make("li", { dir: "auto" }, ...writeText(text));
