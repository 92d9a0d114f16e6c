// Pictures to compare: two versions of a frame with a divider between them, and a detail of all versions enlarged.

function startSideBySide() {
  if (!sideBySides.length) return;
  const section = byId("look");
  const text = (picture, label) => methodText(label, picture.codec);
  const picture = choice("Picture", sideBySides.map((entry, index) => [
    String(index), [entry.clip, entry.codec, `frame ${entry.frame}`].filter(Boolean).join(" \u00b7 "),
  ]), () => change());
  const left = choice("Left", [], draw);
  const right = choice("Right", [], draw);
  const zoom = choice("Size", [["fit", "fit"], ["1", "100 %"], ["2", "200 %"], ["4", "400 %"]], resize);
  const under = h("img", { class: "under", alt: "", draggable: "false" });
  const over = h("img", { class: "over", alt: "", draggable: "false" });
  const handle = h("div", {
    class: "handle", role: "slider", tabindex: "0", "aria-label": "Divider between the two pictures",
    "aria-valuemin": "0", "aria-valuemax": "100", "aria-orientation": "horizontal",
  });
  const frame = h("div", { class: "crop-frame", "aria-hidden": "true" });
  const tint = h("div", { class: "region", "aria-hidden": "true", hidden: true });
  const region = h("input", { type: "checkbox" });
  const regionControl = h("label", { hidden: true }, region, " Tint the region");
  const stage = h("div", { class: "stage" }, under, over, tint, frame, handle);
  const viewport = h("div", { class: "viewport" }, stage);
  const compared = h("div", {}, viewport);
  const leftCaption = h("p", { class: "left" });
  const rightCaption = h("p", { class: "right" });
  const note = h("p", { class: "hint" });
  const details = h("div", { class: "details" });
  const moving = makeMoving(text);
  let position = 50;

  const current = () => sideBySides[Number(picture.value)];
  const pane = (control) => current().panes[Number(control.value)];

  function move(value) {
    position = Math.min(100, Math.max(0, value));
    over.style.clipPath = `inset(0 ${100 - position}% 0 0)`;
    handle.style.left = `${position}%`;
    handle.setAttribute("aria-valuenow", String(Math.round(position)));
    handle.setAttribute("aria-valuetext", `${Math.round(position)} % ${text(current(), pane(left).label)}`);
  }

  function resize() {
    const fit = zoom.value === "fit";
    stage.style.width = fit ? "100%" : `${current().width * Number(zoom.value)}px`;
    stage.classList.toggle("pixels", !fit && Number(zoom.value) > 1);
    viewport.classList.toggle("zoomed", !fit);
    // Never enlarged unasked: smoothing would be compared.
    compared.style.maxWidth = fit ? `${current().width}px` : "none";
    if (!fit) centreDetail();
  }

  // Of an enlarged picture the marked detail comes into view, with the divider through it.
  function centreDetail() {
    const { width, height, crop } = current();
    const [x, y] = [(crop[0] + crop[2] / 2) / width, (crop[1] + crop[3] / 2) / height];
    viewport.scrollLeft = x * stage.clientWidth - viewport.clientWidth / 2;
    viewport.scrollTop = y * stage.clientHeight - viewport.clientHeight / 2;
    move(100 * x);
  }

  function change() {
    const { panes, width, height, crop } = current();
    const entries = panes.map((entry, index) => [String(index), text(current(), entry.label)]);
    const at = (label, otherwise) => String(Math.max(panes.findIndex((entry) => entry.label === label), otherwise));
    const main = [...networks].reverse().find((name) => panes.some((entry) => entry.label === name));
    // Files with each other if there are several, otherwise with the source.
    left.set(entries, comparison ? String(Math.min(1, panes.length - 2)) : at(ANCHOR, 0));
    right.set(entries, main ? at(main, 0) : String(panes.length - 1));
    stage.style.aspectRatio = `${width} / ${height}`;
    const [x, y, w, t] = crop;
    Object.assign(frame.style, {
      left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`, width: `${(100 * w) / width}%`, height: `${(100 * t) / height}%`,
    });
    note.textContent = current().note;
    regionControl.hidden = !current().region;
    tintRegion();
    details.replaceChildren(...panes.map((entry) => {
      const name = text(current(), entry.label);
      return h("figure", {}, h("img", { src: entry.crop, alt: `Detail: ${name}`, width: w, height: t }), h("figcaption", {}, h("b", {}, name), ` ${entry.caption}`));
    }));
    resize();
    draw();
    moving.change(current());
  }

  function tintRegion() {
    tint.hidden = !region.checked || !current().region;
    if (!tint.hidden) tint.style.backgroundImage = `url(${current().region})`;
  }
  region.addEventListener("change", tintRegion);

  function draw() {
    for (const [image, caption, control, side] of [[over, leftCaption, left, "Left"], [under, rightCaption, right, "Right"]]) {
      const { label, image: source, caption: words } = pane(control);
      image.src = source;
      image.alt = `${side}: ${text(current(), label)}, frame ${current().frame} of ${current().clip}`;
      caption.replaceChildren(h("b", {}, `${side}: ${text(current(), label)}`), ` ${words}`);
    }
    move(position);
  }

  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    move((100 * (event.clientX - box.left)) / box.width);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true, focusVisible: false });
    drag(event);
  });
  stage.addEventListener("pointermove", (event) => stage.hasPointerCapture(event.pointerId) && drag(event));
  handle.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const targets = {
      ArrowLeft: position - step, ArrowDown: position - step, ArrowRight: position + step, ArrowUp: position + step,
      PageDown: position - 10, PageUp: position + 10, Home: 0, End: 100,
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    move(targets[event.key]);
  });

  compared.append(h("div", { class: "captions" }, leftCaption, rightCaption));
  section.append(
    h("div", { class: "controls" }, [...[picture, left, right, zoom].map((c) => c.element), regionControl]),
    compared,
    note,
    moving.element,
    h("h3", {}, "The marked detail of every version, enlarged"),
    details,
    reading(
      "Drag the divider, or focus it: the arrow keys move it, Home and End show one picture whole, which makes it easy to switch " +
        "between the two. " +
        (comparison
          ? "The frame is one where the files differ most."
          : "All encodes of a picture have nearly the same bitrate; their captions say how near. The frame and the detail are those where " +
            "the method differs most from the codec alone, not those where it looks best."),
    ),
  );
  section.hidden = false;
  change();
}
