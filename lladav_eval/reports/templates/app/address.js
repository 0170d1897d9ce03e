/* State in the address, so that every view can be linked to. */

let state = null;
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
