"use strict";
const methods = JSON.parse(document.getElementById("report-data").textContent).methods;

function valueOf(row, column) {
  const method = methods[Number(row.dataset.method)];
  if (column === "name") return method.name;
  return column in method.values ? method.values[column].mean : null;
}

function compare(a, b) {
  return typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
}

function sort(table, button) {
  const heading = button.closest("th");
  const before = heading.getAttribute("aria-sort");
  const first = button.dataset.better === "higher" ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? second : first;
  for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[table.tBodies.length - 1]; // what is no net stays above
  const rows = Array.from(body.rows, (row) => ({ row, value: valueOf(row, button.dataset.column) }));
  // Rows without a number stay below in both orders.
  const known = rows.filter(({ value }) => value !== null).sort((a, b) => sign * compare(a.value, b.value));
  const unknown = rows.filter(({ value }) => value === null);
  body.append(...known.concat(unknown).map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const button of table.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(table, button));
  }
}
