// Tables that are sorted by their titles.

// A table comes as the rows of Table.to_json, or described whole.
function readTable(table) {
  if (!Array.isArray(table)) {
    const { header, sections } = table;
    const titled = isFilled(sections);
    const add = (row, i) => [...(titled ? [{ value: sections[i], text: sections[i] }] : []), ...row];
    return { ...table, header: titled ? ["section", ...header] : header, rows: table.rows.map(add) };
  }
  const header = Object.keys(table[0] ?? {});
  const rows = table.map((row) =>
    header.map((key) => ({ value: row[key], text: typeof row[key] === "string" ? row[key] : formatNumber(row[key]) })),
  );
  return { title: "", header, rows, notes: [] };
}

function makeTable(group, table) {
  const { title, header, rows, notes } = readTable(table);
  const isText = header.map((_, i) => rows.some((row) => typeof row[i].value === "string"));
  const body = make("tbody");
  const sort = (column, descending) => {
    const worth = ({ value }) => value ?? null;
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
    const both = (a, b) =>
      (worth(a[column]) === null) - (worth(b[column]) === null) ||
      (descending ? -1 : 1) * (worth(a[column]) === null ? 0 : compare(worth(a[column]), worth(b[column])));
    fill([...rows].sort(both));
  };
  const fill = (sorted) =>
    body.replaceChildren(
      ...sorted.map((row) =>
        make(
          "tr",
          {},
          ...row.map((cell, i) =>
            make(
              "td",
              { class: isText[i] ? "text" : "", dir: "auto" },
              cell.bold ? make("b", {}, cell.text) : cell.text,
            ),
          ),
        ),
      ),
    );
  const heads = header.map((text, i) =>
    make(
      "th",
      { scope: "col", class: isText[i] ? "text" : "" },
      make(
        "button",
        {
          type: "button",
          dir: "auto",
          onclick: () => {
            const descending = heads[i].getAttribute("aria-sort") === "ascending";
            heads.forEach((head) => head.removeAttribute("aria-sort"));
            heads[i].setAttribute("aria-sort", descending ? "descending" : "ascending");
            sort(i, descending);
          },
        },
        text,
      ),
    ),
  );
  fill(rows);
  const whole = make(
    "table",
    {},
    title ? make("caption", { dir: "auto" }, title) : null,
    make("thead", {}, make("tr", {}, ...heads)),
    body,
  );
  const scroll = make("div", { class: "scroll tall", tabindex: 0, role: "group", "aria-label": title || group }, whole);
  return make("div", { class: "table-block" }, scroll, ...(notes ?? []).map(makeNote));
}
