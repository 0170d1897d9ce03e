/* The list of samples, a page of it at a time, and what is known of the task or category chosen. */

const PAGE = 50;

/** What a chosen task or category scored, with all that must stand beside it. */
function renderAbout() {
  const place = byId("about");
  const task = state.task === "" ? undefined : index.tasks[Number(state.task)];
  place.hidden = task === undefined;
  if (!task) return;
  const head = index.heads[Number(state.task)];
  const category = state.category === "" ? undefined : task.categories[Number(state.category)];
  const figures = category === undefined ? head.all : head.categories[Number(state.category)];
  const title = make("h3", "", category === undefined ? task.name : `${task.name} / ${category}`);
  title.append(" ", make("span", "quiet", category === undefined ? head.metric : head.categoryMetric));
  const lines = figures.map((figure, side) => {
    const line = make("p", "figure");
    if (two()) line.append(make("span", "tag " + "AB"[side], "AB"[side]), " ");
    line.append(make("b", "", figure ? figure[0].toFixed(1) : "-"));
    if (!figure) return line;
    const interval = figure[1] === null ? "" : ` (95 %: ${figure[1].toFixed(1)} to ${figure[2].toFixed(1)})`;
    line.append(`${interval}, n = ${figure[3]} `, make("span", "quiet", index.runs[side].facts));
    return line;
  });
  place.replaceChildren(title, ...lines);
}

function badge(row, side) {
  const number = index.status[side][row];
  if (number < 0) return make("span", "badge absent", "absent");
  const status = index.statuses[number];
  if (status !== "scored") return make("span", "badge " + status, status);
  const value = index.value[side][row];
  const kind = outcome(value);
  const label = { right: "right", wrong: "wrong", none: "scored" }[kind] || String(value);
  return make("span", "badge " + kind, kind === "right" && value !== 1 ? String(value) : label);
}

function renderList(progress) {
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  const page = Math.min(Math.max(0, state.page), pages - 1);
  const rows = byId("rows");
  rows.replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(listRow));
  const all = count === shown.length ? "" : ` of ${count.toLocaleString("en")}`;
  byId("count").textContent = `${shown.length.toLocaleString("en")}${all} samples` + (progress ? `, ${progress}` : "");
  byId("page").textContent = `page ${page + 1} of ${pages}`;
  byId("previous").disabled = page === 0;
  byId("next").disabled = page === pages - 1;
  if (shown.length === 0 && !progress) {
    const cell = make("td", "quiet", "No sample passes the filters.");
    cell.colSpan = byId("list-head").children.length;
    const line = make("tr");
    line.append(cell);
    rows.append(line);
  }
}

function listRow(row) {
  const line = make("tr");
  const name = rowName(row);
  line.dataset.row = row;
  if (name === state.open) line.setAttribute("aria-current", "true");
  const head = make("th");
  head.scope = "row";
  const link = make("a", "", index.doc[row]);
  link.href = address({ open: name });
  link.setAttribute("aria-label", `${index.tasks[index.task[row]].name}, sample ${index.doc[row]}`);
  head.append(link);
  line.append(head, make("td", "task", index.tasks[index.task[row]].name));
  index.runs.forEach((run, side) => {
    const cell = make("td", "answer");
    cell.append(badge(row, side), " ");
    cell.append(make("bdi", "", index.answer[side][row]));
    line.append(cell);
  });
  const target = make("td", "target");
  target.append(make("bdi", "", index.target[row]));
  line.append(target);
  line.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !String(getSelection())) go({ open: name });
  });
  return line;
}

function turn(by) {
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  const page = Math.min(Math.max(0, state.page + by), pages - 1);
  if (page !== state.page) go({ page });
}

/** Open the next or previous sample of the list. */
function move(by) {
  const at = shown.findIndex((row) => rowName(row) === state.open);
  const next = at < 0 ? state.page * PAGE : at + by;
  if (next < 0 || next >= shown.length) return;
  go({ open: rowName(shown[next]), page: Math.floor(next / PAGE) });
}
