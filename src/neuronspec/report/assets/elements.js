// Elements of the page. Texts enter it as text nodes or onto a canvas, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "line", "path", "rect", "circle", "text", "image", "title"]);

const find = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// The width of a text in pixels, as the drawings write it.
const ruler = make("canvas").getContext("2d");

function measureText(text, weight = "") {
  ruler.font = `${weight} 12px ${style("--sans")}`.trim();
  return ruler.measureText(String(text).slice(0, 200)).width;
}

function shorten(text, width, weight = "") {
  if (measureText(text, weight) <= width && text.length <= 200) return text;
  let kept = Math.min(text.length, 60);
  while (kept > 1 && measureText(`${text.slice(0, kept)}…`, weight) > width) kept--;
  return `${text.slice(0, kept)}…`;
}

const say = (text) => make("bdi", { dir: "auto" }, String(text));
