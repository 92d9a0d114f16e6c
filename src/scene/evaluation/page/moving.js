// Versions in motion. One video holds them all, one above the other, so that they cannot come out of step: what is shown is cut
// out of its frames, on canvases. Held, a key or a finger shows the other version; two of them are also subtracted.

const GAIN = 4;
const VIEWS = [["flip", "one, to flip"], ["all", "all, in step"], ["difference", `the difference, times ${GAIN}`]];
const SPEEDS = [["1", "full"], ["0.5", "half"], ["0.25", "a quarter"]];

// Returns the element and `change(picture)`, which shows the moving part of a picture, or nothing.
function makeMoving(text) {
  const video = h("video", { muted: true, loop: true, playsinline: true, preload: "auto", "aria-hidden": "true" });
  video.muted = true;
  const view = choice("Show", VIEWS, () => {
    chosen = true;
    refresh();
  });
  const shown = choice("Version", [], draw);
  const held = choice("While held", [], draw);
  const speed = choice("Speed", SPEEDS, () => { video.playbackRate = Number(speed.value); });
  const size = choice("Enlarged", [["1", "100 %"], ["2", "200 %"], ["4", "400 %"]], refresh);
  const play = h("button", { type: "button", class: "push", onclick: () => (video.paused ? start() : stop()) }, "Play");
  const back = h("button", { type: "button", class: "push", "aria-label": "One frame back", onclick: () => step(-1) }, "\u2039");
  const on = h("button", { type: "button", class: "push", "aria-label": "One frame on", onclick: () => step(1) }, "\u203a");
  const stage = h("div", { class: "moving", tabindex: "0", role: "group", "aria-label": "Moving comparison" });
  const viewport = h("div", { class: "moving-box" }, stage);
  const label = h("p", { class: "moving-label", role: "status" });
  const broken = h("p", { class: "hint", hidden: true }, "This browser cannot play the video that this file carries (H.264 in MP4).");
  const buttons = h("div", { class: "choice buttons" }, h("span", {}, "Frames"), h("div", {}, back, play, on));
  const controls = h("div", { class: "controls" }, [view, shown, held, speed, size].map((c) => c.element), buttons);
  const element = h("div", { class: "in-motion", hidden: true }, h("h3", {}, "In motion"), controls, viewport, label, broken, video);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let picture = null;
  let canvases = [];
  let chosen = false;
  let holding = false;
  let visible = false;
  let stopped = still.matches;

  const moving = () => picture.moving;
  const name = (index) => text(picture, moving().labels[index]);
  const now = () => Math.min(moving().frames - 1, Math.floor(video.currentTime * moving().rate + 0.01));
  const flipped = (index) => (holding && index === Number(shown.value) ? Number(held.value) : index);
  const order = () => (view.value === "all" ? moving().labels.map((_, index) => flipped(index)) : [flipped(Number(shown.value))]);

  function change(next) {
    picture = next;
    element.hidden = !next.moving;
    stop(false);
    if (!next.moving) return;
    const entries = moving().labels.map((_, index) => [String(index), name(index)]);
    shown.set(entries, String(entries.length - 1));
    held.set(entries, String(Math.max(0, entries.length - 2)));
    // All of them where they have room, else one.
    if (!chosen) view.set(VIEWS, viewport.parentElement.clientWidth > 0.9 * entries.length * next.moving.width ? "all" : "flip");
    video.src = next.moving.video;
    video.playbackRate = Number(speed.value);
    refresh();
    if (visible && !stopped) start();
  }

  function refresh() {
    const { width, height } = moving();
    const count = view.value === "all" ? moving().labels.length : 1;
    canvases = Array.from({ length: count }, () => h("canvas", { width, height }));
    stage.classList.toggle("difference", view.value === "difference");
    stage.classList.toggle("pixels", Number(size.value) > 1);
    stage.style.gridTemplateColumns = Number(size.value) > 1 ? `repeat(${count}, auto)` : `repeat(${count}, minmax(0, ${width}px))`;
    stage.replaceChildren(...canvases.map((canvas) => {
      canvas.style.width = `${width * Number(size.value)}px`;
      return h("figure", {}, canvas, view.value === "all" ? h("figcaption", {}) : "");
    }));
    shown.element.hidden = view.value === "all";
    held.element.hidden = view.value === "all";
    // The marked detail is in the middle.
    viewport.scrollTo((canvases[0].offsetWidth - viewport.clientWidth) / 2, (canvases[0].offsetHeight - viewport.clientHeight) / 2);
    draw();
  }

  function draw() {
    const { width, height, pitch, first } = moving();
    const cut = (context, index) => context.drawImage(video, 0, index * pitch, width, height, 0, 0, width, height);
    const number = first + now();
    const frame = `frame ${number}`;
    const difference = view.value === "difference";
    order().forEach((index, place) => {
      const context = canvases[place].getContext("2d");
      context.globalCompositeOperation = "source-over";
      const figure = canvases[place].parentElement.querySelector("figcaption");
      if (figure) figure.textContent = name(index);
      cut(context, difference ? Number(shown.value) : index);
      if (!difference) return;
      context.globalCompositeOperation = "difference";
      cut(context, Number(held.value));
    });
    const words = difference ? `${name(Number(shown.value))} less ${name(Number(held.value))}, times ${GAIN}` : order().map(name).join(", ");
    // Not while it plays: screen readers would read every frame.
    label.setAttribute("aria-live", video.paused ? "polite" : "off");
    label.textContent = view.value === "all" ? frame : `${words} \u00b7 ${frame}`;
    stage.dataset.frame = String(number);
    stage.dataset.still = String(video.paused && !video.seeking);
  }

  function start() {
    stopped = false;
    video.play().catch(() => stop());
  }

  // `stay`: not to begin again by itself.
  function stop(stay = true) {
    if (stay) stopped = true;
    video.pause();
  }

  function step(count) {
    const playing = !video.paused;
    stop();
    if (!playing) show(count);
  }

  // The frame that is so many further on.
  function show(count) {
    if (!moving()) return;
    const { frames, rate } = moving();
    video.currentTime = (((now() + count + frames) % frames) + 0.5) / rate;
  }

  function hold(on) {
    if (holding === on || element.hidden) return;
    holding = on;
    stage.classList.toggle("held", on);
    draw();
  }

  const typing = (event) => event.target instanceof Element && event.target.closest("select, input");
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "f" || event.ctrlKey || event.metaKey || event.altKey || typing(event) || !visible) return;
    hold(true);
  });
  document.addEventListener("keyup", (event) => event.key.toLowerCase() === "f" && hold(false));
  window.addEventListener("blur", () => hold(false));
  stage.addEventListener("keydown", (event) => {
    const keys = { " ": () => (video.paused ? start() : stop()), ArrowLeft: () => step(-1), ArrowRight: () => step(1) };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  stage.addEventListener("pointerdown", (event) => event.button === 0 && hold(true));
  for (const kind of ["pointerup", "pointercancel", "pointerleave"]) stage.addEventListener(kind, () => hold(false));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());

  const names = { playing: "Pause", pause: "Play" };
  for (const [kind, word] of Object.entries(names)) video.addEventListener(kind, () => { play.textContent = word; });
  for (const kind of ["loadeddata", "seeked"]) video.addEventListener(kind, () => video.readyState >= 2 && draw());
  // In the middle of a frame there is no doubt which one it is.
  video.addEventListener("pause", () => show(0));
  video.addEventListener("error", () => {
    broken.hidden = false;
    viewport.hidden = true;
    controls.hidden = true;
    label.hidden = true;
  });
  const follow = () => {
    draw();
    video.requestVideoFrameCallback(follow);
  };
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(follow);
  else video.addEventListener("timeupdate", draw);
  // What is not seen does not play.
  new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (element.hidden) return;
    if (!visible) stop(false);
    else if (!stopped) start();
  }).observe(stage);

  element.append(reading(
    "The same frames at nearly the same bitrate, in step by construction. While F or the picture is held, the last version gives its " +
      "place to the one before it, or to the one that is chosen; with the picture focused, Space stops and starts and the arrow " +
      "keys go frame by frame. " +
      "The video is compressed once more, lightly, so that this file stays small; larger pictures are cut around the marked detail.",
  ));
  return { element, change };
}
