// The sections of the page. Each one registers what fills it; the order is that of the page.

const fillers = {};
const sections = new Set([...document.querySelectorAll("section")].map((section) => section.dataset.part));

// `part` is the part of the payload that the section shows; unless `when` holds, there is no section.
function registerSection(part, fill, when = () => isFilled(data[part])) {
  fillers[part] = { fill, when };
}

function fillSections() {
  for (const section of document.querySelectorAll("section")) {
    const { part } = section.dataset;
    const heading = section.querySelector("h2");
    section.setAttribute("aria-label", heading.textContent);

    // A part that could not be measured says why; one that nobody asked for is not there
    const { fill, when } = fillers[part];
    if (when()) fill();
    else if (missing[part]) section.replaceChildren(heading, make("p", { class: "why", dir: "auto" }, ...writeText(missing[part])));
    else section.remove();

    if (section.isConnected) addToContents(section);
  }
}

function addToContents({ id, dataset }) {
  const link = make("a", { href: `#${id}` }, dataset.title ?? id[0].toUpperCase() + id.slice(1));
  find("contents").append(make("li", {}, link));
}
