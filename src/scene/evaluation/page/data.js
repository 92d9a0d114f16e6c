// The documents that the page carries, and how their parts are found.

const read = (id) => JSON.parse(byId(id).textContent);
const results = read("data-results");
const metrics = read("data-metrics");
const frameData = read("data-frames");
const sideBySides = read("data-side-by-sides");

const ANCHOR = "none";
const points = results.points;
// A document of `scene compare`: every file is one point, its codec an attribute and nothing to choose.
const comparison = points.length > 0 && points.every((point) => point.crf === null || point.crf === undefined);
const methodNames = distinct([
  ...points.filter((point) => point.method === ANCHOR).map((point) => point.method),
  ...results.methods.map((entry) => entry.method),
  ...points.map((point) => point.method),
]);
const clipNames = distinct(points.map((point) => point.clip));
const codecNames = distinct(points.map((point) => point.codec));
const metricByName = new Map(metrics.map((metric) => [metric.name, metric]));
const measuredMetrics = metrics.filter((metric) => points.some((point) => isNumber(point[metric.name])));

const metricOptions = (entries) => entries.map((metric) => [metric.name, axisTitle(metric)]);
const options = (names) => names.map((name) => [name, name]);
const axisTitle = (metric) => (metric.unit ? `${metric.title} (${metric.unit})` : metric.title);
// Some encoders have a QP instead of a CRF.
const levelName = (codec) => results.codecs.find((entry) => entry.codec === codec)?.quality ?? "CRF";
const levelText = (crf, codec) => (isNumber(crf) ? `${levelName(codec)} ${crf}` : "");

// The anchor is called after the codec: that is what it is.
function methodText(method, codec) {
  if (method !== ANCHOR || comparison) return method;
  return codec ? `${codec} only` : "codec only";
}

const networks = distinct(results.methods.filter((entry) => String(entry.identity).startsWith("network:")).map((e) => e.method));
// Networks get the looks that stand out most.
const lookOrder = distinct([...networks, ...methodNames.filter((name) => comparison || name !== ANCHOR)]);

// The anchor has the first look, in the colour of text.
function look(method) {
  return lookOrder.indexOf(method) + 1;
}

// Which methods are not drawn; one choice for all plots.
const hiddenMethods = new Set();
const redraws = [];

function toggleMethod(method) {
  if (!hiddenMethods.delete(method)) hiddenMethods.add(method);
  redraws.forEach((redraw) => redraw());
}
