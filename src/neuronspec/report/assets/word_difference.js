// Which words of a translation are also in the reference, in the same order.

const MOST_CELLS = 250_000; // of an alignment: longer texts, such as loops of a thousand words, are not aligned
const segmenter = Intl.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

// Words and what stands between them, so that joining the pieces gives the text again.
function splitText(text) {
  const pieces = segmenter ? [...segmenter.segment(text)].map(({ segment }) => segment) : text.split(/(\s+)/u);
  return pieces.filter(Boolean).map((piece) => ({ text: piece, isWord: /[\p{L}\p{N}\p{S}]/u.test(piece) }));
}

// For each piece of a translation the index of the piece of the reference that it equals, or -1.
function alignWords(pieces, reference) {
  const own = listWords(pieces);
  const wanted = listWords(reference);
  const partner = new Array(pieces.length).fill(-1);
  if (own.length * wanted.length > MOST_CELLS) return null;

  // The longest common subsequence, from the end to the beginning
  const width = wanted.length + 1;
  const longest = new Uint16Array((own.length + 1) * width);
  const isSame = (i, j) => pieces[own[i]].text === reference[wanted[j]].text;
  for (let i = own.length - 1; i >= 0; i--) {
    for (let j = wanted.length - 1; j >= 0; j--) {
      const at = i * width + j;
      longest[at] = isSame(i, j) ? longest[at + width + 1] + 1 : Math.max(longest[at + width], longest[at + 1]);
    }
  }

  // Back along it: each common word meets its partner
  let [i, j] = [0, 0];
  while (i < own.length && j < wanted.length) {
    if (isSame(i, j)) partner[own[i++]] = wanted[j++];
    else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i++;
    else j++;
  }
  return partner;
}

const listWords = (pieces) => pieces.flatMap(({ isWord }, i) => (isWord ? [i] : []));
