// Pinned units, and the page that shows them side by side.

const pinned = new Set();  // ids, in the order in which they were pinned

/** The address of the comparison of some units. */
function comparisonOf(ids) {
  return `#compare=${[...ids].map(encodeURIComponent).join("&")}`;
}

/** The entries that a comparison's address names; null for another address. */
function comparisonAsked() {
  if (!location.hash.startsWith("#compare=")) return null;
  const ids = location.hash.slice("#compare=".length).split("&");
  return ids.map(entryCalled).filter(Boolean);
}

/** Pin a unit, or unpin it, and show what is pinned. */
function pin(id) {
  if (!pinned.delete(id)) pinned.add(id);
  for (const button of document.querySelectorAll("button.pin")) markPin(button);
  const bar = document.getElementById("pins");
  bar.hidden = pinned.size === 0;
  document.getElementById("pin-count").textContent = `${pinned.size} pinned`;
  document.getElementById("compare").href = comparisonOf(pinned);
}

/** Say on a button whether its unit is pinned. */
function markPin(button) {
  const is = pinned.has(button.dataset.id);
  button.setAttribute("aria-pressed", is);
  button.textContent = is ? "Pinned" : "Pin";
}

/** The button that pins a unit. */
function pinButton(unit) {
  const button = element("button", { type: "button", class: "pin", "data-id": unit.id });
  markPin(button);
  button.addEventListener("click", () => pin(unit.id));
  return button;
}

/** A table of the units' numbers, a column for each. */
function comparedNumbers(units) {
  const of = units.map(({ metadata }) => {
    const { activation, ...others } = metadata;
    const { trace, ...ends } = isMapping(activation) ? activation : {};
    return new Map(leaves({ activation: ends, ...others }));
  });
  const told = (known) => [...known].filter(([, value]) => value !== null && value !== "");
  const keys = [...new Set(of.flatMap(told).map(([key]) => key))];
  const head = element("tr", {}, element("td", {}), ...units.map((unit) => element("th", { scope: "col" }, unit.title)));
  const rows = keys.map((key) => element(
    "tr", {}, element("th", { scope: "row" }, words(key)),
    ...of.map((known) => element("td", {}, formatted(known.get(key)))),
  ));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

/** Fill the page with several units, side by side. Returns its heading. */
function fillComparison(page, units) {
  const title = element("h1", { tabindex: "-1" }, `${units.length} units side by side`);
  const columns = units.map((unit) => element(
    "section", {},
    element("h2", {}, element("a", { href: addressOf(unit) }, unit.title)),
    element("p", { class: "quiet" }, [unit.label, unit.metadata.model, unit.run].filter(Boolean).join(" · ")),
    ...unit.pictures.slice(0, 2).map((file) => figure(unit, file, false)),
  ));
  page.replaceChildren(
    element("nav", { "aria-label": "Units" }, element("a", { href: "#units", id: "back" }, "All units")),
    title,
    element("div", { class: "compared", tabindex: "0", role: "group", "aria-label": "Units side by side" },
      element("div", { class: "pictures" }, ...columns), comparedNumbers(units)),
  );
  return title;
}
