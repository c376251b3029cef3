// The page that a library draws in: its views are functions of a place and of numbers.
const numbers = JSON.parse(document.getElementById("payload").textContent);
const colors = numbers.colors;
const views = {};
{{views}}
window.finished = Promise.allSettled(
  Object.entries(views).map(async ([name, draw]) => draw(document.getElementById(name), numbers[name])),
);
