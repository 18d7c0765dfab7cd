(() => {
  const board = document.getElementById("board");
  if (!board) return;
  const body = board.tBodies[0];
  const heads = [...board.tHead.rows[0].cells];
  let column = null, down = false;
  const key = (row) => row.cells[column].dataset.order;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    // What has no figure stays last, whichever way the rest is turned.
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return down ? -order : order;
  };
  const sort = (chosen, turned) => {
    column = chosen;
    down = turned;
    heads.forEach((head, k) => head.toggleAttribute("aria-sort", k === column));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...body.rows].sort(compare));
    document.getElementById("sort").value = column;
  };
  board.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const chosen = Number(button.dataset.column);
    sort(chosen, chosen === column ? !down : heads[chosen].classList.contains("n"));
  });
  document.getElementById("sort").addEventListener("change", (event) => {
    const chosen = Number(event.target.value);
    sort(chosen, heads[chosen].classList.contains("n"));
  });
  document.getElementById("turn").addEventListener("click", () => sort(column ?? 0, !down));
})();
