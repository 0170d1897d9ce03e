/* The player: an answer being filled in, step by step. */

const STEP_MS = 500;
let player = null;

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
