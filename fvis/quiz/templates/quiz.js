// A quiz: one trial after the other, each answered by a choice and how sure it is; then the answers to download.

const { page, trials, pictures } = JSON.parse(document.getElementById("content").textContent);
const COLUMNS = ["page", "person", "run", "unit", "condition", "task", "chosen", "confidence", "seconds"];
const queries = [...document.querySelectorAll(".query")];
const sure = [...document.querySelectorAll("[data-confidence]")];
const person = [...crypto.getRandomValues(new Uint8Array(6))].map((n) => n.toString(16).padStart(2, "0")).join("");
const answers = [];
let chosen = null;  // the place of the query that is chosen in the trial shown
let since = 0;

/** Show one of the page's parts. */
function show(id) {
  for (const part of document.querySelectorAll("main")) part.hidden = part.id !== id;
}

/** Fill a grid with pictures, by their numbers. */
function fillGrid(id, numbers) {
  const grid = document.getElementById(id);
  grid.classList.toggle("single", numbers.length === 1);
  grid.replaceChildren(...numbers.map((number) => {
    const image = document.createElement("img");
    image.alt = "";
    image.src = pictures[number];
    return image;
  }));
  if (numbers.length) return;
  const none = document.createElement("p");
  none.className = "none";
  none.textContent = "No pictures on this side.";
  grid.append(none);
}

/** Show the next trial, or the end. */
function next() {
  const trial = trials[answers.length];
  if (!trial) {
    finish();
    return;
  }
  document.getElementById("progress").textContent = `${answers.length + 1} of ${trials.length}`;
  fillGrid("minimising", trial.minimising);
  fillGrid("maximising", trial.maximising);
  queries.forEach((query, i) => { query.querySelector("img").src = pictures[trial.queries[i].picture]; });
  choose(null);
  since = performance.now();
}

/** Choose a query of the trial by its place; null: none. */
function choose(place) {
  chosen = place;
  queries.forEach((query, i) => query.setAttribute("aria-checked", String(i === place)));
  for (const button of sure) button.disabled = place === null;
}

/** Note the answer to the trial shown, if one is chosen. */
function answer(confidence) {
  if (chosen === null) return;
  const { run, unit, condition, task, queries: given } = trials[answers.length];
  const seconds = Math.round(performance.now() - since) / 1000;
  answers.push({ page, person, run, unit, condition, task, chosen: given[chosen].name, confidence, seconds });
  next();
}

/** A value in CSV. */
function quoted(value) {
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Offer the answers to be downloaded. */
function finish() {
  const lines = [COLUMNS, ...answers.map((one) => COLUMNS.map((name) => one[name]))];
  const texts = {
    json: JSON.stringify({ page, person, answers }, null, 1),
    csv: lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n",
  };
  for (const [kind, text] of Object.entries(texts)) {
    const content = new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" });
    document.getElementById(kind).href = URL.createObjectURL(content);
  }
  show("end");
}

/** Handle a key while a trial is shown. */
function onKey(event) {
  if (document.getElementById("trial").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const place = { ArrowUp: 0, ArrowLeft: 0, ArrowDown: 1, ArrowRight: 1 }[event.key];
  if (place !== undefined) {
    event.preventDefault();
    choose(place);
  } else if (["1", "2", "3"].includes(event.key)) answer(Number(event.key));
}

document.getElementById("count").textContent = trials.length;
document.getElementById("begin").addEventListener("click", () => {
  show("trial");
  next();
});
queries.forEach((query, i) => query.addEventListener("click", () => choose(i)));
for (const button of sure) button.addEventListener("click", () => answer(Number(button.dataset.confidence)));
document.addEventListener("keydown", onKey);
window.addEventListener("beforeunload", (event) => {
  if (answers.length && answers.length < trials.length) event.preventDefault();
});
