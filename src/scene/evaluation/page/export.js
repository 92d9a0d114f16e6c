// Figures to take away: tables and points as CSV, plots as PNG.

function save(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const fileName = (...words) => words.filter(Boolean).join("-").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 80) || "report";

// A spreadsheet takes what begins with = + @ for a formula, so text gets a quote before it; figures stay figures.
function csvField(value) {
  if (value === null || value === undefined) return "";
  const text = String(value);
  const safe = /^[=+@\t\r-]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?( \[\d+\/\d+\])?$/i.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const csv = (rows) => new Blob([`\ufeff${rows.map((row) => row.map(csvField).join(",")).join("\r\n")}\r\n`], { type: "text/csv" });

// A cell without its small print and asterisk.
function cellText(cell) {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll(".small").forEach((small) => small.remove());
  return copy.textContent.trim().replaceAll("\u2212", "-").replace(/\*$/, "");
}

function tableRows(table) {
  const grouped = table.querySelector("th[scope=rowgroup]") !== null;
  const rows = [[...(grouped ? ["Codec"] : []), ...[...table.tHead.rows[0].cells].map(cellText)]];
  for (const body of table.tBodies) {
    let group = [];
    for (const row of body.rows) {
      if (row.cells[0].scope === "rowgroup") group = [cellText(row.cells[0])];
      else rows.push([...group, ...[...row.cells].map(cellText)]);
    }
  }
  return rows;
}

function startTableExport() {
  for (const table of document.querySelectorAll(".scroll table")) {
    const name = table.caption.textContent;
    table.caption.append(" ", h("button", {
      type: "button", class: "push", "aria-label": `${name}: save as CSV`, onclick: () => save(`${fileName(name)}.csv`, csv(tableRows(table))),
    }, "CSV"));
  }
}

// Every measured point with all its digits.
function savePoints() {
  const columns = distinct(points.flatMap((point) => Object.keys(point)));
  save("points.csv", csv([columns, ...points.map((point) => columns.map((column) => point[column]))]));
}

const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "font-size"];
const ENLARGED = 2;

// A plot as it is seen, with its title and legend, twice as fine.
async function savePlot(picture, legend, title) {
  const [width, height] = picture.viewBox.baseVal.width ? [picture.viewBox.baseVal.width, picture.viewBox.baseVal.height] : [0, 0];
  if (!width) return;
  const copy = picture.cloneNode(true);
  const originals = [picture, ...picture.querySelectorAll("*")];
  // The copy is a document of its own, which the page's style does not reach.
  [copy, ...copy.querySelectorAll("*")].forEach((element, index) => {
    const style = getComputedStyle(originals[index]);
    for (const name of DRAWN) element.setAttribute(name, style.getPropertyValue(name));
  });
  const page = getComputedStyle(document.body);
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("width", width * ENLARGED);
  copy.setAttribute("height", height * ENLARGED);
  copy.setAttribute("font-family", page.fontFamily);
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  const entries = [...legend.querySelectorAll("[aria-pressed=true]")].map((button) => [getComputedStyle(button.querySelector("svg")).color, button.textContent]);
  const canvas = h("canvas", { width: width * ENLARGED, height: (height + 34 + 26 * Math.ceil(entries.length / 3)) * ENLARGED });
  const context = canvas.getContext("2d");
  context.scale(ENLARGED, ENLARGED);
  context.fillStyle = getComputedStyle(picture).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 30, width, height);
  context.textBaseline = "middle";
  context.fillStyle = page.color;
  context.font = `600 15px ${page.fontFamily}`;
  context.fillText(title, 14, 16, width - 28);
  context.font = `13px ${page.fontFamily}`;
  entries.forEach(([colour, text], index) => {
    const [x, y] = [14 + (index % 3) * (width / 3), height + 40 + 26 * Math.floor(index / 3)];
    context.fillStyle = colour;
    context.fillRect(x, y - 2, 24, 4);
    context.fillStyle = page.color;
    context.fillText(text, x + 32, y, width / 3 - 40);
  });
  canvas.toBlob((blob) => save(`${fileName(title)}.png`, blob), "image/png");
}

function exportButtons(...entries) {
  const button = ([text, label, onclick]) => h("button", { type: "button", class: "push", "aria-label": label, onclick }, text);
  return h("div", { class: "saves" }, h("span", {}, "Save"), entries.map(button));
}
