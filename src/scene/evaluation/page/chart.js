// A chart in SVG that is read by pointing at it, or with the arrow keys: left and right go along a curve, up and
// down to the next one.

const MARKERS = [
  (r) => `M${-r},0a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`,
  (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  (r) => `M0,${-1.2 * r}L${1.2 * r},${r}H${-1.2 * r}Z`,
  (r) => `M0,${-1.4 * r}L${1.4 * r},0L0,${1.4 * r}L${-1.4 * r},0Z`,
  (r) => `M0,${1.2 * r}L${1.2 * r},${-r}H${-1.2 * r}Z`,
  (r) => `M${-r / 3},${-r}H${r / 3}V${-r / 3}H${r}V${r / 3}H${r / 3}V${r}H${-r / 3}V${r / 3}H${-r}V${-r / 3}H${-r / 3}Z`,
  (r) => `M${-r},${-r / 2}L${-r / 2},${-r}L0,${-r / 2}L${r / 2},${-r}L${r},${-r / 2}L${r / 2},0L${r},${r / 2}L${r / 2},${r}L0,${r / 2}L${-r / 2},${r}L${-r},${r / 2}L${-r / 2},0Z`,
  (r) => `M${-1.5 * r},${-r / 2}H${1.5 * r}V${r / 2}H${-1.5 * r}Z`,
  (r) => `M${STAR.map(([x, y]) => `${x * r},${y * r}`).join("L")}Z`,
];
const STAR = [[0.0, -1.5], [0.36, -0.5], [1.43, -0.46], [0.59, 0.19], [0.88, 1.21], [0.0, 0.62], [-0.88, 1.21], [-0.59, 0.19], [-1.43, -0.46], [-0.36, -0.5]];
const DASHES = [null, "7 3", "2 3", "9 3 2 3", null, "4 2", "12 4", "6 2 1 2", "14 3"];
const MARGIN = { left: 58, right: 14, top: 12, bottom: 46 };

const lookClass = (index) => (index === 0 ? "look0" : `look${((index - 1) % 8) + 1}`);

function markerShape(index, radius = 4) {
  return s("path", { class: "marker", d: MARKERS[index % MARKERS.length](radius) });
}

// Round numbers within [low, high], about `count` of them.
function linearTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) ticks.push(index * step);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return ticks.map((value) => [value, value.toFixed(decimals).replace("-", "\u2212")]);
}

// 1, 2 and 5 of every power of ten; of a short span more.
function logTicks(low, high) {
  const build = (factors) => {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const factor of factors) {
        const value = factor * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
      }
    }
    return ticks;
  };
  let ticks = build([1, 2, 5]);
  if (ticks.length < 3) ticks = build([1, 1.5, 2, 3, 4, 5, 6, 7, 8]);
  if (ticks.length < 3) return linearTicks(low, high, 5);
  return ticks.map((value) => [value, Number(value.toPrecision(3)).toLocaleString("en-GB")]);
}

function scale(values, from, to, log) {
  const map = log ? Math.log : (value) => value;
  const [low, high] = [Math.min(...values), Math.max(...values)].map(map);
  const pad = (high - low) * 0.04 || Math.abs(low) * 0.02 || 1;
  const [first, last] = [low - pad, high + pad];
  const place = (value) => from + ((map(value) - first) / (last - first)) * (to - from);
  return { place, ends: (log ? [Math.exp(first), Math.exp(last)] : [first, last]) };
}

// `describe(series, point)` gives the lines of the readout. With `columns`, pointing picks the closest x of all curves
// rather than the closest point. Series are {method, look, points: [{x, y}], every}: with a marker at every how many points.
function makeChart({ label, columns = false, describe }) {
  const picture = s("svg", { class: "chart", tabindex: "0", role: "application", "aria-label": label, "aria-roledescription": "plot" });
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const spoken = h("p", { class: "spoken", role: "status", "aria-live": "polite" });
  const empty = h("p", { class: "empty", hidden: true }, "Nothing to draw for this choice.");
  const box = h("div", { class: "chart-box" }, picture, tip, empty, spoken);
  let series = [];
  let axes = {};
  let scales = null;
  let current = null;
  let pointer = null;

  function draw(newSeries, newAxes) {
    series = newSeries.filter((entry) => entry.points.length);
    axes = newAxes;
    current = null;
    render();
  }

  function render() {
    tip.hidden = true;
    const width = Math.max(280, box.clientWidth);
    const height = Math.round(Math.min(460, Math.max(280, width * 0.48)));
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("height", height);
    empty.hidden = series.length > 0;
    picture.replaceChildren();
    scales = null;
    if (!series.length) return;
    const all = series.flatMap((entry) => entry.points);
    const x = scale(all.map((point) => point.x), MARGIN.left, width - MARGIN.right, axes.log);
    const y = scale(all.map((point) => point.y), height - MARGIN.bottom, MARGIN.top, false);
    scales = { x, y, width, height };
    picture.append(grid(x, y, width, height), ...series.map(curve));
    picture.append(s("g", { class: "cursor" }));
    if (current) show(current.series, current.index, false);
  }

  function grid(x, y, width, height) {
    const bottom = height - MARGIN.bottom;
    const ticks = axes.log ? logTicks(...x.ends) : linearTicks(...x.ends, width / 110);
    return s(
      "g",
      { class: "grid" },
      ticks.map(([value, text]) => [
        s("line", { x1: x.place(value), x2: x.place(value), y1: MARGIN.top, y2: bottom }),
        s("text", { x: x.place(value), y: bottom + 16, "text-anchor": "middle" }, text),
      ]),
      linearTicks(...y.ends, height / 50).map(([value, text]) => [
        s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y.place(value), y2: y.place(value) }),
        s("text", { x: MARGIN.left - 6, y: y.place(value) + 4, "text-anchor": "end" }, text),
      ]),
      s("text", { class: "axis", x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 8, "text-anchor": "middle" }, axes.x),
      s("text", { class: "axis", x: -(MARGIN.top + bottom) / 2, y: 14, transform: "rotate(-90)", "text-anchor": "middle" }, axes.y),
    );
  }

  function curve(entry) {
    const places = entry.points.map((point) => [scales.x.place(point.x), scales.y.place(point.y)]);
    const line = places.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
    const every = entry.every ?? 1;
    const markers = places.filter((_, index) => index % every === entry.look % every).map(([x, y]) => {
      const marker = markerShape(entry.look);
      marker.setAttribute("transform", `translate(${x.toFixed(1)},${y.toFixed(1)})`);
      return marker;
    });
    return s(
      "g",
      { class: `series ${lookClass(entry.look)}` },
      s("path", { class: "curve", d: line, "stroke-dasharray": DASHES[entry.look % DASHES.length] }),
      markers,
    );
  }

  function show(which, index, speak) {
    current = { series: which, index };
    const point = series[which].points[index];
    const [px, py] = [scales.x.place(point.x), scales.y.place(point.y)];
    const cursor = picture.querySelector(".cursor");
    const bottom = scales.height - MARGIN.bottom;
    cursor.replaceChildren(
      s("line", { x1: px, x2: px, y1: MARGIN.top, y2: bottom }),
      columns ? "" : s("line", { x1: MARGIN.left, x2: scales.width - MARGIN.right, y1: py, y2: py }),
      s("circle", { class: lookClass(series[which].look), cx: px, cy: py, r: 7 }),
    );
    const lines = describe(series[which], point, series);
    tip.replaceChildren(...lines.map((line, row) => h("div", { class: row ? null : "tip-head" }, line)));
    tip.hidden = false;
    placeTip(px, py, bottom);
    if (speak) spoken.textContent = lines.join(", ");
  }

  // Beside the point; where there is no room on either side, in the corner that is farthest from it.
  function placeTip(px, py, bottom) {
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    let left = px + 14;
    let top = Math.max(0, Math.min(py - height / 2, bottom - height));
    if (left + width > scales.width) left = px - 14 - width;
    if (left < 0) {
      left = px < scales.width / 2 ? scales.width - width - 4 : MARGIN.left;
      top = py < bottom / 2 ? bottom - height - 4 : 4;
    }
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  }

  function clear() {
    tip.hidden = true;
    picture.querySelector(".cursor")?.replaceChildren();
  }

  function closest(event) {
    const frame = picture.getBoundingClientRect();
    const [mx, my] = [event.clientX - frame.left, event.clientY - frame.top];
    let best = null;
    series.forEach((entry, which) => entry.points.forEach((point, index) => {
      const dx = scales.x.place(point.x) - mx;
      const dy = scales.y.place(point.y) - my;
      // The nearest column first, the nearest curve within it second.
      const distance = columns ? Math.abs(dx) * 1e4 + Math.abs(dy) : dx * dx + dy * dy;
      if (!best || distance < best.distance) best = { which, index, distance };
    }));
    return best;
  }

  function onPointer(event) {
    pointer = event;
    requestAnimationFrame(() => {
      if (!pointer || !scales) return;
      const found = closest(pointer);
      pointer = null;
      if (found) show(found.which, found.index, false);
    });
  }

  function onKey(event) {
    if (!series.length) return;
    const { series: which, index } = current ?? { series: 0, index: 0 };
    const point = series[which].points[index];
    const last = series[which].points.length - 1;
    const steps = {
      ArrowLeft: () => [which, Math.max(0, index - 1)],
      ArrowRight: () => [which, Math.min(last, index + 1)],
      Home: () => [which, 0],
      End: () => [which, last],
      ArrowUp: () => neighbour(which, point, -1),
      ArrowDown: () => neighbour(which, point, 1),
    };
    if (event.key === "Escape") return clear();
    if (!steps[event.key]) return;
    event.preventDefault();
    show(...(current ? steps[event.key]() : [which, index]), true);
  }

  function neighbour(which, point, step) {
    const next = (which + step + series.length) % series.length;
    const distances = series[next].points.map((other) => Math.abs(other.x - point.x));
    return [next, distances.indexOf(Math.min(...distances))];
  }

  picture.addEventListener("pointermove", onPointer);
  picture.addEventListener("pointerdown", onPointer);
  picture.addEventListener("pointerleave", (event) => {
    // A finger that is lifted leaves what it pointed at.
    if (event.pointerType !== "mouse") return;
    pointer = null;
    clear();
  });
  picture.addEventListener("keydown", onKey);
  picture.addEventListener("focus", () => {
    if (series.length && picture.matches(":focus-visible")) show(current?.series ?? 0, current?.index ?? 0, true);
  });
  picture.addEventListener("blur", clear);
  new ResizeObserver(() => render()).observe(box);
  return { element: box, picture, draw };
}

// Entries are [method, text]; a button each, pressed while its curve is drawn.
function drawLegend(host, entries) {
  host.replaceChildren(...entries.map(([method, text]) => {
    const index = look(method);
    const swatch = s(
      "svg",
      { class: lookClass(index), viewBox: "-18 -8 36 16", width: 36, height: 16, "aria-hidden": "true" },
      s("path", { class: "curve", d: "M-18,0H18", "stroke-dasharray": DASHES[index % DASHES.length] }),
      markerShape(index),
    );
    const pressed = !hiddenMethods.has(method);
    const name = h("span", {}, text);
    return h("button", { type: "button", "data-method": method, "aria-pressed": String(pressed), onclick: () => {
      toggleMethod(method);
      [...host.children].find((child) => child.dataset.method === method)?.focus();
    } }, swatch, name);
  }));
}
