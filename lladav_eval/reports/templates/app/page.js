/* The page as a whole: views, keys, and how it starts. */

async function render() {
  const before = state && state.view;
  state = readAddress();
  if (before && before !== state.view) scrollTo(0, 0);
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = section.dataset.view !== state.view;
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (state.view !== "samples") {
    stopPlayer();
    const anchor = state.anchor.startsWith("tasks-") ? byId(state.anchor) : null;
    if (anchor) {
      anchor.scrollIntoView();
      anchor.focus({ preventScroll: true });
    }
    return;
  }
  renderFilters();
  renderAbout();
  try {
    await Promise.all([filterRows(), renderDetail()]);
  } catch (error) {
    problem(error.message);
  }
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input:not([type=range]), select, textarea");
  if (event.key === "Escape" && state.view === "samples") {
    if (typing) typing.blur();
    else if (state.open) closeDetail();
    return;
  }
  if (typing) return;
  if (event.key === "/") {
    event.preventDefault();
    if (state.view !== "samples") go({});
    setTimeout(() => byId("f-text").focus());
    return;
  }
  if (state.view !== "samples") return;
  const action = {
    j: () => move(1), k: () => move(-1), "[": () => turn(-1), "]": () => turn(1),
    p: () => player && player.toggle(), ",": () => player && player.jump(-1), ".": () => player && player.jump(1),
  }[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
}

async function closeDetail() {
  const name = state.open;
  await go({ open: "" }, true);
  const row = [...byId("rows").children].find((line) => rowName(Number(line.dataset.row)) === name);
  if (row) row.querySelector("a").focus();
}

function start(value) {
  index = value;
  count = index.task.length;
  const heads = ["#", "Task", ...(two() ? ["A", "B"] : ["Answer"]), "Right"];
  byId("list-head").replaceChildren(...heads.map((text) => {
    const head = make("th", "", text);
    head.scope = "col";
    return head;
  }));
  for (const name of FILTERS.slice(1)) {
    const select = byId("f-" + name);
    if (!select) continue;
    select.addEventListener("change", () => {
      go({ [name]: select.value, page: 0, ...(name === "task" ? { category: "" } : {}) }, true);
    });
  }
  let timer = null;
  byId("f-text").addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => go({ text: event.target.value, page: 0 }, true), 200);
  });
  byId("f-reset").addEventListener("click", () => {
    byId("f-text").value = "";
    go(Object.fromEntries([...FILTERS, "open"].map((name) => [name, ""]).concat([["page", 0]])), true);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", render);
  render().then(() => { document.documentElement.dataset.ready = "yes"; });
}
