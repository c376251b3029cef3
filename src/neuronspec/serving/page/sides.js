// The translations of the model with all neurons and with those of the direction, and the words that differ.

async function translate(task, text, isLast) {
  const items = [{ text, task, masked: true }];
  if (offer.base_tasks.includes(task)) items.push({ text, task, masked: false });

  const { translations } = await ask("v1/translate", { items });
  const [specialized, base = null] = translations;
  if (isLast()) showTranslations({ task, base, specialized });
}

function showTranslations({ task, base, specialized }) {
  find("translations").hidden = false;
  find("sides").replaceChildren();
  const own = splitText(specialized);

  if (base === null) {
    find("difference").textContent =
      "The service has no model with all neurons for this direction, so there is nothing to compare with.";
    find("sides").append(makeSide("own", task, markWords(own, null, "")));
    return;
  }

  const other = splitText(base);
  const partners = alignWords(own, other);
  const taken = partners && new Set(partners);
  find("difference").textContent = describeDifference(own, other, partners);
  find("sides").append(
    makeSide("against", "", markWords(other, partners && ((i) => taken.has(i)), "only-against")),
    makeSide("own", task, markWords(own, partners && ((i) => partners[i] >= 0), "only-own")),
  );
}

function describeDifference(own, other, partners) {
  const text = (pieces) => pieces.map((piece) => piece.text).join("");
  if (text(own) === text(other)) return "Both translations are the same.";
  if (!partners) return "The translations are too long to mark the words that differ.";
  return "Words that only one of the translations has are marked.";
}

function makeSide(role, task, parts) {
  const title = role === "own" ? ["Neurons of ", say(task)] : ["All neurons"];
  const text = parts.length ? parts : [make("span", { class: "quiet" }, "(empty)")];
  return make(
    "article",
    { class: `card side ${role}`, "aria-label": role === "own" ? `Neurons of ${task}` : "All neurons" },
    make("h3", {}, make("span", {}, ...title)),
    make("p", { class: "translation", dir: "auto" }, ...text),
  );
}

// Words without a partner in the other translation; without an alignment, none is marked.
function markWords(pieces, hasPartner, kind) {
  return pieces.map(({ text, isWord }, i) => {
    const differs = isWord && hasPartner && !hasPartner(i);
    return differs ? make("mark", { class: kind }, text) : text;
  });
}
