// Starts every part that has something to show.

function startTheme() {
  const button = byId("theme");
  const themes = [["", "as the system"], ["light", "light"], ["dark", "dark"]];
  let index = 0;
  const apply = () => {
    const [theme, text] = themes[index];
    document.documentElement.dataset.theme = theme;
    button.textContent = `Colours: ${text}`;
  };
  button.addEventListener("click", () => {
    index = (index + 1) % themes.length;
    apply();
  });
  button.hidden = false;
  apply();
}

function startContents() {
  const sections = [...document.querySelectorAll("main > section:not([hidden])")];
  byId("contents").append(...sections.map((section) => h("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
}

["summary", "regions", "clips", "crf", "effect"].filter(byId).forEach(startTables);
startRate();
startFrames();
startSideBySide();
startTableExport();
startNotes();
startTheme();
startContents();
