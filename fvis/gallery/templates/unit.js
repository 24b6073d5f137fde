// A unit's page: pictures, curve, numbers and command. Metadata is inserted as text, not as markup.

const MEANINGS = {
  "image.png": "optimal image", "motif.png": "what the unit sees of it, enlarged", "motif.gif": "what the unit sees of it, enlarged", "clip.gif": "optimal clip", "optimal.gif": "free clip",
  "reconstruction.gif": "the texture, moving", "texture.png": "texture",
  "motion.gif": "motion: hue is direction, brightness speed",
  "side_by_side.gif": "free clip, moving texture, motion", "summary.png": "summary, for print",
  "photograph.png": "photograph",
  "clean.png": "before", "adversarial.png": "after", "perturbation.png": "what was added, amplified",
  "clean.gif": "before", "adversarial.gif": "after", "perturbation.gif": "what was added, amplified",
  "strip.png": "before, what was changed, after", "natural.png": "natural pictures that excite it most",
  "natural.gif": "its clip, and natural clips that excite it most",
};
const NUMBERED = {  // by what precedes the number
  seed: "optimal image from another seed", minimising: "what excites the unit least",
};
const MEASURES = {
  seconds: "s", speed: "px/frame", velocity: "px/frame", normal_velocity: "px/frame",
  direction_deg: "°", spectral_centroid: "cycles/px",
};
const BARS = ["activations", "clean", "adversarial"];  // tables of fractions, which get bars

/** An HTML element with its attributes and children. */
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** A value as text; numbers that are not whole have four significant digits. */
function formatted(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") {
    return String(Number.isInteger(value) ? value : +value.toPrecision(4));
  }
  if (Array.isArray(value)) return `[${value.map(formatted).join(", ")}]`;
  return typeof value === "object" ? JSON.stringify(value) : value;
}

/** A metadata key as words. */
function words(key) {
  return String(key).replaceAll("_", " ");
}

/** Whether a value is a mapping. */
function isMapping(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The [name, value] pairs of a mapping and of all mappings inside it, but for tables. */
function leaves(mapping, prefix = "") {
  return Object.entries(mapping).flatMap(([key, value]) => {
    if (Array.isArray(value) && value.some((one) => Array.isArray(one) || isMapping(one))) return [];
    return isMapping(value) ? leaves(value, `${prefix}${key} `) : [[prefix + key, value]];
  });
}

/** A table of [name, value] rows; with `bars`, each row has a bar for its fraction. */
function table(caption, rows, bars) {
  const body = element("tbody", {});
  for (const [key, value] of rows) {
    const measure = MEASURES[key] && value !== null ? ` ${MEASURES[key]}` : "";
    const row = element("tr", {}, element("th", { scope: "row" }, key instanceof Node ? key : words(key)));
    row.append(element("td", {}, formatted(value) + measure));
    if (bars) {
      const bar = element("span", {});
      bar.style.width = `${100 * Math.min(1, Math.max(0, value || 0))}%`;
      row.append(element("td", { class: "bar", "aria-hidden": "true" }, bar));
    }
    body.append(row);
  }
  return element("table", {}, caption ? element("caption", {}, words(caption)) : null, body);
}

/** A unit's metadata: a table of plain values, then one for each mapping or list of pairs. */
function numbers(metadata) {
  const plain = [];
  const tables = [];
  for (const [key, value] of Object.entries(metadata)) {
    const pairs = Array.isArray(value) && value.length > 0
      && value.every((pair) => Array.isArray(pair) && pair.length === 2);
    if (key === "activation") {
      const { trace, ...ends } = isMapping(value) ? value : { final: value };
      const said = leaves(ends).map(([name, number]) => [name, number ?? "not finite"]);
      tables.unshift(table("activation", said, false));
    } else if (key === "evidence") continue;  // has a section of its own
    else if (isMapping(value)) {
      if (leaves(value).length) tables.push(table(key, leaves(value), BARS.includes(key)));
      if (value.strongest?.length) tables.push(table("strongest", witnesses(value.strongest), false));
    } else if (pairs) tables.push(table(key, value, BARS.includes(key)));
    else if (value !== null && value !== "") plain.push([key, value]);
  }
  return [table("", plain, false), ...tables];
}

/** How far to believe the picture: the word, what speaks for it and against it, and the numbers. */
function evidenceSection(unit) {
  const { evidence } = unit.metadata;
  if (!unit.evidence || !isMapping(evidence)) return null;
  const { word, votes, ...kinds } = evidence;
  const strangers = Object.entries(kinds.strangers ?? {}).map(([name, { top }]) => table(`${name} sees`, top ?? [], true));
  const tables = Object.entries(kinds).filter(([, kind]) => isMapping(kind))
    .map(([name, kind]) => table(name, leaves(kind), false));
  const said = element("p", {}, element("span", { class: `badge ${unit.evidence}` }, unit.evidence), unit.votes ? ` ${unit.votes}` : "");
  return element("section", { class: "evidence" }, element("h2", {}, "Evidence"), said, ...tables, ...strangers);
}

/** A large picture, which a click enlarges; a wide one takes a whole row. */
function figure(unit, file, first) {
  const moves = /\.gif$/i.test(file.name);
  const most = MEANINGS[file.name] ?? NUMBERED[file.name.match(/^(\w+)-\d+\.png$/)?.[1]];
  const meaning = unit.metadata.sign === -1 ? most?.replace("excite it most", "excite it least") : most;
  const link = source(`${unit.folder}/${file.link}`);
  const about = `${meaning ?? file.name} of ${unit.title}`;
  const image = element("img", { alt: about, decoding: "async" });
  const button = element("button", { type: "button", class: "zoom", "aria-label": `Enlarge: ${about}` },
    element("span", { class: moves ? "picture clip" : "picture" }, image));
  button.addEventListener("click", () => enlarge(image));
  const made = element(
    "figure", first ? { class: "first" } : {}, button,
    element("figcaption", {}, meaning ? `${meaning} · ` : "", element("a", { href: link }, file.name)),
  );
  const strongest = file.name === "natural.png" ? unit.metadata.grounding?.strongest ?? [] : [];
  image.addEventListener("load", () => {
    const { naturalWidth: width, naturalHeight: height } = image;
    made.classList.toggle("wide", width > 2 * height || width >= 1000 || strongest.length > 0);
    if (strongest.length) button.replaceWith(patches(image, strongest));
  });
  image.src = link;
  return made;
}

/** A clip in full colour, which plays in its place. */
function video(unit, file) {
  const link = `${unit.folder}/${file.link}`;
  const poster = unit.pictures.find(({ name }) => name === file.name.replace(/mp4$/i, "gif"));
  const player = element("video", {
    controls: "", loop: "", muted: "", playsinline: "", preload: "none", src: link,
    "aria-label": `${file.name} of ${unit.title}`,
    ...(poster ? { poster: `${unit.folder}/${poster.link}` } : {}),
  });
  return element("figure", {}, player, element("figcaption", {}, element("a", { href: link }, file.name)));
}

/** Show a picture as large as the window, over the page. */
function enlarge(image) {
  const dialog = document.getElementById("zoomed");
  const large = element("img", { src: image.src, alt: image.alt });
  large.classList.toggle("coarse", image.naturalWidth <= COARSE);
  dialog.replaceChildren(element("button", { type: "button", "aria-label": `Close: ${image.alt}` }, large));
  dialog.showModal();
}

/** The button that starts and stops the clips of a unit's page. */
function clipButton(figures) {
  const clips = figures.flatMap((made) => [...made.querySelectorAll(".clip")]);
  if (!clips.length) return null;
  const button = element("button", { type: "button" });
  const play = (playing) => {
    for (const clip of clips) clip.classList.toggle("playing", playing);
    button.textContent = playing ? "Pause clips" : "Play clips";
  };
  play(!window.matchMedia("(prefers-reduced-motion: reduce)").matches);
  button.addEventListener("click", () => play(!clips[0].classList.contains("playing")));
  return button;
}

/** The command that makes the unit again, with a button that copies it. */
function commandSection(unit) {
  if (!unit.command) {
    const why = "This run left no record of the command that made it.";
    return element("section", {}, element("h2", {}, "Make it again"), element("p", { class: "quiet" }, why));
  }
  const code = element("code", { class: "command" }, unit.command);
  const button = element("button", { type: "button", "aria-live": "polite" }, "Copy");
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(unit.command);
    } catch {  // some browsers deny file:// pages the clipboard
      window.getSelection().selectAllChildren(code);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Selected";
  });
  const where = unit.typed_in ? [" in ", element("code", {}, unit.typed_in)] : [];
  const together = unit.metadata.repeat === null || unit.metadata.repeat === undefined
    ? "" : " Makes all repeats of the unit, which depend on one another.";
  const shortened = unit.shortened ? " Of paths outside of this folder, only the last name is shown." : "";
  const note = element("p", { class: "quiet" }, "Typed", ...where, ".", shortened, together);
  const noted = where.length || shortened || together;
  return element("section", {}, element("h2", {}, "Make it again"), code, button, noted ? note : null);
}

/** Fill the page with a unit. `around`: the units before and after it, its place, their count. */
function fillUnit(page, unit, around) {
  const link = (other, text, rel) => (
    other ? element("a", { href: addressOf(other), rel, id: rel }, text) : null
  );
  const figures = unit.pictures.map((file, i) => figure(unit, file, i === 0));
  const nav = element(
    "nav", { "aria-label": "Units" },
    element("a", { href: "#units", id: "back" }, "All units"),
    link(around.before, "← Previous", "prev"), link(around.after, "Next →", "next"),
    element("span", { class: "place" }, `${around.place} of ${around.count}`), clipButton(figures), pinButton(unit),
  );
  const badges = unit.outcome.filter((word) => word !== "ok").flatMap((word) => [" ", element("span", { class: `badge ${word}` }, word)]);
  const title = element("h1", { tabindex: "-1" }, unit.title, ...badges);
  const { model, layer } = unit.metadata;
  const videos = unit.files.filter(({ name }) => /\.mp4$/i.test(name)).map((file) => video(unit, file));
  const label = unit.label === unit.title ? null : unit.label;
  const from = [model, layer, unit.run, unit.name].filter(Boolean).join(" · ");
  const curve = activationCurve(unit.metadata.activation);
  const files = unit.files.map((file) => (
    element("li", {}, element("a", { href: `${unit.folder}/${file.link}` }, file.name))
  ));
  page.replaceChildren(
    nav,
    element("header", {}, title, label ? element("p", { class: "subtitle" }, label) : null,
      element("p", { class: "quiet" }, from)),
    element("div", { class: "columns" },
      element("div", {},
        element("section", { class: "figures", "aria-label": "Pictures" }, ...figures, ...videos)),
      element("div", {},
        ...[evidenceSection(unit)].filter(Boolean),
        curve && element("section", {}, element("h2", {}, "Activation curve"), curve),
        element("section", {}, element("h2", {}, "Numbers"), ...numbers(unit.metadata)),
        commandSection(unit),
        element("section", {}, element("h2", {}, "Files"), element("ul", { class: "files" }, ...files)))),
    element("footer", {}, "Keys: ", element("kbd", {}, "←"), " ", element("kbd", {}, "→"),
      " other units, ", element("kbd", {}, "Esc"), " all units."),
  );
  return title;
}
