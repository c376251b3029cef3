// Colors of the theme, and ramps of colors for values.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = (ramps) => ramps[document.documentElement.dataset.theme];

// From none to all, away from the page's own lightness: what stands out is what is shared.
const SHARED = {
  light: ["#f3eed6", "#d3e8cc", "#98d0c0", "#55acbd", "#3079ab", "#2c4a8c", "#251f5b"],
  dark: ["#1d2433", "#29356f", "#2d5f9f", "#3590b8", "#6dbfba", "#b9e0bf", "#fbf6df"],
};
const HARM = {
  light: ["#0b5a9d", "#7fb4da", "#f3f2ee", "#f0b37e", "#b3520a"],
  dark: ["#7cc4ff", "#2d6596", "#222833", "#9a5a22", "#ffb86b"],
};

function interpolate(stops) {
  const parsed = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return (share) => {
    const place = clamp(share, 0, 1) * (stops.length - 1);
    const first = Math.min(Math.floor(place), stops.length - 2);
    return parsed[first].map((from, i) => Math.round(from + (parsed[first + 1][i] - from) * (place - first)));
  };
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
