// What is drawn: quality over rate, and quality over time.

const MEAN = "";

const codecOptions = (names) => (comparison ? [["", "all"]] : options(names));
const ofCodec = (codec) => (point) => comparison || point.codec === codec;

function geometricMean(values) {
  return Math.exp(mean(values.map(Math.log)));
}

// One clip at its bitrate.
function clipSeries(clip, codec, metric) {
  const own = points.filter((point) => point.clip === clip && ofCodec(codec)(point) && isNumber(point[metric]));
  return distinct(own.map((point) => point.method)).map((method) => ({
    method,
    look: look(method),
    points: own
      .filter((point) => point.method === method && point.kbps > 0)
      .sort((a, b) => a.crf - b.crf)
      .map((point) => ({ x: point.kbps, y: point[metric], point })),
  }));
}

// Mean scores and geometric mean rates at equal CRF, each clip's rate relative to the mean of its own unprocessed
// encodes; only clips that have every point, so that all methods are drawn of the same ones.
function meanSeries(codec, metric) {
  const own = points.filter((point) => ofCodec(codec)(point) && isNumber(point[metric]) && point.kbps > 0);
  const crfs = distinct(own.map((point) => point.crf)).sort((a, b) => a - b);
  const methods = methodNames.filter((name) => own.some((point) => point.method === name));
  const clips = clipNames.filter((clip) => own.filter((point) => point.clip === clip).length === crfs.length * methods.length);
  const scales = new Map(clips.map((clip) => [
    clip,
    geometricMean(own.filter((point) => point.clip === clip && point.method === ANCHOR).map((point) => point.kbps)),
  ]));
  const series = methods.map((method) => ({
    method,
    look: look(method),
    points: clips.length ? crfs.map((crf) => {
      const level = own.filter((point) => point.method === method && point.crf === crf && scales.has(point.clip));
      return { x: geometricMean(level.map((point) => point.kbps / scales.get(point.clip))), y: mean(level.map((p) => p[metric])), crf };
    }) : [],
  }));
  return { series, clips: clips.length };
}

function startRate() {
  const drawn = points.filter((point) => point.kbps > 0);
  if (!drawn.length) return;
  const section = byId("rate");
  const averaged = !comparison && clipNames.length > 1;
  const clip = choice("Clip", [...(averaged ? [[MEAN, "mean over clips"]] : []), ...options(clipNames)], draw);
  const codec = choice("Codec", codecOptions(codecNames), draw);
  const metric = choice("Metric", metricOptions(measuredMetrics), draw);
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Curves" });
  const note = h("p", { class: "hint" });
  const chart = makeChart({ label: "Quality over bitrate. Arrow keys go from point to point.", describe });
  const chosenMetric = () => measuredMetrics.find((entry) => entry.name === metric.value);

  function describe(series, { x, y, crf, point }) {
    const { title, unit, decimals } = chosenMetric();
    const score = `${title} ${fixed(y, decimals)}${unit ? ` ${unit}` : ""}`;
    const rate = point ? rateText(x) : `${fixed(x, 3)} \u00d7 the clip's mean rate`;
    return [methodText(series.method, codec.value), levelText(point ? point.crf : crf, codec.value), rate, score].filter(Boolean);
  }

  function draw() {
    const average = averaged && clip.value === MEAN;
    const { series, clips } = average ? meanSeries(codec.value, metric.value) : { series: clipSeries(clip.value, codec.value, metric.value) };
    drawLegend(legend, series.map((entry) => [entry.method, methodText(entry.method, codec.value)]));
    chart.draw(series.filter((entry) => !hiddenMethods.has(entry.method)), {
      log: true,
      x: average ? "bitrate relative to the clip's mean (log)" : "bitrate in kbit/s (log)",
      y: axisTitle(chosenMetric()),
    });
    note.textContent = average
      ? `Mean score and geometric mean rate of ${clips} clip${clips === 1 ? "" : "s"} at equal CRF; no figure in the tables comes from these curves.`
      : "";
  }

  const title = () => [averaged && clip.value === MEAN ? "mean over clips" : clip.value, codec.value, axisTitle(chosenMetric())].filter(Boolean).join(", ");
  const saves = exportButtons(
    ["PNG", "Save the plot as PNG", () => savePlot(chart.picture, legend, title())],
    ["CSV", "Save every point as CSV", savePoints],
  );
  section.append(h("div", { class: "controls" }, [clip, codec, metric].map((c) => c.element)), chart.element, legend, note, saves, reading(
    "Further up and further left is better, but for CAMBI and flicker, where lower is better. " +
      (comparison ? "" : "A method that only moves along the codec's own curve gains nothing. ") +
      "Point at the plot, or focus it and use the arrow keys: left and right along a curve, up and down between curves. " +
      "The buttons beneath it hide and show curves.",
  ));
  section.hidden = false;
  redraws.push(draw);
  draw();
}

const pointKey = (entry) => JSON.stringify([entry.clip, entry.codec, entry.method, entry.crf ?? null]);

function startFrames() {
  const byKey = new Map(points.map((point) => [pointKey(point), point]));
  const entries = (frameData.frames ?? []).map((entry) => ({ ...entry, point: byKey.get(pointKey(entry)) })).filter((e) => e.point);
  for (const { scores } of entries) scores[CLIPPED] = scores.vmaf?.map((score) => (isNumber(score) ? Math.min(100, Math.max(0, score)) : score));
  const shown = scoreMetrics.filter((metric) => metric.per_frame && entries.some((entry) => entry.scores[metric.name]?.length));
  const chosenMetric = () => shown.find((entry) => entry.name === metric.value);
  if (!shown.length) return;
  const section = byId("frames");
  const clip = choice("Clip", options(distinct(entries.map((entry) => entry.clip))), refresh);
  const codec = choice("Codec", codecOptions(distinct(entries.map((entry) => entry.codec))), refresh);
  const metric = choice("Metric", metricOptions(shown), draw);
  const crf = choice("CRF of the codec alone", [], draw);
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Curves" });
  const chart = makeChart({ label: "Quality of every frame. Arrow keys go from frame to frame.", columns: true, describe });

  const chosen = () => entries.filter((entry) => entry.clip === clip.value && ofCodec(codec.value)(entry));

  function refresh() {
    const ladder = chosen().filter((entry) => entry.method === ANCHOR && isNumber(entry.crf)).map((entry) => entry.crf).sort((a, b) => a - b);
    const before = ladder.some((value) => String(value) === crf.value) ? crf.value : String(ladder[Math.floor(ladder.length / 2)]);
    crf.set(ladder.map((value) => [String(value), `${value}`]), before);
    draw();
  }

  // Of every method the encode whose rate is closest to that of the codec alone.
  function picked() {
    const own = chosen();
    const base = own.find((entry) => entry.method === ANCHOR && String(entry.crf) === crf.value);
    const away = (entry) => (base ? Math.abs(Math.log(entry.point.kbps / base.point.kbps)) : 0);
    return distinct(own.map((entry) => entry.method)).map((method) => {
      const candidates = base && method === ANCHOR ? [base] : own.filter((entry) => entry.method === method);
      return candidates.reduce((best, entry) => (away(entry) < away(best) ? entry : best));
    });
  }

  function describe(_, { x }, series) {
    const { decimals, unit } = chosenMetric();
    const values = series
      .map((entry) => [entry.method, entry.points.find((point) => point.x === x)?.y])
      .filter(([, value]) => isNumber(value))
      .sort((a, b) => b[1] - a[1]);
    return [`Frame ${x}`, ...values.map(([method, value]) => `${methodText(method, codec.value)} ${fixed(value, decimals)}${unit ? ` ${unit}` : ""}`)];
  }

  function draw() {
    const own = picked();
    const text = (entry) => [methodText(entry.method, codec.value), levelText(entry.crf, entry.codec), rateText(entry.point.kbps)].filter(Boolean).join(" \u00b7 ");
    drawLegend(legend, own.map((entry) => [entry.method, text(entry)]));
    const series = own.filter((entry) => !hiddenMethods.has(entry.method)).map((entry) => ({
      method: entry.method,
      look: look(entry.method),
      every: Math.ceil((entry.scores[metric.value] ?? []).length / 10),
      points: (entry.scores[metric.value] ?? []).map((y, index) => ({ x: index * frameData.step, y })).filter(({ y }) => isNumber(y)),
    }));
    chart.draw(series, { log: false, x: "frame", y: axisTitle(chosenMetric()) });
  }

  const title = () => [clip.value, codec.value, `${axisTitle(chosenMetric())} by frame`].filter(Boolean).join(", ");
  const saves = exportButtons(["PNG", "Save the plot as PNG", () => savePlot(chart.picture, legend, title())]);
  section.append(h("div", { class: "controls" }, [clip, codec, metric, crf].map((c) => c.element)), chart.element, legend, saves, reading(
    comparison
      ? "The score of every frame of each file."
      : "Of every method the encode whose bitrate is closest to that of the codec alone at the chosen CRF; the buttons say which, " +
          "and how close it is. Dips that only one method has are frames to look at.",
    ...(frameData.step > 1 ? [`Every ${frameData.step}th frame is drawn; frames.json has all.`] : []),
  ));
  section.hidden = false;
  redraws.push(draw);
  refresh();
}
