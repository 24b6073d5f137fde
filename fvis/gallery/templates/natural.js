// The natural patches that excite a unit most, cut out of natural.png, each with its photograph's name.

const SHEET_GAP = 2;  // px between the tiles of natural.png, as `grounding.beside` leaves it

/** Where a tile of natural.png lies: x, y, width and height in px; `count` tiles are on the sheet. */
function tile(sheet, place, count) {
  const height = sheet.naturalHeight;
  const width = (sheet.naturalWidth - 2 * SHEET_GAP) / 2;
  const across = Math.min(Math.ceil(Math.sqrt(count)), height, width);
  const gap = Math.min(height, width) > 2 * across * SHEET_GAP ? SHEET_GAP : 0;
  const [w, h] = [width, height].map((side) => Math.floor((side - (across - 1) * gap) / across));
  const left = width + 2 * SHEET_GAP + (place % across) * (w + gap);
  return [left, Math.floor(place / across) * (h + gap), w, h];
}

/** A list of captioned thumbnails of the patches on a loaded sheet. */
function patches(sheet, strongest) {
  const items = strongest.map(({ file, activation }, place) => {
    const [x, y, w, h] = tile(sheet, place, strongest.length);
    const canvas = element("canvas", { width: w, height: h, role: "img", "aria-label": `patch of ${file}` });
    canvas.getContext("2d").drawImage(sheet, x, y, w, h, 0, 0, w, h);
    return element("li", {}, canvas, element("span", {}, file), element("span", { class: "quiet" }, formatted(activation)));
  });
  return element("ul", { class: "patches" }, ...items);
}

/** The rows of a table of photographs or videos: name, and from which frame, with the activation. */
function witnesses(strongest) {
  return strongest.map(({ file, start, activation }) => {
    const from = start === undefined ? "" : ` from frame ${start}`;
    return [element("span", {}, `${file}${from}`), activation];
  });
}
