// Explanations of single figures: on hover, on focus and on tap; Escape closes.

function startNotes() {
  const bubble = h("div", { id: "note", role: "tooltip", hidden: true });
  document.body.append(bubble);
  let owner = null;

  const hide = () => {
    owner?.removeAttribute("aria-describedby");
    owner = null;
    bubble.hidden = true;
  };
  const show = (button) => {
    hide();
    owner = button;
    bubble.textContent = button.dataset.note;
    bubble.hidden = false;
    button.setAttribute("aria-describedby", "note");
    place();
  };
  const place = () => {
    // Its width would depend on where it was last.
    bubble.style.left = "0";
    const box = owner.getBoundingClientRect();
    const width = bubble.offsetWidth;
    const left = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), document.documentElement.clientWidth - width - 8);
    const above = box.top - bubble.offsetHeight - 8;
    bubble.style.left = `${left}px`;
    bubble.style.top = `${above > 8 ? above : box.bottom + 8}px`;
  };
  const button = (event) => (event.target instanceof Element ? event.target.closest("button.note") : null);

  // Titles are for pages without script; with it they would show twice.
  for (const element of document.querySelectorAll("button.note[title]")) {
    element.dataset.note = element.title;
    element.removeAttribute("title");
  }
  for (const kind of ["pointerover", "focusin", "click"]) {
    document.addEventListener(kind, (event) => {
      const target = button(event);
      if (target) show(target);
      else if (kind === "click") hide();
    });
  }
  document.addEventListener("pointerout", (event) => {
    if (button(event) && button(event) !== document.activeElement) hide();
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  // Focus scrolls as well, so scrolling must not close what focus has opened.
  document.addEventListener("scroll", () => owner && place(), { capture: true, passive: true });
}
