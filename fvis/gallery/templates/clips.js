"use strict";
// Pictures: small ones are enlarged without smoothing, and clips get a still image of their first
// frame. page.css shows the clip instead while it is hovered, focused or playing.

const COARSE = 128;  // px; wider pictures are smoothed when they are enlarged

const inside = JSON.parse(document.getElementById("inside")?.textContent ?? "{}");  // pictures that the page itself holds

/** The address of a picture: what the page holds of it, or else its file. */
function source(link) {
  return inside[link] ?? link;
}

/** Show the pictures of a part of the page that the page itself holds. */
function showInside(part) {
  for (const image of part.querySelectorAll("img[data-inside]")) image.src = source(image.dataset.inside);
}

/** Add a canvas with the first frame of a loaded clip. Reads no pixels, which file:// forbids. */
function freeze(image) {
  const clip = image.closest(".clip");
  if (!clip || !image.naturalWidth || clip.querySelector("canvas")) return;
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", image.alt);
  canvas.getContext("2d").drawImage(image, 0, 0);
  canvas.className = image.className;
  clip.append(canvas);
}

/** Prepare a loaded picture: mark it if it is small, freeze it if it is a clip. */
function settle(image) {
  image.classList.toggle("coarse", image.naturalWidth <= COARSE);
  freeze(image);
}

/** Prepare all pictures, loaded or yet to load; drop the canvases of cards that are out of view. */
function settlePictures() {
  document.addEventListener("load", (event) => {
    if (event.target instanceof HTMLImageElement) settle(event.target);
  }, true);
  document.addEventListener("contentvisibilityautostatechange", (event) => {
    const image = event.target.querySelector(".clip img");
    if (!image) return;
    if (event.skipped) event.target.querySelector("canvas")?.remove();
    else if (image.complete) settle(image);
  }, true);
  for (const image of document.querySelectorAll(".picture img")) {
    if (image.complete) settle(image);
  }
}
