// Sorting of the table of images, and wide tables.

const body = document.querySelector("#table tbody");
const headings = [...document.querySelectorAll("#table thead button")];

// The number to sort by; undefined where there is none.
function valueOf(image, key) {
  const value = image.values[key];
  return value === "inf" ? Infinity : value === "-inf" ? -Infinity : (value ?? undefined);
}

function sortBy(key, ascending) {
  const rows = [...body.rows].map((row) => ({ row, image: data.images[row.dataset.at] }));
  const sign = ascending ? 1 : -1;
  rows.sort((a, b) => {
    if (!key) return sign * a.image.name.localeCompare(b.image.name, "en", { numeric: true });
    const [x, y] = [valueOf(a.image, key), valueOf(b.image, key)];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // undefined last
    return x === y ? 0 : sign * (x < y ? -1 : 1);
  });
  body.append(...rows.map(({ row }) => row));
  for (const button of headings) {
    const sorted = button.dataset.key === key ? (ascending ? "ascending" : "descending") : "none";
    button.parentElement.setAttribute("aria-sort", sorted);
  }
}

// Whether worst first is ascending: it is descending if lower is better. Names are ascending.
function worstFirst(key) {
  const column = data.columns.find((column) => column.key === key);
  return column ? !column.lower_is_better : true;
}

for (const button of headings) {
  button.addEventListener("click", () => {
    const key = button.dataset.key;
    const now = button.parentElement.getAttribute("aria-sort");
    sortBy(key, now === "none" ? worstFirst(key) : now === "descending");
  });
}
// A table that is wider than its frame says that it scrolls.
for (const frame of document.querySelectorAll(".scroll")) {
  const hint = create("p", "quiet hint", "The table has more columns: scroll it sideways.");
  frame.before(hint);
  new ResizeObserver(() => { hint.hidden = frame.scrollWidth <= frame.clientWidth; }).observe(frame);
}

// the first column with a value, if the wanted one has none
const measured = data.columns.filter(({ key }) => data.images.some((image) => valueOf(image, key) !== undefined));
const first = measured.find(({ key }) => key === data.start.sort) ?? measured[0];
if (first) sortBy(first.key, worstFirst(first.key));
