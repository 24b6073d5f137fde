"use strict";
// Pictures: small ones in their own pixels; clips still at their first frame till hovered, focused
// or told to play (which is CSS's part).

const COARSE = 128;  // px; wider ones are smoothed where they are enlarged

/** Draw a loaded clip's first frame over it; reads nothing back, so file:// allows it. */
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

/** Show a loaded picture as what it is: coarse, or a clip that stands. */
function settle(image) {
  image.classList.toggle("coarse", image.naturalWidth <= COARSE);
  freeze(image);
}

/** Settle what has loaded and what is yet to load; let go of the frames of cards far away. */
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
