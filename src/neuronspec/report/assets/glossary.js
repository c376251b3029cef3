// Words that a section uses, explained in a line each where they are used: `data-terms` names them.

const TERMS = {
  IoU: "neurons that two tasks both select, divided by those that at least one of them selects: 1 is the same neurons, 0 none in common.",
  k: "share of a layer’s activation that the selected neurons cover; a larger k selects more of them.",
  sparsity: "share of a layer’s neurons that are not selected for a task.",
  selected: "neurons in the mask of a task.",
  exclusive: "selected for this task and for no other one.",
  own: "the selected neurons that fire most on a task’s text, compared with the other tasks; as many for every task.",
  "others’": "the own neurons of another task.",
  random: "selected neurons of the same text that fire on it about as often as its own.",
  harm: "how much worse a text gets when neurons are switched off; above 0 is worse.",
};

function showGlossaries() {
  for (const place of document.querySelectorAll("[data-terms]")) {
    const terms = place.dataset.terms.split(" ");
    place.className = "glossary";
    place.append(...terms.flatMap((term) => [make("dt", {}, term), make("dd", {}, TERMS[term])]));
  }
}
