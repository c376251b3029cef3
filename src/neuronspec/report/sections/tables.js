// Tables of scores and statistics.

registerSection("tables", showTables);

function showTables() {
  for (const [group, tables] of Object.entries(data.tables)) {
    if (!isFilled(tables)) continue;
    find("tables-parts").append(
      make("h3", { class: "group-title", dir: "auto" }, group[0].toUpperCase() + group.slice(1)),
    );
    for (const table of tables) find("tables-parts").append(makeTable(group, table));
  }
}
