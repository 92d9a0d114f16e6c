// Of the tables of a section, those of one choice are shown; each says which choice it belongs to.

function startTables(id) {
  const section = byId(id);
  const tables = [...section.querySelectorAll("[data-choices]")].map((element) => [element, JSON.parse(element.dataset.choices)]);
  if (!tables.length) return;
  const draw = () => {
    for (const [element, choices] of tables) element.hidden = controls.some(([label, control]) => choices[label] !== control.value);
  };
  const controls = Object.keys(tables[0][1]).map((label) => {
    const entries = distinct(tables.map(([, choices]) => choices[label])).map((text) => [text, text]);
    return [label, choice(label, entries, draw)];
  });
  section.querySelector(".controls").append(...controls.map(([, control]) => control.element));
  draw();
}
