"""Style sheet and script of the report, which it holds itself: it is read without a network."""

CSS = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5c5c5c; --line: #c9c9c9; --paper: #fff;
  --mark: #0b5394; --shade: #f4f4f2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e0; --soft: #a5a5a0; --line: #4a4a48; --paper: #161615; --mark: #8ab8e6;
    --shade: #21211f; }
  .plot img { filter: invert(1) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 Charter, "Bitstream Charter", "Source Serif 4", Georgia, "DejaVu Serif", serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; font-weight: 600; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; font-weight: 600; break-after: avoid; }
h3 { font-size: 1rem; font-style: italic; font-weight: 400; margin: 1.2rem 0 .3rem; break-after: avoid; }
p, ul, dl, li { max-width: 44rem; margin: .4rem 0; overflow-wrap: anywhere; }
.soft, figcaption, .notes { color: var(--soft); font-size: .88rem; }
.notes p { margin: .15rem 0; }
nav { font-size: .88rem; margin: .8rem 0 1.2rem; } nav a { margin-right: 1em; white-space: nowrap; }
a { color: var(--mark); }
pre, code { font: .85em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { background: var(--shade); padding: .6rem .8rem; overflow-x: auto; }
.warning { border-left: 3px solid var(--ink); padding-left: .8rem; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .8rem; border-top: 1.5px solid var(--ink);
  border-bottom: 1.5px solid var(--ink); font-variant-numeric: lining-nums tabular-nums; }
thead { border-bottom: 1px solid var(--ink); }
th, td { padding: .22rem .5rem; text-align: left; white-space: nowrap; vertical-align: baseline; }
th { font-weight: 600; } .number { text-align: right; }
tbody tr + tr { border-top: 1px solid color-mix(in srgb, var(--line) 45%, transparent); }
tbody tr:hover { background: var(--shade); }
th:first-child, td:first-child { padding-left: .1rem; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th button:hover, th button:focus-visible { text-decoration: underline; }
th[aria-sort=ascending] button::after { content: " \\25B4"; }
th[aria-sort=descending] button::after { content: " \\25BE"; }
.filter { font-size: .88rem; color: var(--soft); display: block; }
.filter input { font: inherit; color: inherit; background: none; border: 0;
  border-bottom: 1px solid var(--line); width: 14rem; max-width: 60vw; }
figure { margin: .8rem 0 1.6rem; break-inside: avoid; }
.plot img { width: 100%; min-width: 34rem; max-width: 46rem; display: block; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; } .pictures img { max-width: 100%; }
@media screen and (max-width: 40rem) {
  th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
}
@page { size: A4 landscape; margin: 14mm; }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --mark: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .filter, nav { display: none; } .scroll { overflow: visible; }
  .plot img { filter: none; min-width: 0; max-width: 17cm; }
  table { font-size: 7pt; } th, td { padding: 1pt 3pt; } th { white-space: normal; }
  thead { display: table-header-group; break-inside: avoid; } tr { break-inside: avoid; }
  th button { display: contents; }  /* buttons are not repeated with the head that they stand in */
  tbody tr[hidden] { display: table-row; }
  pre { white-space: pre-wrap; }
}
"""
# A print shows every row, and its head on every page, whatever was filtered on the screen.

SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table[id]")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0], first = [...body.rows];
  const value = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent;
  const sort = (i, up) => {
    const rows = [...first];
    const texts = rows.some(row => value(row, i) !== "" && isNaN(value(row, i)));
    rows.sort((a, b) => {
      const x = value(a, i), y = value(b, i);
      if (x === "" || y === "") return (x === "") - (y === "");  // empty cells last, either way
      const order = texts ? (x < y ? -1 : x > y ? 1 : 0) : x - y;
      return up ? order : -order;
    });
    body.append(...rows);
    const way = up ? "ascending" : "descending";
    heads.forEach((head, j) => head.setAttribute("aria-sort", j === i ? way : "none"));
  };
  const read = () => {
    const wanted = new URLSearchParams(location.hash.slice(1)).get(table.id);
    if (!wanted) return;
    const [key, way] = wanted.split(":"), i = heads.findIndex(head => head.dataset.key === key);
    if (i >= 0) sort(i, way ? way === "up" : heads[i].dataset.best !== "most");
  };
  heads.forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    const up = now === "none" ? head.dataset.best !== "most" : now === "descending";
    const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    state.set(table.id, head.dataset.key + (up ? ":up" : ":down"));
    history.replaceState(null, "", "#" + state);
    sort(i, up);
  }));
  const filter = document.querySelector(`input[data-table="${table.id}"]`);
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\\s+/);
    for (const row of first) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
  });
  addEventListener("hashchange", read);
  read();
}
"""
