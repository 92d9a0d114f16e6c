// The documents that the page carries, and how their parts are found.

const read = (id) => JSON.parse(byId(id).textContent);
const results = read("data-results");
const metrics = read("data-metrics");
const frameData = read("data-frames");
const sideBySides = read("data-side-by-sides");

const ANCHOR = "none";
const points = results.points;
// Older documents have no clipped score.
for (const point of points) point.vmaf_clipped ??= isNumber(point.vmaf) ? Math.min(100, point.vmaf) : null;
// A document of `scene compare`: every file is one point, its codec an attribute and nothing to choose.
const comparison = points.length > 0 && points.every((point) => point.crf === null || point.crf === undefined);
const methodNames = distinct([
  ...points.filter((point) => point.method === ANCHOR).map((point) => point.method),
  ...results.methods.map((entry) => entry.method),
  ...points.map((point) => point.method),
]);
const clipNames = distinct(points.map((point) => point.clip));
const codecNames = distinct(points.map((point) => point.codec));
// Scores of VMAF are shown as players show them; BD-rates are of the unclipped ones, which are a choice of their own.
const CLIPPED = "vmaf_clipped";
const scoreMetrics = metrics.flatMap((metric) => (metric.name === "vmaf" ? [{ ...metric, name: CLIPPED, title: "VMAF clipped at 100" }] : [metric]));
const UNCLIPPED = { ...metrics.find((metric) => metric.name === "vmaf"), title: "VMAF not clipped, as BD-rates take it" };
const measuredMetrics = [...scoreMetrics, UNCLIPPED].filter((metric) => points.some((point) => isNumber(point[metric.name])));

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
// The number of a method's colour and marker; plots in files have the same.
const look = (method) => results.looks[method] ?? 0;

// Which methods are not drawn; one choice for all plots.
const hiddenMethods = new Set();
const redraws = [];

function toggleMethod(method) {
  if (!hiddenMethods.delete(method)) hiddenMethods.add(method);
  redraws.forEach((redraw) => redraw());
}
