// The list of units: filters, order, keys, and the switch between the list and a unit's page.
//
// The cards of the first units are in the page. Those of the others, and what is known of each unit,
// lie in scripts of PAGE units each, and are read when they are first needed.

const gallery = document.getElementById("gallery");
const unitPage = document.getElementById("unit");
const list = document.getElementById("cards");
const tools = document.getElementById("tools");
const more = document.getElementById("more");
const galleryTitle = document.title;
const PAGE = Number(list.dataset.page);
const entries = tableOf("index");  // what filters and orders need of each unit, in the order of the runs
const cards = [...list.children];  // by the unit's place; those yet to be read are missing
const units = [];  // the data of all units, by page
let shown = entries;  // the entries that pass the filters, in the chosen order
let placesById = null;
let scrolled = 0;
let opened = null;  // the entry whose page is shown

/** The rows of a table in a script: objects, with their places. */
function tableOf(id) {
  const { keys, rows } = JSON.parse(document.getElementById(id).textContent);
  return rows.map((row, place) => Object.fromEntries([["place", place], ...row.map((value, i) => [keys[i], value])]));
}

/** The address of a unit's page. */
function addressOf(unit) {
  return `#unit=${encodeURIComponent(unit.id)}`;
}

/** The data of an entry's unit. */
function unitOf(entry) {
  const page = Math.floor(entry.place / PAGE);
  units[page] ??= JSON.parse(document.querySelectorAll("script.units")[page].textContent);
  return units[page][entry.place % PAGE];
}

/** The card of an entry, read with the others of its page. */
function cardOf(entry) {
  if (!cards[entry.place]) {
    const page = Math.floor(entry.place / PAGE);
    const read = document.createElement("template");
    read.innerHTML = document.querySelectorAll("script.cards")[page - 1].textContent;
    [...read.content.children].forEach((card, i) => number(card, page * PAGE + i));
  }
  return cards[entry.place];
}

/** Note whose card one is. */
function number(card, place) {
  showInside(card);
  card.dataset.place = place;
  cards[place] = card;
}

/** The entry of a card. */
function entryOf(card) {
  return entries[Number(card.dataset.place)];
}

/** Add the cards of the next units that are shown, up to an entry if one is given. */
function fill(last = null) {
  const end = Math.max(list.children.length + PAGE, last ? shown.indexOf(last) + 1 : 0);
  list.append(...shown.slice(list.children.length, end).map(cardOf));
  if (more) more.hidden = list.children.length >= shown.length;
}

/** The entry of the unit that an address calls by its escaped id; null if there is none. */
function entryCalled(escaped) {
  placesById ??= new Map(entries.map((entry) => [entry.id, entry.place]));
  try {
    return entries[placesById.get(decodeURIComponent(escaped))] ?? null;
  } catch {  // a malformed address
    return null;
  }
}

/** The entry whose unit the address names; null if there is none. */
function entryAsked() {
  return location.hash.startsWith("#unit=") ? entryCalled(location.hash.slice("#unit=".length)) : null;
}

/** The text of an entry that the search looks in. */
function textOf(entry) {
  const { name, title, label, run, model, layer, status, evidence } = entry;
  entry.searched ??= [name, title, label, run, model, layer, status, evidence].join(" ").toLowerCase();
  return entry.searched;
}

/** Whether an entry passes the chosen filters and has all `wanted` words. */
function passes(entry, choices, wanted) {
  return choices.every(({ value, dataset: { key } }) => (
    key === "status" ? entry.status.split(" ").includes(value) : entry[key] === value
  )) && wanted.every((word) => textOf(entry).includes(word));
}

/** The entries sorted by `key`. Those without a number come last; ties keep their order. */
function sorted(some, key, descending) {
  const known = some.filter((entry) => entry[key] !== null);
  const unknown = some.filter((entry) => entry[key] === null);
  const sign = descending ? -1 : 1;
  known.sort((a, b) => sign * (a[key] - b[key]));
  return [...known, ...unknown];
}

/** The entries by `name`, by a number `key` or `-key` (descending), or else in the runs' order. */
function ordered(order) {
  if (!order) return entries;
  if (order === "name") {
    const collator = new Intl.Collator("en", { numeric: true });
    return [...entries].sort((a, b) => collator.compare(a.name, b.name));
  }
  const key = order.replace("-", "");
  const before = key === "success" ? sorted(entries, "steps", false) : entries;
  return sorted(before, key, order.startsWith("-"));
}

/** Apply the filters and the order. */
function refresh() {
  const choices = [...tools.querySelectorAll("select[data-key]")].filter((select) => select.value);
  const wanted = document.getElementById("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const order = ordered(document.getElementById("sort").value);
  shown = order.filter((entry) => passes(entry, choices, wanted));
  list.replaceChildren();  // hiding cards would cost seconds of style computation
  fill();
  const all = `${entries.length} unit${entries.length === 1 ? "" : "s"}`;
  const count = shown.length === entries.length ? all : `${shown.length} of ${all}`;
  document.getElementById("count").textContent = count;
  document.getElementById("none").hidden = shown.length > 0;
}

/** Show the cards of one row of the atlas. */
function showRow(event) {
  const link = event.target.closest("a[data-layer]");
  if (!link) return;
  tools.reset();
  for (const key of ["layer", "run"]) {
    const select = tools.querySelector(`[data-key=${key}]`);
    if (select) select.value = link.dataset[key];
  }
  refresh();
}

/** Show another page in place of the list; `fill` fills it and returns its heading. */
function show(name, fill) {
  if (!gallery.hidden) scrolled = window.scrollY;
  const title = fill(unitPage);
  gallery.hidden = true;
  unitPage.hidden = false;
  document.title = `${name} – ${galleryTitle}`;
  window.scrollTo(0, 0);
  title.focus({ preventScroll: true });
}

/** Show the page of the unit that the address names, a comparison, or else the list. */
function route() {
  document.getElementById("zoomed").close();
  const entry = entryAsked();
  const compared = comparisonAsked();
  const astray = document.getElementById("astray");
  const wrong = /^#(unit|compare)=/.test(location.hash) && !entry && !compared?.length;
  astray.hidden = !wrong;
  astray.textContent = wrong ? `This page has no unit of the address ${location.hash}` : "";
  if (entry) {
    const order = shown.includes(entry) ? shown : entries;
    const i = order.indexOf(entry);
    const neighbour = (k) => (order[k] ? unitOf(order[k]) : null);
    const around = { before: neighbour(i - 1), after: neighbour(i + 1), place: i + 1, count: order.length };
    show(entry.title, (page) => fillUnit(page, unitOf(entry), around));
    opened = entry;
  } else if (compared?.length) {
    show("comparison", (page) => fillComparison(page, compared.map(unitOf)));
    opened = compared[0];
  } else if (opened) {
    unitPage.hidden = true;
    unitPage.replaceChildren();
    gallery.hidden = false;
    document.title = galleryTitle;
    window.scrollTo(0, scrolled);
    if (shown.includes(opened)) fill(opened);
    const card = cardOf(opened);
    card.querySelector("a").focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
    opened = null;
  }
}

/** The card that an arrow key, Home or End leads to from `card`; End leads to the last one added. */
function cardBeside(card, key) {
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  if (key === "Home") return list.firstElementChild;
  if (key === "End") return list.lastElementChild;
  if (!(key in steps)) return null;
  const place = shown.indexOf(entryOf(card)) + steps[key];
  if (place >= list.children.length) fill();
  return list.children[place];
}

/** The link that an arrow key leads to from a link of the atlas. */
function cellBeside(link, key) {
  const across = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
  const down = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
  const rows = [...document.querySelectorAll("#atlas .row")];
  const row = link.closest(".row");
  const links = (one) => [...one.querySelectorAll("a")];
  const other = rows[rows.indexOf(row) + down];
  return across || down ? other && links(other)[links(row).indexOf(link) + across] : null;
}

/** Handle the keys of both views. */
function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  const links = { ArrowLeft: "prev", ArrowRight: "next", Escape: "back" };
  if (document.getElementById("zoomed").open) return;
  if (!unitPage.hidden) {
    const link = document.getElementById(links[event.key]);
    link?.click();
    if (link) route(); // before the next key, which may come before the event of the new hash
    return;
  }
  const typing = event.target.matches("input");
  const card = event.target.closest(".card");
  const cell = event.target.closest("#atlas .row a");
  if (event.key === "/" && !typing && tools) {
    event.preventDefault();
    document.getElementById("text").focus();
  } else if (event.key === "p" && card) {
    pin(entryOf(card).id);
  } else if (card || cell) {
    const next = card ? cardBeside(card, event.key)?.querySelector("a") : cellBeside(cell, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

cards.forEach(number);
if (tools) {
  tools.hidden = false;
  document.getElementById("text").addEventListener("input", refresh);
  for (const select of tools.querySelectorAll("select")) select.addEventListener("change", refresh);
  const size = document.getElementById("size");
  size.addEventListener("input", () => list.style.setProperty("--card", `${size.value}rem`));
  tools.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => {
    tools.reset();
    refresh();
    document.getElementById("text").focus();
  });
}
if (more) {
  more.hidden = false;
  more.addEventListener("click", () => fill());
  const near = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && fill(), { rootMargin: "1500px" });
  near.observe(more);
}
const atlas = document.getElementById("atlas");
atlas?.addEventListener("click", showRow);
if (atlas) showInside(atlas);
list.addEventListener("click", (event) => {
  if (event.target.matches("button.pin")) pin(entryOf(event.target.closest(".card")).id);
});
document.getElementById("unpin").addEventListener("click", () => [...pinned].forEach(pin));
document.getElementById("zoomed").addEventListener("click", (event) => event.currentTarget.close());
history.scrollRestoration = "manual";
window.addEventListener("hashchange", route);
document.addEventListener("keydown", onKey);
settlePictures();
route();
