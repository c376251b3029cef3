// Colors of the theme, and ramps of colors for values: those of the static figures, in light and in dark.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Blues, from none to all: what stands out is what is shared
const SHARED = "#f7fbff #deebf7 #c6dbef #9ecae1 #6baed6 #4292c6 #2171b5 #08519c #08306b".split(" ");
// Red is worse, blue is better, and white is no change
const HARM = "#053061 #2166ac #4393c3 #92c5de #d1e5f0 #f7f7f7 #fddbc7 #f4a582 #d6604d #b2182b #67001f".split(" ");

function interpolate(stops) {
  const parsed = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return (share) => {
    const place = clamp(share, 0, 1) * (stops.length - 1);
    const first = Math.min(Math.floor(place), stops.length - 2);
    return parsed[first].map((from, i) => Math.round(from + (parsed[first + 1][i] - from) * (place - first)));
  };
}

// White on dark cells; the weights are how bright the eye sees red, green and blue
function chooseInk([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue < 127.5 ? "#ffffff" : "#000000";
}

function drawScale(ramp, texts) {
  const canvas = make("canvas", { width: 120, height: 10, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let x = 0; x < 120; x++) {
    context.fillStyle = `rgb(${ramp(x / 119)})`;
    context.fillRect(x, 0, 1, 10);
  }
  return [make("span", {}, texts[0]), canvas, make("span", {}, texts[1])];
}
