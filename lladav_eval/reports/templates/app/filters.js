/* Filters: which samples are listed. */

let shown = []; // row numbers that pass the filters
let texts = null; // lower-case text of every row, or null until a search needs it
let searchRun = 0;

function passes(row, filter) {
  if (filter.task !== "" && index.task[row] !== Number(filter.task)) return false;
  if (filter.category !== "" && index.category[row] !== Number(filter.category)) return false;
  const side = filter.in === "1" && two() ? 1 : 0;
  if (filter.status !== "") {
    const status = index.status[side][row];
    if (status < 0 || index.statuses[status] !== filter.status) return false;
  }
  if (filter.outcome !== "" && outcome(index.value[side][row]) !== filter.outcome) return false;
  return filter.change === "" || !two() || changeOf(row, filter.change);
}

function outcome(value) {
  if (value === null) return "none";
  return value >= 1 ? "right" : value <= 0 ? "wrong" : "partly";
}

function changeOf(row, wanted) {
  const inFirst = index.status[0][row] >= 0;
  const inSecond = index.status[1][row] >= 0;
  if (wanted === "one") return inFirst !== inSecond;
  const before = index.value[0][row];
  const after = index.value[1][row];
  if (!inFirst || !inSecond || before === null || after === null) return false;
  if (wanted === "flipped") return before !== after;
  if (wanted === "better") return after > before;
  if (wanted === "worse") return after < before;
  return after === before;
}

async function filterRows() {
  const run = ++searchRun;
  const filter = state;
  const kept = [];
  for (let row = 0; row < count; row += 1) if (passes(row, filter)) kept.push(row);
  const needle = filter.text.trim().toLowerCase();
  if (!needle) return finish(kept, "");
  if (!texts) texts = new Array(count).fill(null);
  const found = [];
  let position = 0;
  while (position < kept.length) {
    const number = partOf(index.parts, kept[position]);
    const end = number + 1 < index.parts.length ? index.parts[number + 1] : count;
    const rows = await loadPart("samples", number);
    if (run !== searchRun) return null;
    for (; position < kept.length && kept[position] < end; position += 1) {
      const row = kept[position];
      if (texts[row] === null) texts[row] = searchText(rows.get(row));
      if (texts[row].includes(needle)) found.push(row);
    }
    if (position < kept.length && number % 8 === 7) {
      finish(found, `searched ${Math.round(100 * position / kept.length)} %`);
      await new Promise((resolve) => setTimeout(resolve));
      if (run !== searchRun) return null;
    }
  }
  return finish(found, "");
}

function searchText(sample) {
  const found = [sample.prompt, sample.target];
  for (const side of sample.runs) {
    if (side) found.push(side.prompt || "", side.text, side.extracted || "", side.error || "");
  }
  return found.join("\n").toLowerCase();
}

function finish(rows, progress) {
  shown = rows;
  renderList(progress);
  return rows;
}

function renderFilters() {
  const text = byId("f-text");
  if (document.activeElement !== text) text.value = state.text;
  fill(byId("f-task"), [["", "all"], ...index.tasks.map((task, place) => [String(place), task.name])], state.task);
  const categories = state.task === "" ? [] : (index.tasks[Number(state.task)] || { categories: [] }).categories;
  fill(byId("f-category"), [["", "all"], ...categories.map((name, place) => [String(place), name])], state.category);
  byId("f-category").disabled = categories.length === 0;
  fill(byId("f-status"), [["", "all"], ...index.statuses.map((name) => [name, name])], state.status);
  const outcomes = [["right", "right"], ["wrong", "wrong"], ["partly", "partly right"], ["none", "no value"]];
  fill(byId("f-outcome"), [["", "all"], ...outcomes], state.outcome);
  if (two()) {
    fill(byId("f-in"), [["", "A"], ["1", "B"]], state.in);
    const changes = [["flipped", "any flip"], ["better", "B better"], ["worse", "A better"], ["same", "same value"],
      ["one", "in one run only"]];
    fill(byId("f-change"), [["", "all"], ...changes], state.change);
  }
}
