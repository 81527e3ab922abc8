"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return null;
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    if (text === "" || text === "-") return null;
    const number = cell.tagName === "TD" && /^[+-]?\d+(\.\d+)?(?=$|[\s*])/.exec(text);
    return number ? Number(number[0]) : text;
  };
  const compare = (a, b) =>
    typeof a === "number" || typeof b === "number"
      ? (typeof a === "number" ? 0 : 1) - (typeof b === "number" ? 0 : 1) || a - b
      : String(a).localeCompare(String(b), "en", { numeric: true, sensitivity: "base" });

  // Rows without a value stay last in both directions; the third press brings the first order back.
  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    table.firstOrder ??= [...body.rows];
    const rows = table.firstOrder.map((row) => [value(row, column), row]);
    if (direction) {
      rows.sort(([a], [b]) => (a === null ? 1 : 0) - (b === null ? 1 : 0) || (a === null ? 0 : direction * compare(a, b)));
    }
    body.append(...rows.map(([, row]) => row));
  };

  const press = (head) => {
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    const state = next[head.getAttribute("aria-sort") ?? "none"];
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", state);
    sort(head.closest("table"), head.cellIndex, { none: 0, ascending: 1, descending: -1 }[state]);
  };

  for (const head of document.querySelectorAll("table.sortable thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => press(head));
  }

  // Boxes that scroll must be reachable by keyboard.
  for (const box of document.querySelectorAll(".scroll")) box.tabIndex = 0;

  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (link && link.hash === location.hash) reveal();
  });
  reveal();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
    closed = [];
  });
})();
