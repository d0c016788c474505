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
  filter?.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of first) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
  });
  addEventListener("hashchange", read);
  read();
}
