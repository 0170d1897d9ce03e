/* The report's page: lists, filters and shows samples, and plays traces. No library, no network.
 *
 * Untrusted text is shown by textContent alone; nothing here parses HTML. Data files in data/ call lladavReport.
 */
"use strict";

var lladavReport = (() => {
  const PAGE = 50;
  const STEP_MS = 500;
  const byId = (id) => document.getElementById(id);
  let index = null;
  let count = 0;
  let shown = []; // row numbers that pass the filters
  let state = null;
  let texts = null; // lower-case text of every row, or null until a search needs it
  let searchRun = 0;
  let player = null;

  /* Building elements */

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) show(element, text);
    return element;
  }

  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

  /** Put text into an element, with characters that can't be seen named instead. */
  function show(element, text) {
    const value = String(text);
    let from = 0;
    for (const match of value.matchAll(HIDDEN)) {
      element.append(value.slice(from, match.index));
      const sign = document.createElement("span");
      sign.className = "hidden-character";
      sign.textContent = "U+" + match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      element.append(sign);
      from = match.index + match[0].length;
    }
    element.append(value.slice(from));
  }

  function button(label, action, title) {
    const element = make("button", "", label);
    element.type = "button";
    if (title) {
      element.title = title;
      element.setAttribute("aria-label", title);
    }
    element.addEventListener("click", action);
    return element;
  }

  function problem(text) {
    const place = byId("problem");
    place.textContent = text;
    place.hidden = false;
  }

  /* Data files: a page from disk may not fetch, so each part is a script that calls part() */

  const waiting = new Map();
  const parts = { samples: new Map(), trace: new Map() };
  let tokenTexts = null;

  function load(name) {
    if (!waiting.has(name)) {
      waiting.set(name, new Promise((resolve, reject) => {
        const element = document.createElement("script");
        element.src = "data/" + name;
        element.onload = () => { element.remove(); resolve(); };
        element.onerror = () => {
          element.remove();
          waiting.delete(name);
          reject(new Error(`data/${name} can't be loaded: copy the report's folder as a whole`));
        };
        document.head.append(element);
      }));
    }
    return waiting.get(name);
  }

  function part(kind, number, rows) {
    parts[kind].set(number, new Map(rows));
  }

  function tokens(tables) {
    tokenTexts = tables.map((table) => new Map(table));
  }

  /** Which part holds a row: the last one that starts at it or before. */
  function partOf(starts, row) {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (starts[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  async function loadPart(kind, number) {
    if (!parts[kind].has(number)) await load(`${kind}-${String(number).padStart(4, "0")}.js`);
    return parts[kind].get(number);
  }

  const sampleOf = async (row) => (await loadPart("samples", partOf(index.parts, row))).get(row);

  async function traceOf(row) {
    if (!tokenTexts) await load("tokens.js");
    return (await loadPart("trace", partOf(index.traces, row))).get(row);
  }

  /* State in the address, so that every view can be linked to */

  const FILTERS = ["text", "task", "category", "in", "status", "outcome", "change"];

  function readAddress() {
    const [view, query] = decodeSafely(location.hash.slice(1)).split(/\?(.*)/s);
    const given = new URLSearchParams(query || "");
    const found = { view: view.split("-")[0] || "overview", anchor: view, page: Number(given.get("page")) || 0 };
    for (const name of FILTERS) found[name] = given.get(name) || "";
    found.open = given.get("open") || "";
    if (!["overview", "tasks", "samples"].includes(found.view)) found.view = "overview";
    return found;
  }

  function decodeSafely(text) {
    // The query part is decoded by URLSearchParams; only its separators may come encoded.
    return text.replace(/^([a-z]+)%3F/i, "$1?");
  }

  function address(changes) {
    const next = { ...state, ...changes };
    const query = new URLSearchParams();
    for (const name of FILTERS) if (next[name] !== "") query.set(name, next[name]);
    if (next.page) query.set("page", next.page);
    if (next.open) query.set("open", next.open);
    const text = query.toString();
    return "#samples" + (text ? "?" + text : "");
  }

  function go(changes, replace) {
    const target = address({ view: "samples", ...changes });
    if (replace) {
      history.replaceState(null, "", target);
      return render();
    }
    location.hash = target;
    return undefined;
  }

  /* Filters */

  const two = () => index.runs.length === 2;
  const rowName = (row) => `${index.tasks[index.task[row]].name}:${index.doc[row]}`;

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

  /* Selects */

  function fill(select, options, value) {
    select.replaceChildren(...options.map(([key, label]) => {
      const option = make("option", "", label);
      option.value = key;
      return option;
    }));
    select.value = value;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
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

  /* List */

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

  /* One sample */

  async function renderDetail() {
    const place = byId("detail");
    byId("browser").dataset.open = state.open ? "yes" : "no";
    if (place.dataset.open === state.open) return;
    place.dataset.open = state.open;
    stopPlayer();
    if (!state.open) {
      place.replaceChildren(make("p", "quiet", "Choose a sample."));
      return;
    }
    const wanted = state.open;
    const row = findRow(wanted);
    if (row < 0) {
      place.replaceChildren(make("p", "", `There is no sample ${wanted}.`));
      return;
    }
    const sample = await sampleOf(row);
    if (state.open !== wanted) return;
    place.replaceChildren(...detailParts(row, sample));
    place.scrollTop = 0;
    if (matchMedia("(max-width: 60rem)").matches) place.scrollIntoView();
    place.focus({ preventScroll: true });
  }

  function findRow(name) {
    const cut = name.lastIndexOf(":");
    const task = index.tasks.findIndex((entry) => entry.name === name.slice(0, cut));
    const doc = Number(name.slice(cut + 1));
    for (let row = 0; row < count; row += 1) if (index.task[row] === task && index.doc[row] === doc) return row;
    return -1;
  }

  function detailParts(row, sample) {
    const bar = make("div", "bar-of-buttons");
    bar.append(
      button("Back to the list", () => go({ open: "" })),
      button("‹", () => move(-1), "Previous sample"),
      button("›", () => move(1), "Next sample"),
    );
    const title = make("h3", "", `${index.tasks[index.task[row]].name} ${index.doc[row]}`);
    const category = index.category[row];
    if (category >= 0) title.append(" ", make("span", "quiet", index.tasks[index.task[row]].categories[category]));
    const found = [bar, title, ...mediaParts(sample.media), field("Prompt", sample.prompt)];
    found.push(field("Right answer", sample.target === "" ? null : sample.target));
    const runs = make("div", "runs");
    sample.runs.forEach((side, number) => runs.append(runPart(row, side, number)));
    found.push(runs);
    return found;
  }

  function mediaParts(media) {
    if (!media) return [];
    const found = [];
    if (media.files.length) {
      const strip = make("div", media.video ? "media video" : "media");
      media.files.forEach(([name, width, height], number) => {
        const image = document.createElement("img");
        image.loading = "lazy";
        image.decoding = "async";
        image.width = width;
        image.height = height;
        image.alt = `${media.video ? "Frame" : "Picture"} ${number + 1} of ${media.files.length}`;
        if (Math.max(width, height) < 160) image.className = "tiny";
        image.src = "media/" + name;
        const link = document.createElement("a");
        link.href = image.src;
        link.target = "_blank";
        link.rel = "noopener";
        link.append(image);
        strip.append(link);
      });
      found.push(strip);
    }
    if (media.note) found.push(make("p", "note", `Picture: ${media.note}`));
    return found;
  }

  function field(label, text, className) {
    const box = make("div", "field" + (className ? " " + className : ""));
    box.append(make("h4", "", label));
    if (text === null || text === undefined) box.append(make("p", "quiet", "none"));
    else if (text === "") box.append(make("p", "quiet", "empty"));
    else {
      const block = make("pre", "", text);
      block.dir = "auto";
      block.tabIndex = 0;
      block.setAttribute("aria-label", label);
      box.append(block);
    }
    return box;
  }

  function runPart(row, side, number) {
    const box = make("section", "run");
    const title = make("h4", "run-title");
    if (two()) {
      const letter = "AB"[number];
      title.append(make("span", "tag " + letter, letter), " ", make("bdi", "", index.runs[number].label), " ");
    }
    title.append(badge(row, number));
    box.append(title);
    if (!side) {
      box.append(make("p", "quiet", "This run doesn't have the sample."));
      return box;
    }
    if (side.error) box.append(field("Error", side.error, "error"));
    if (side.prompt !== null) box.append(field("Prompt of this run", side.prompt));
    box.append(field("Answer", side.text));
    if (side.extracted === null) {
      const unparsed = index.statuses[index.status[number][row]] === "unparsed";
      if (unparsed) box.append(make("p", "quiet small", "Extracted: nothing."));
    } else if (side.extracted === side.text) {
      box.append(make("p", "quiet small", "Extracted: the whole answer."));
    } else {
      box.append(field("Extracted", side.extracted));
    }
    if (side.traced) {
      const place = make("div", "player");
      place.append(make("p", "quiet", "Loading the steps."));
      box.append(place);
      traceOf(row).then(
        (steps) => { if (place.isConnected) buildPlayer(place, row, steps[number], number); },
        (error) => problem(error.message),
      );
    }
    const facts = make("dl", "facts");
    const add = (name, value) => {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd", "", value));
      facts.append(pair);
    };
    for (const [name, value] of side.metrics) add(name, Number(value.toFixed(4)));
    add("forward passes", side.passes);
    add("seconds", Number(side.seconds.toPrecision(3)));
    add("tokens", side.tokens);
    add("ended by", side.stop);
    box.append(facts);
    return box;
  }

  /* Player: the answer being filled in */

  function stopPlayer() {
    if (player) player.stop();
    player = null;
  }

  function tokenLabel(side, token) {
    if (!index.decoded[side]) return String(token);
    const text = tokenTexts[side].get(token);
    return text ? text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/ /g, "␣") : `#${token}`;
  }

  function layOut(row, steps, side) {
    const settings = index.tasks[index.task[row]].settings[side] || {};
    let length = 0;
    for (const [, , positions] of steps) for (const position of positions) length = Math.max(length, position + 1);
    length = Math.max(length, Number(settings.gen_length) || 0);
    return { length, block: Number(settings.block_length) || length || 1, random: settings.remasking === "random" };
  }

  function buildPlayer(place, row, steps, side) {
    const layout = layOut(row, steps, side);
    const cells = new Map();
    const board = make("div", "board");
    board.setAttribute("role", "group");
    board.setAttribute("aria-label", "Answer positions");
    steps.forEach(([, , positions, ids, confidences], at) => {
      positions.forEach((position, item) => {
        const seen = cells.get(position) || [];
        seen.push({ at, token: ids[item], confidence: confidences[item] });
        cells.set(position, seen);
      });
    });
    const before = [...cells.keys()].filter((position) => position < 0).sort((a, b) => a - b);
    const drawn = [];
    const addBlock = (label, positions) => {
      const block = make("div", "block");
      block.append(make("span", "block-name", label));
      for (const position of positions) {
        const cell = make("span", "cell");
        const token = make("bdi", "token");
        const sure = make("small");
        cell.append(token, sure);
        block.append(cell);
        drawn.push({ position, cell, token, sure, fills: cells.get(position) || [] });
      }
      board.append(block);
    };
    if (before.length) addBlock("in the prompt", before);
    for (let start = 0; start < layout.length; start += layout.block) {
      const end = Math.min(start + layout.block, layout.length);
      const label = layout.block >= layout.length ? "answer" : `block ${start / layout.block + 1}`;
      addBlock(label, Array.from({ length: end - start }, (_, item) => start + item));
    }
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    slider.max = steps.length;
    slider.value = steps.length;
    slider.setAttribute("aria-label", "Step");
    const says = make("p", "says");
    says.setAttribute("role", "status");
    const speed = document.createElement("select");
    speed.setAttribute("aria-label", "Speed");
    fill(speed, [["0.5", "½×"], ["1", "1×"], ["2", "2×"], ["8", "8×"]], "1");
    const playing = { timer: null, at: steps.length };
    const me = { stop, toggle, jump: (by) => { stop(); draw(playing.at + by); } };
    const play = button("Play", () => { player = me; toggle(); });

    function draw(at) {
      playing.at = Math.min(Math.max(0, at), steps.length);
      slider.value = playing.at;
      let filled = 0;
      for (const { position, cell, token, sure, fills } of drawn) {
        const fillNow = fills.filter((entry) => entry.at < playing.at).pop();
        cell.className = "cell";
        token.replaceChildren();
        if (!fillNow) {
          token.textContent = "▒";
          sure.textContent = "\u00a0";
          cell.classList.add("open");
          cell.title = `position ${position}: masked`;
          continue;
        }
        filled += 1;
        const { confidence } = fillNow;
        show(token, tokenLabel(side, fillNow.token));
        sure.textContent = confidence === null ? "?" : confidence.toFixed(2);
        const level = confidence === null ? "unknown" : Math.min(4, Math.max(0, Math.floor(confidence * 5)));
        cell.classList.add("sure-" + level);
        if (fillNow.at === playing.at - 1) cell.classList.add("new");
        cell.title = `position ${position}, token ${fillNow.token}, step ${steps[fillNow.at][0] + 1}, ` +
          (confidence === null ? "no confidence" : `confidence ${confidence.toFixed(4)}`);
      }
      const last = playing.at ? steps[playing.at - 1] : null;
      says.textContent = `Step ${playing.at} of ${steps.length}` + (last ? `, block ${last[1] + 1}` : "") +
        `: ${filled} of ${drawn.length} positions filled`;
      if (playing.at === steps.length) stop();
    }

    function stop() {
      clearInterval(playing.timer);
      playing.timer = null;
      play.textContent = "Play";
    }

    function toggle() {
      if (playing.timer !== null) return stop();
      if (playing.at === steps.length) draw(0);
      play.textContent = "Pause";
      playing.timer = setInterval(() => draw(playing.at + 1), STEP_MS / Number(speed.value));
      return undefined;
    }

    speed.addEventListener("change", () => { if (playing.timer !== null) { stop(); toggle(); } });
    slider.addEventListener("input", () => { stop(); player = me; draw(Number(slider.value)); });
    const controls = make("div", "bar-of-buttons");
    controls.append(play, button("−1", () => { player = me; me.jump(-1); }, "One step back"),
      button("+1", () => { player = me; me.jump(1); }, "One step forward"), slider, speed);
    const notes = [];
    if (!index.decoded[side]) notes.push(`Token ids are shown: ${index.undecoded[side]}.`);
    if (layout.random) notes.push("Random remasking: the figures are the random order, not the model's confidence.");
    place.replaceChildren(make("h4", "", "How the answer was filled in"), controls, says, board, legend(layout.random),
      ...notes.map((note) => make("p", "quiet small", note)));
    if (!player) player = me;
    draw(steps.length);
  }

  function legend(random) {
    const line = make("p", "legend");
    line.append(random ? "order " : "confidence ");
    ["0", ".2", ".4", ".6", ".8"].forEach((from, level) => line.append(make("span", "cell sure-" + level, from)));
    line.append(" to 1; outlined: filled at this step");
    return line;
  }

  /* Page */

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

  return { index: start, part, tokens };
})();
