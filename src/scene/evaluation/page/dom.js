// Elements, and figures as text. Names from the documents only ever become text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);
const distinct = (values) => [...new Set(values)];
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function fixed(value, decimals) {
  return isNumber(value) ? value.toFixed(decimals).replace("-", "\u2212") : "N/A";
}

function rateText(kbps) {
  if (!isNumber(kbps)) return "N/A";
  return `${kbps < 100 ? kbps.toPrecision(3) : Math.round(kbps).toLocaleString("en-GB")} kbit/s`;
}

let choices = 0;

// A labelled choice. `options` are [value, text]; with a single one there is nothing to choose and nothing is shown.
function choice(label, options, onchange, chosen) {
  const id = `choice-${(choices += 1)}`;
  const select = h("select", { id, onchange: () => onchange(select.value) });
  const element = h("div", { class: "choice" }, h("label", { for: id }, label), select);
  const set = (entries, value) => {
    select.replaceChildren(...entries.map(([key, text]) => h("option", { value: key }, text)));
    if (entries.some(([key]) => key === value)) select.value = value;
    element.hidden = entries.length < 2;
  };
  set(options, chosen);
  return { element, set, get value() { return select.value; } };
}

function reading(...paragraphs) {
  return h("div", { class: "reading" }, paragraphs.map((text) => h("p", {}, text)));
}
