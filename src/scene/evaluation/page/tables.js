// The tables that the reader chooses a part of: BD-rates clip by clip, changes at equal CRF, treatments.

// Cells: {text, small, note, bold, tint}. A note makes the cell a button that explains itself.
function cell(content) {
  if (!content) return h("td");
  const { text, small, note, bold, tint } = content;
  const value = note ? h("button", { type: "button", class: "note", "data-note": note }, text) : text;
  return h(
    "td",
    { class: tint || null },
    bold ? h("b", {}, value) : value,
    small ? h("span", { class: "small" }, small) : null,
  );
}

function drawTable(host, caption, head, rows) {
  const box = host.querySelector(".scroll") ?? host.appendChild(h("div", { class: "scroll", role: "region", tabindex: "0" }));
  box.setAttribute("aria-label", caption);
  box.replaceChildren(
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, head.map((title) => h("th", { scope: "col" }, title)))),
      h("tbody", {}, rows.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells.map(cell)))),
    ),
  );
}

function tint(percent) {
  const level = [1, 5, 20].filter((threshold) => Math.abs(percent) >= threshold).length;
  return level ? `${percent < 0 ? "save" : "cost"}${level}` : "";
}

function startSummary() {
  const tables = [...document.querySelectorAll("[data-statistic]")];
  if (!tables.length) {
    if (comparison) {
      byId("summary-reading").append(reading(
        "VMAF, VMAF NEG, VMAF v1, MS-SSIM, PSNR and XPSNR: higher is better. CAMBI (banding) and flicker: lower is better. " +
          "A file whose VMAF rises and whose VMAF NEG does not has been enhanced, not better kept.",
      ));
    }
    return;
  }
  const statistics = [["percent", "Mean over clips"], ["median", "Median"], ["worst", "Worst clip"]];
  const control = choice("Show", statistics, (value) => {
    for (const table of tables) table.hidden = table.dataset.statistic !== value;
  });
  byId("summary-controls").append(control.element);
  byId("summary-reading").append(reading(
    "Each figure is the change of bitrate at equal quality by that metric, against the codec alone: negative (blue) is a saving, " +
      "positive (orange) a cost. The best of each codec and metric is bold. [n/m] means that only n of m clips have a value; " +
      "N/A and [n/m] say why when pointed at, focused or tapped.",
    "Beneath it stand the worst clip's value and, as \u0394, the BD-quality: the change of the score itself at equal rate, in the metric's " +
      "own unit, over the rates that both curves cover. There, positive is better.",
    "VMAF rewards contrast and sharpening. A saving that a contrast or unsharp row reaches as well is no evidence of better " +
      "coding; look whether VMAF NEG, VMAF v1 and MS-SSIM agree.",
  ));
}

function startClipTable() {
  const rows = results.bd_rate.filter((row) => !isMean(row));
  if (!rows.length) return;
  const section = byId("clips");
  const host = h("div");
  const pick = (name) => options(distinct(rows.map((row) => row[name])));
  const codec = choice("Codec", pick("codec"), draw);
  const metric = choice("Metric", metricOptions(metrics.filter((m) => rows.some((row) => row.metric === m.name))), draw);
  const anchor = choice("Against", pick("anchor").map(([name]) => [name, methodText(name)]), draw);
  const kinds = [["percent", "BD-rate, %"]];
  if (rows.some((row) => isNumber(row.bd_quality))) kinds.push(["bd_quality", "Score at equal rate"]);
  if (rows.some((row) => isNumber(row.hull_percent))) kinds.push(["hull_percent", "BD-rate of convex hulls, %"]);
  const kind = choice("Figure", kinds, draw);

  function draw() {
    const own = rows.filter((r) => r.codec === codec.value && r.metric === metric.value && r.anchor === anchor.value);
    const methods = methodNames.filter((name) => own.some((row) => row.method === name));
    const percent = kind.value !== "bd_quality";
    const { decimals, title } = metricByName.get(metric.value);
    const body = distinct(own.map((row) => row.clip)).map((clip) => {
      const line = methods.map((name) => own.find((row) => row.clip === clip && row.method === name));
      const values = line.map((row) => row?.[kind.value]).filter(isNumber);
      const best = percent ? Math.min(...values) : Math.max(...values);
      return [clip, ...line.map((row) => row && clipCell(row, row[kind.value], best))];
    });
    function clipCell(row, value, best) {
      const text = signed(value, percent ? 1 : decimals);
      const note = percent ? row.note : row.rate_note;
      if (!isNumber(value)) return { text, note: note || "There is no value." };
      return { text: note ? `${text}*` : text, note, bold: value === best, tint: percent ? tint(value) : "" };
    }
    const what = kinds.find(([name]) => name === kind.value)[1];
    drawTable(host, `${codec.value}, ${title}: ${what}`, ["Clip", ...methods], body);
  }

  section.append(
    h("div", { class: "controls" }, [codec, metric, anchor, kind].map((c) => c.element)),
    host,
    reading(
      "The best method of each clip is bold. An asterisk marks a value to take with care: its curves overlap by less " +
        "than 0.75, or points were left out; pointing at it says which. Below an overlap of 0.5 there is no value.",
    ),
  );
  section.hidden = false;
  draw();
}

function startCrfTable() {
  const rows = results.equal_crf;
  if (!rows.length) return;
  const section = byId("crf");
  const host = h("div");
  const shown = metrics.filter((metric) => rows.some((row) => isNumber(row[metric.name])));
  const codec = choice("Codec", options(distinct(rows.map((row) => row.codec))), draw);
  const clips = distinct(rows.map((row) => row.clip));
  const ordered = [...clips.filter((clip) => clip === "mean"), ...clips.filter((clip) => clip !== "mean")];
  const clip = choice("Clip", ordered.map((name) => [name, name === "mean" ? "mean over clips" : name]), draw);
  const anchor = choice("Against", distinct(rows.map((row) => row.anchor)).map((name) => [name, methodText(name)]), draw);

  function draw() {
    const own = rows.filter((r) => r.codec === codec.value && r.clip === clip.value && r.anchor === anchor.value);
    const body = own.map((row) => [
      row.method,
      { text: isNumber(row.rate_percent) ? `${signed(row.rate_percent, 1)} %` : "N/A", tint: tint(row.rate_percent) },
      ...shown.map((metric) => ({ text: signed(row[metric.name], metric.decimals) })),
    ]);
    const title = `${codec.value}, ${clip.value === "mean" ? "mean over clips" : clip.value}: changes at equal CRF`;
    drawTable(host, title, ["Method", "Rate", ...shown.map(axisTitle)], body);
  }

  section.append(
    h("div", { class: "controls" }, [codec, clip, anchor].map((c) => c.element)),
    host,
    reading(
      "What whoever switches a method on and leaves the CRF alone gets: the change of rate (geometric mean over the CRFs) and of " +
        "each score. It needs no overlap of curves, so it is defined where BD-rate is not. More rate and a higher score together " +
        "say nothing about efficiency. Lower is better for CAMBI (banding) and flicker.",
    ),
  );
  section.hidden = false;
  draw();
}

function startTreatments() {
  const rows = results.treatments;
  if (!rows.length) return;
  const section = byId("treatment");
  const host = h("div");
  const clips = distinct(rows.map((row) => row.clip));
  const everything = clips.length > 1 ? [["", "mean over clips"]] : [];
  const clip = choice("Clip", [...everything, ...options(clips)], draw);
  const title = (row) => (row.codecs ? `${row.method} (${row.codecs.join(", ")})` : row.method);
  const average = (own, name) => {
    const values = own.map((row) => row[name]).filter(isNumber);
    return values.length ? mean(values) : null;
  };

  function draw() {
    const chosen = rows.filter((row) => !clip.value || row.clip === clip.value);
    const body = distinct(chosen.map(title)).map((name) => {
      const own = chosen.filter((row) => title(row) === name);
      const [gain, affine] = [average(own, "vmaf_gain"), average(own, "affine_gain")];
      const share = gain >= 1 ? affine / gain : null;
      const clipped = average(own, "clipped");
      return [
        name,
        { text: `\u00d7${fixed(average(own, "gain"), 3)}` },
        { text: signed(average(own, "offset"), 2) },
        { text: isNumber(clipped) ? `${fixed(clipped * 100, 2)} %` : "N/A" },
        { text: signed(gain, 2) },
        { text: signed(affine, 2) },
        isNumber(share)
          ? { text: `${fixed(share * 100, 0)} %` }
          : { text: "N/A", note: "The method raises VMAF by less than one point, so that a share of it would be a share of noise." },
        { text: signed(average(own, "cambi"), 2) },
        { text: fixed(average(own, "flicker"), 3) },
      ];
    });
    const head = ["Method", "Luma gain", "Offset", "Clipped", "VMAF", "by gain alone", "Affine share", "CAMBI", "Flicker"];
    drawTable(host, `Before any encoder, ${clip.value || "mean over clips"}`, head, body);
  }

  section.append(
    h("div", { class: "controls" }, clip.element),
    host,
    reading(
      "Measured on the processed pictures themselves. The gain and offset (in 8-bit code values) of luma that come closest to the " +
        "method are applied alone: the affine share is how much of the method's VMAF gain that explains. Near 100 %, the method is " +
        "a contrast knob to VMAF; near 0 %, it does something else; far above it, the gain alone would have done better.",
      "Clipped is the share of luma samples pushed to the ends of the range. CAMBI is the change of banding, flicker how much the " +
        "change varies over time where the source stands still: lower is better for both. N/A for flicker means that nothing stands still.",
    ),
  );
  section.hidden = false;
  draw();
}
