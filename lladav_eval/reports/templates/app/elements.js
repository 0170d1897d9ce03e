/* Building elements. */

const byId = (id) => document.getElementById(id);

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

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, label]) => {
    const option = make("option", "", label);
    option.value = key;
    return option;
  }));
  select.value = value;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
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
