// The activation curve, as an SVG.

const CURVE = { width: 440, height: 230, left: 52, right: 12, top: 12, bottom: 40 };

/** An SVG element with its attributes and, if given, its text. */
function drawn(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Up to about `count` round numbers from `low` to `high`. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

/** [low, high] of some numbers, made wider if all of them are equal. */
function range(numbers) {
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

/** The trace's finite points as one path, with gaps where values are missing. */
function path(trace, x, y) {
  let pen = "M";
  let line = "";
  for (const [step, value] of trace) {
    if (Number.isFinite(value)) line += `${pen}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = Number.isFinite(value) ? "L" : "M";
  }
  return line;
}

/** The two axes with their ticks and names. */
function axes(xTicks, yTicks, x, y) {
  const { width, height, left, right, top, bottom } = CURVE;
  const parts = [];
  for (const value of yTicks) {
    parts.push(drawn("path", { class: "axis", d: `M${left} ${y(value)}H${width - right}` }));
    const place = { x: left - 6, y: y(value) + 4, "text-anchor": "end" };
    parts.push(drawn("text", place, formatted(+value.toPrecision(6))));
  }
  for (const value of xTicks) {
    const place = { x: x(value), y: height - bottom + 16, "text-anchor": "middle" };
    parts.push(drawn("text", place, formatted(+value.toPrecision(6))));
  }
  const middle = (top + height - bottom) / 2;
  const aside = { class: "name", "text-anchor": "middle", transform: `translate(12 ${middle}) rotate(-90)` };
  parts.push(drawn("text", aside, "activation"));
  const below = { class: "name", "text-anchor": "middle", x: left + (width - left - right) / 3, y: height - 6 };
  parts.push(drawn("text", below, "step"));
  return parts;
}

/** The curve of `activation` {initial, final, trace}; null if it has fewer than 2 finite points. */
function activationCurve(activation) {
  const trace = (activation?.trace ?? []).filter((point) => Array.isArray(point));
  const finite = trace.filter(([step, value]) => Number.isFinite(step) && Number.isFinite(value));
  if (finite.length < 2) return null;
  const { width, height, left, right, top, bottom } = CURVE;
  const final = Number.isFinite(activation.final) ? [activation.final] : [];
  const [first, last] = range(finite.map(([step]) => step));
  const [low, high] = range([...finite.map(([, value]) => value), ...final]);
  const x = (step) => left + ((step - first) / (last - first)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const said = `Activation over ${formatted(last)} steps, from ${formatted(finite[0][1])} to `
    + `${formatted(finite.at(-1)[1])}; the saved picture's is ${formatted(activation.final)}.`;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said });
  svg.append(...axes(ticks(first, last, 5), ticks(low, high, 5), x, y));
  svg.append(drawn("path", { class: "trace", d: path(trace, x, y) }));
  for (const value of final) {
    svg.append(drawn("path", { class: "final", d: `M${left} ${y(value)}H${width - right}` }));
    const place = { class: "name", x: width - right, y: height - 6, "text-anchor": "end" };
    const key = drawn("text", place, `saved picture ${formatted(value)}`);
    svg.append(key, drawn("path", { class: "final", d: `M${width - right - 160} ${height - 10}h24` }));
  }
  return svg;
}
