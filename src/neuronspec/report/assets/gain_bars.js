// How many sentences gain and lose how much: bars that select their sentences.

function makeGainBars(select) {
  const counts = countGains();
  if (!counts) return [];
  const middle = shown.edges.length;
  const sum = (list) => list.reduce((total, count) => total + count, 0);
  const [worse, same, better] = [sum(counts.slice(0, middle)), counts[middle], sum(counts.slice(middle + 1))];

  const highest = Math.max(1, ...counts);
  const bars = counts.map((count, bar) => makeGainBar(bar, count, count / highest, select));
  return [
    make(
      "p",
      { class: "quiet" },
      "With ",
      say(titleOf(state.system)),
      `, ${tellCount(better)} ${better === 1 ? "is" : "are"} better, ${worse.toLocaleString("en")} worse, and ${same.toLocaleString("en")} within a point of ${shown.metric}, compared with `,
      say(titleOf(state.against)),
      ".",
    ),
    make("div", { class: "gain-bars", role: "group", "aria-label": `Sentences by gain in ${shown.metric}` }, ...bars),
  ];
}

const tellCount = (count) => `${count.toLocaleString("en")} sentence${count === 1 ? "" : "s"}`;

// Of one direction or all; null for a pair that was not counted.
function countGains() {
  const { index, isTurned } = findPair();
  if (index < 0) return null;
  const place = directionAt(state.direction);
  const directions = place < 0 ? shown.gains : [shown.gains[place]];
  const lists = directions.map((pairs) => pairs[index]).filter(Boolean);
  const total = new Array(2 * shown.edges.length + 1).fill(0);
  for (const list of lists) list.forEach((count, bar) => (total[isTurned ? total.length - 1 - bar : bar] += count));
  return total;
}

function makeGainBar(bar, count, share, select) {
  const isChosen = state.gain === String(bar);
  const column = make("i", { "aria-hidden": "true" });
  column.style.setProperty("height", `${Math.max(count ? 3 : 0, Math.round(56 * share))}px`);
  const kind = bar < shown.edges.length ? "worse" : bar > shown.edges.length ? "better" : "";
  const attributes = {
    type: "button",
    class: kind,
    disabled: !count,
    "aria-pressed": String(isChosen),
    "aria-label": `${tellCount(count)}: ${nameBar(bar)} points`,
    onclick: () => select({ gain: isChosen ? "" : String(bar) }),
  };
  return make("button", attributes, make("span", {}, count.toLocaleString("en")), column, make("small", {}, nameBar(bar)));
}

function nameBar(bar) {
  const middle = shown.edges.length;
  if (bar === middle) return `±${shown.edges[0]}`;
  const place = Math.abs(bar - middle) - 1;
  const sign = bar < middle ? "−" : "+";
  const [from, to] = [shown.edges[place], shown.edges[place + 1]];
  return to ? `${sign}${from} to ${to}` : `${sign}${from}…`;
}
