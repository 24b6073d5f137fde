// The list of units: filters, order, keys, and the switch between the list and a unit's page.

const gallery = document.getElementById("gallery");
const unitPage = document.getElementById("unit");
const list = document.getElementById("cards");
const tools = document.getElementById("tools");
const galleryTitle = document.title;
const cards = [...list.children];  // in the order of the runs
let shown = cards;  // the cards that pass the filters, in the chosen order
let units = null;  // the data of all units, parsed when they are first needed
let cardsById = null;
let scrolled = 0;
let opened = null;  // the card whose page is shown

/** The address of a unit's page. */
function addressOf(unit) {
  return `#unit=${encodeURIComponent(unit.id)}`;
}

/** The data of a card's unit. */
function unitOf(card) {
  units ??= JSON.parse(document.getElementById("data").textContent);
  return units[Number(card.dataset.place)];
}

/** The card whose unit the address names; null if there is none. */
function cardAsked() {
  if (!location.hash.startsWith("#unit=")) return null;
  cardsById ??= new Map(cards.map((card) => [unitOf(card).id, card]));
  try {
    return cardsById.get(decodeURIComponent(location.hash.slice("#unit=".length))) ?? null;
  } catch {  // a malformed address
    return null;
  }
}

/** The text of a card that the search looks in. */
function textOf(card) {
  const { run, model, layer, status } = card.dataset;
  const named = [...card.querySelectorAll("h2 a, .class")].map((part) => part.textContent);
  card.searched ??= [...named, run, model, layer, status].join(" ").toLowerCase();
  return card.searched;
}

/** Whether a card passes the chosen filters and has all `wanted` words. */
function passes(card, choices, wanted) {
  return choices.every(({ value, dataset: { key } }) => (
    key === "status" ? card.dataset.status.split(" ").includes(value) : card.dataset[key] === value
  )) && wanted.every((word) => textOf(card).includes(word));
}

/** The cards sorted by `numbers`. Cards without a number come last; ties keep their order. */
function sorted(some, numbers, descending) {
  const known = some.filter((card) => Number.isFinite(numbers.get(card)));
  const unknown = some.filter((card) => !Number.isFinite(numbers.get(card)));
  const sign = descending ? -1 : 1;
  known.sort((a, b) => sign * (numbers.get(a) - numbers.get(b)));
  return [...known, ...unknown];
}

/** The cards by `name`, by a number `key` or `-key` (descending), or else in the runs' order. */
function ordered(order) {
  if (!order) return cards;
  if (order === "name") {
    const names = new Map(cards.map((card) => [card, card.querySelector("h2 a").textContent]));
    const collator = new Intl.Collator("en", { numeric: true });
    return [...cards].sort((a, b) => collator.compare(names.get(a), names.get(b)));
  }
  const key = order.replace("-", "");
  const numbers = (name) => new Map(cards.map((card) => [card, parseFloat(card.dataset[name])]));
  const before = key === "success" ? sorted(cards, numbers("steps"), false) : cards;
  return sorted(before, numbers(key), order.startsWith("-"));
}

/** Apply the filters and the order. */
function refresh() {
  const choices = [...tools.querySelectorAll("select[data-key]")].filter((select) => select.value);
  const wanted = document.getElementById("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const order = ordered(document.getElementById("sort").value);
  shown = order.filter((card) => passes(card, choices, wanted));
  list.replaceChildren(...shown);  // hiding cards would cost seconds of style computation
  const all = `${cards.length} unit${cards.length === 1 ? "" : "s"}`;
  const count = shown.length === cards.length ? all : `${shown.length} of ${all}`;
  document.getElementById("count").textContent = count;
  document.getElementById("none").hidden = shown.length > 0;
}

/** Show the page of the unit that the address names, or else the list. */
function route() {
  const card = cardAsked();
  if (card) {
    if (!gallery.hidden) scrolled = window.scrollY;
    const order = shown.includes(card) ? shown : cards;
    const i = order.indexOf(card);
    const neighbour = (k) => (order[k] ? unitOf(order[k]) : null);
    const around = { before: neighbour(i - 1), after: neighbour(i + 1), place: i + 1, count: order.length };
    const title = fillUnit(unitPage, unitOf(card), around);
    gallery.hidden = true;
    unitPage.hidden = false;
    opened = card;
    document.title = `${unitOf(card).name} – ${galleryTitle}`;
    window.scrollTo(0, 0);
    title.focus({ preventScroll: true });
  } else if (opened) {
    unitPage.hidden = true;
    unitPage.replaceChildren();
    gallery.hidden = false;
    document.title = galleryTitle;
    window.scrollTo(0, scrolled);
    opened.querySelector("a").focus({ preventScroll: true });
    opened.scrollIntoView({ block: "nearest" });
    opened = null;
  }
}

/** The card that an arrow key, Home or End leads to from `card`. */
function cardBeside(card, key) {
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  if (key === "Home") return shown[0];
  if (key === "End") return shown.at(-1);
  return key in steps ? shown[shown.indexOf(card) + steps[key]] : undefined;
}

/** Handle the keys of both views. */
function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  const links = { ArrowLeft: "prev", ArrowRight: "next", Escape: "back" };
  if (!unitPage.hidden) {
    document.getElementById(links[event.key])?.click();
    return;
  }
  const typing = event.target.matches("input");
  const card = event.target.closest(".card");
  if (event.key === "/" && !typing && tools) {
    event.preventDefault();
    document.getElementById("text").focus();
  } else if (card) {
    const next = cardBeside(card, event.key);
    if (!next) return;
    event.preventDefault();
    next.querySelector("a").focus();
  }
}

cards.forEach((card, i) => { card.dataset.place = i; });
if (tools) {
  tools.hidden = false;
  document.getElementById("text").addEventListener("input", refresh);
  for (const select of tools.querySelectorAll("select")) select.addEventListener("change", refresh);
  tools.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => {
    tools.reset();
    refresh();
    document.getElementById("text").focus();
  });
}
history.scrollRestoration = "manual";
window.addEventListener("hashchange", route);
document.addEventListener("keydown", onKey);
settlePictures();
route();
