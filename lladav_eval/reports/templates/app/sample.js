/* One sample: its media, its question, and what each run answered. */

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
  const known = (value) => (value === null ? "-" : value);
  add("forward passes", known(side.passes));
  add("seconds", side.seconds === null ? "-" : Number(side.seconds.toPrecision(3)));
  add("tokens", known(side.tokens));
  add("ended by", side.stop);
  box.append(facts);
  return box;
}
