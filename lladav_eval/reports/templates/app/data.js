/* What the page knows: the index of all samples, and data files that are loaded when they are needed.
 *
 * A page from disk may not fetch, so each part is a script that calls part().
 */

let index = null;
let count = 0;
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

const two = () => index.runs.length === 2;
const rowName = (row) => `${index.tasks[index.task[row]].name}:${index.doc[row]}`;

function findRow(name) {
  const cut = name.lastIndexOf(":");
  const task = index.tasks.findIndex((entry) => entry.name === name.slice(0, cut));
  const doc = Number(name.slice(cut + 1));
  for (let row = 0; row < count; row += 1) if (index.task[row] === task && index.doc[row] === doc) return row;
  return -1;
}
