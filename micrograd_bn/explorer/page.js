"use strict";
// The program above computes every number of the page from those that are given; this shows them at a step, and lets them be changed.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const INLINE = location.protocol === "about:"; // in a notebook's frame, where the page has no address
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const ABOUT_CODE = $("about-code").textContent;
const ROWS = 20; // of a longer table the first so many, until all are asked for
const state = { step: 0, zoom: 0, example: 0, whatif: false, leaves: [], timer: null, undo: [], all: false };
let results = [], errors = []; // the program's, a list for each of data.quantities: numbers, and bounds on their rounding
let shown = []; // what is on the page and has a number of the results in it
let view = {}; // the elements of the graph that is shown

const zoom = () => data.zooms[state.zoom];
const steps = () => zoom().steps;
const here = () => steps()[state.step - 1];
const size = (shape) => shape.reduce((a, b) => a * b, 1);
const flat = (shape) => size(shape) === 1;

// ---- numbers, as they are called and as they are read

function key(name, shape, i) {
  if (flat(shape)) return name;
  const index = [];
  for (let k = shape.length - 1, rest = i; k >= 0; k--) {
    index.unshift(rest % shape[k]);
    rest = Math.floor(rest / shape[k]);
  }
  return `${name}[${index.join(",")}]`;
}

function format(number, digits = 4) {
  if (Number.isNaN(number)) return "NaN";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  if (number === 0) return "0";
  const size = Math.abs(number);
  const text = size >= 1e5 || size < 1e-4 ? number.toExponential(digits - 1).replace(/\.?0*e\+?/, "e") : String(Number(number.toPrecision(digits)));
  return text.replace(/-/g, "−");
}

const cut = (q) => state.whatif && data.quantities[q].without === null && ["gradient", "term"].includes(data.quantities[q].kind);
const place = (q) => (state.whatif && data.quantities[q].without) || q;
const numbers = (q) => results[place(q)];

function written(q, i, digits) {
  if (cut(q)) return "nothing";
  const number = numbers(q)[i];
  return number && Number.isFinite(number) && Math.abs(number) <= errors[place(q)][i] ? "≈ 0" : format(number, digits);
}

// The longest of the texts, with fewer and fewer digits, that has no more than so many characters and a point.
const fitting = (texts, most) => texts.find((text) => text.replace(".", "").length <= most) ?? texts.at(-1);

// What a slot of the graph has room for, and a field.
const fitted = (q, i) => fitting([4, 3, 2, 1].map((digits) => written(q, i, digits)), 7);
const inField = (number) => fitting([5, 4, 3, 2, 1].map((digits) => format(number, digits)), 8);

// Whether all numbers are one, repeated.
function uniform(q) {
  const all = cut(q) ? [] : numbers(q);
  return all.length > 1 && all.every((a) => a === all[0]);
}

function list(q) {
  if (cut(q)) return "nothing: taken as a constant";
  if (uniform(q)) return `all ${written(q, 0)}`;
  return numbers(q).slice(0, 20).map((_, i) => written(q, i)).join(", ") + (numbers(q).length > 20 ? ", …" : "");
}

function compute() {
  const found = gradients(...state.leaves, ...data.fixed);
  results = found[1].map((numbers) => numbers.map(Number));
  errors = found[2];
}

// An element that shows a number of the results, now and after every change.
function live(element, q, i, text = written) {
  const { kind, key: name, shape } = data.quantities[q];
  if (["value", "gradient", "term"].includes(kind)) element.setAttribute(`data-${kind}`, key(name, shape, i));
  return watch(element, () => {
    const now = text(q, i), number = cut(q) ? "" : String(numbers(q)[i]);
    if (element.textContent !== now) element.textContent = now;
    if (element.dataset.number !== number) element.dataset.number = number;
  });
}

function watch(node, refresh) {
  shown.push({ node, refresh });
  refresh();
  return node;
}

// Of an array that is one number, repeated, that number stands there once.
function once(q, first, others, after) {
  const otherwise = after.textContent;
  watch(first, () => {
    const same = uniform(q);
    for (const node of others) node.style.display = same ? "none" : "";
    after.textContent = same ? ` (all ${numbers(q).length})` : otherwise;
  });
}

function dressed(node, text, attributes = {}) {
  if (text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

const html = (name, text, attributes) => dressed(document.createElement(name), text, attributes);
const svg = (name, attributes, text) => dressed(document.createElementNS("http://www.w3.org/2000/svg", name), text, attributes);

// ---- the graph

const LINE = 17, SLOT = 54, MARGIN = 8, GRAD = 30; // as in view.py

function drawGraph() {
  const { size: [width, height], nodes, edges, groups } = zoom();
  const picture = svg("svg", { viewBox: `-4 -4 ${width + 8} ${height + 8}`, role: "group", "aria-label": "The graph" });
  for (const of of ["", "now"]) {
    const marker = { id: `head${of}`, class: of, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" };
    picture.appendChild(svg("marker", marker)).append(svg("path", { d: "M 0 1 L 10 5 L 0 9 z" }));
  }
  view = { picture, nodes: [], edges: [], gradients: [], width, height };
  for (const { box: [x, y, w, h] } of groups) {
    picture.appendChild(svg("g", { class: "group" })).append(svg("rect", { x, y, width: w, height: h, rx: 8 }));
  }
  for (const edge of edges) {
    const group = picture.appendChild(svg("g", { class: "edge" }));
    const [start, ...rest] = edge.points;
    const tip = rest.pop();
    const line = `M ${start} C ${rest.join(" ")} L ${tip}`;
    const path = svg("path", { d: line, class: "line" });
    group.append(path, svg("path", { d: line, class: "wide" }));
    view.edges.push({ edge, group, path });
  }
  for (const { title, box: [x, y] } of groups) {
    picture.appendChild(svg("g", { class: "group" })).append(svg("text", { x: x + 10, y: y + 17 }, title));
  }
  for (const node of nodes) {
    const group = picture.appendChild(svg("g", { class: `node ${node.kind}`, transform: `translate(${node.at[0] - node.width / 2} ${node.at[1] - node.height / 2})` }));
    group.append(svg("rect", { width: node.width, height: node.height, rx: node.kind === "computed" ? 3 : 10 }));
    group.append(svg("text", { x: MARGIN, y: MARGIN + 11, class: "title" }, node.title));
    const parts = { value: block(node, node.value, 1) };
    if (node.gradient !== null) parts.gradient = block(node, node.gradient, 1 + node.rows.length + node.bars);
    group.append(...Object.values(parts));
    view.nodes.push({ node, group, ...parts });
  }
  for (const entry of view.edges) {
    if (!entry.edge.label) continue;
    entry.label = picture.appendChild(svg("g", { class: "label" }));
    entry.label.append(...label(entry.edge));
  }
  for (const { node, group } of view.nodes) explain(group, () => aboutNode(node));
  for (const { edge, group } of view.edges) explain(group, () => aboutEdge(edge));
  $("graph").replaceChildren(picture);
  fit();
}

// Some numbers in a box, from its given line on.
function block(node, q, line) {
  const part = svg("g"), { kind, shape } = data.quantities[q];
  const grad = kind === "gradient";
  let y = MARGIN + 11 + line * LINE;
  if (grad) part.append(svg("text", { x: MARGIN, y, class: "grad" }, "grad"));
  const found = [], ofShape = (y) => svg("text", { x: MARGIN, y, class: "shape" }, shape.join("×"));
  node.rows.forEach((row, r) => {
    if (r === 1 && shape.includes(size(shape))) part.append(ofShape(y)); // one row, in two
    row.forEach((i, j) => {
      const x = MARGIN + GRAD + j * SLOT, right = x + SLOT - 6;
      const tint = svg("rect", { x, y: y - 12.5, width: SLOT - 3, height: 16, rx: 2, fill: "transparent", class: "tint" });
      const text = svg("text", { x: right, y, "text-anchor": "end", class: grad ? "grad" : "value" });
      part.append(tint, live(text, q, i, fitted));
      if (grad) {
        view.gradients.push(q);
        watch(tint, () => shade(tint, cut(q) ? 0 : numbers(q)[i]));
      }
      found.push([text, tint]);
    });
    y += LINE;
  });
  if (found.length > 1) {
    const after = part.appendChild(svg("text", { x: MARGIN + GRAD + SLOT - 2, y: MARGIN + 11 + line * LINE, class: grad ? "grad" : "value" }));
    once(q, found[0][0], found.slice(1).flat(), after);
  }
  if (node.bars) {
    part.append(ofShape(y));
    const bars = part.appendChild(svg("path", { class: `bars ${grad ? "grad" : ""}`, transform: `translate(${MARGIN + GRAD + 8} ${y - 12})` }));
    watch(bars, () => drawBars(bars, q, node.width - 2 * MARGIN - GRAD - 8));
  }
  return part;
}

// Blue is positive, orange negative; the stronger, the larger among the gradients in the picture.
function shade(tint, number) {
  const part = Math.sqrt(Math.abs(number) / (view.largest || 1));
  tint.setAttribute("fill", number ? `rgb(var(--${number > 0 ? "more" : "less"}) / ${Math.min(1, part) * 0.38})` : "transparent");
}

function drawBars(bars, q, width) {
  const all = cut(q) ? [] : numbers(q), n = Math.min(all.length, 60), most = Math.max(...all.map(Math.abs), 1e-300), w = width / n;
  bars.setAttribute("d", all.slice(0, n).map((a, i) => {
    const h = Number.isFinite(a) ? a / most * 7 : 0;
    return `M ${(i * w).toFixed(1)} 8 h ${(w * 0.8).toFixed(1)} v ${(-h).toFixed(1)} h ${(-w * 0.8).toFixed(1)} z`;
  }).join(""));
}

// What stands at an arrow: its number, and the first numbers of its term.
function label(edge) {
  const [x, y] = edge.label, lines = [];
  const first = zoom().numbered && edge.number !== null ? 1 : 0;
  if (first) lines.push(svg("text", { x, y: y - 3 }, `(${edge.number})`));
  if (edge.term !== null) {
    const text = svg("text", { x, y: y + (first ? 12 : 4), class: "term" });
    const n = size(data.quantities[edge.term].shape);
    const number = text.appendChild(live(svg("tspan"), edge.term, 0, fitted));
    if (n > 1) {
      const comma = svg("tspan", {}, ", "), second = live(svg("tspan"), edge.term, 1, fitted), after = svg("tspan", {}, n > 2 ? " …" : "");
      text.append(comma, second, after);
      once(edge.term, number, [comma, second], after);
    }
    lines.push(text);
  }
  return lines;
}

// As wide as there is room for, or as high if that shows the whole, but legible: else the frame scrolls, and says so.
function fit() {
  const frame = $("graph"), natural = view.width + 8, wide = (frame.clientWidth - 2) / natural;
  const high = (parseFloat(getComputedStyle(frame).maxHeight) - 4) / (view.height + 8);
  const scale = Math.min(1.15, Math.max(high < 0.75 ? wide : Math.min(wide, high), 0.75));
  view.picture.setAttribute("width", natural * scale);
  view.picture.setAttribute("height", (view.height + 8) * scale);
  $("cue").hidden = frame.scrollWidth <= frame.clientWidth + 2 && frame.scrollHeight <= frame.clientHeight + 2;
  if ($("cue").hidden) frame.removeAttribute("tabindex");
  else frame.tabIndex = 0;
}

function aboutNode(node) {
  const parts = [node.title, `value: ${state.step >= node.valueAt ? list(node.value) : "not computed yet"}`];
  if (node.gradient !== null && state.step >= node.gradientAt) parts.push(`gradient: ${list(node.gradient)}`);
  if (node.kind === "constant") parts.push("a constant: no gradient goes to it");
  return parts.join("; ");
}

function aboutEdge(edge) {
  const name = `${zoom().numbered && edge.number !== null ? `(${edge.number}) ` : ""}${edge.name}${edge.formula ? ` = ${edge.formula}` : ""}`;
  if (edge.term === null) return `${edge.name}: no gradient goes back here`;
  const repeated = edge.repeated ? `; repeated ${edge.repeated} times on the way forward, so a sum on the way back` : "";
  return `${name}${repeated}; carries back: ${state.step >= edge.at ? list(edge.term) : "nothing yet"}`;
}

// ---- what is shown where the pointer or the keyboard is

function explain(group, about) {
  group.setAttribute("tabindex", 0);
  group.setAttribute("role", "img");
  group.about = about;
  const show = () => {
    const box = group.getBoundingClientRect(), tip = $("tip");
    tip.textContent = about();
    tip.hidden = false;
    const x = Math.max(8, Math.min(box.left + box.width / 2 - tip.offsetWidth / 2, innerWidth - tip.offsetWidth - 8));
    const below = box.bottom + tip.offsetHeight + 8 < innerHeight;
    tip.style.left = `${x + scrollX}px`;
    tip.style.top = `${(below ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6)) + scrollY}px`;
  };
  for (const event of ["pointerenter", "focus"]) group.addEventListener(event, show);
  for (const event of ["pointerleave", "blur"]) group.addEventListener(event, () => { $("tip").hidden = true; });
}

function relabel() {
  for (const { group } of [...view.nodes, ...view.edges]) group.setAttribute("aria-label", group.about());
}

// ---- the step in the graph

function mark() {
  const step = here(), now = state.step, along = step?.back ? zoom().edges.find((edge) => edge.number === step.number) : null;
  for (const { node, group, value, gradient } of view.nodes) {
    value.classList.toggle("later", now < node.valueAt);
    gradient?.classList.toggle("later", now < node.gradientAt || cut(node.gradient));
    gradient?.classList.toggle("wrong", state.whatif && data.quantities[node.gradient].without !== null && differs(node.gradient));
    group.classList.toggle("now", step !== undefined && node.key === (along ? along.from : step.node));
  }
  for (const { edge, group, path, label } of view.edges) {
    const back = along === edge, ahead = step !== undefined && !along && edge.to === step.node, gone = state.whatif && edge.cut;
    group.classList.toggle("now", back || ahead);
    group.classList.toggle("back", back && !gone);
    group.classList.toggle("gone", gone && now > 0);
    path.setAttribute("marker-end", back ? "" : `url(#head${ahead ? "now" : ""})`);
    path.setAttribute("marker-start", back ? "url(#headnow)" : "");
    label?.querySelector(".term")?.classList.toggle("later", now < edge.at);
    label?.classList.toggle("gone", gone);
    label?.classList.remove("later");
  }
  travel(view.edges.find(({ edge }) => edge === along));
  relabel();
  const boxes = [along ? along.from : step?.node, along?.to].map((key) => view.nodes.find(({ node }) => node.key === key));
  bring(boxes.flatMap((box) => box?.group.getBoundingClientRect() ?? []));
}

const differs = (q) => results[q].some((a, i) => a !== results[data.quantities[q].without][i]);

// Scroll the frame, and nothing else, to what is of interest now, and to where that comes from if both have room.
function bring(boxes) {
  if (!boxes.length) return;
  const frame = $("graph"), room = frame.getBoundingClientRect();
  const by = (low, high) => {
    const ends = boxes.map((box) => [box[low], box[high]]), both = [Math.min(...ends.map(([a]) => a)), Math.max(...ends.map(([, b]) => b))];
    const [start, end] = both[1] - both[0] < room[high] - room[low] - 40 ? both : ends[0];
    return start < room[low] ? start - room[low] - 20 : end > room[high] ? Math.min(end - room[high] + 20, start - room[low] - 20) : 0;
  };
  frame.scrollBy({ left: by("left", "right"), top: by("top", "bottom"), behavior: CALM.matches ? "auto" : "smooth" });
}

// The term goes along the arrow, the way the gradient flows, to its place beside it; where there is none, it stays half way.
function travel(along) {
  view.pill?.remove();
  view.pill = null;
  cancelAnimationFrame(view.frame);
  if (!along || cut(along.edge.term) || (CALM.matches && along.label)) return;
  const { edge, path, label } = along, length = path.getTotalLength(), n = size(data.quantities[edge.term].shape);
  const pill = view.pill = view.picture.appendChild(svg("g", { class: "pill", "aria-hidden": "true" }));
  const text = written(edge.term, 0) + (n > 1 ? " …" : ""), width = text.length * 7 + 12;
  pill.append(svg("rect", { x: -width / 2, y: -10, width, height: 20, rx: 10 }), svg("text", { y: 4 }, text));
  const began = performance.now();
  label?.classList.add("later");
  const move = (time) => {
    const part = CALM.matches ? 1 : Math.min(1, Math.max(0, time - began) / 900);
    const { x, y } = path.getPointAtLength(length * (1 - part * (label ? 1 : 0.5)));
    pill.setAttribute("transform", `translate(${x} ${y})`);
    if (part < 1) view.frame = requestAnimationFrame(move);
    else if (label) {
      pill.remove();
      label.classList.remove("later");
    }
  };
  move(began);
}

// ---- the panel

function grid(head, rows, caption) {
  const found = html("table");
  if (caption) found.append(html("caption", caption));
  found.appendChild(html("thead")).appendChild(html("tr")).append(...head);
  const body = found.appendChild(html("tbody"));
  for (const cells of rows) body.appendChild(html("tr")).append(...cells);
  return found;
}

const columnHead = (text) => html("th", text, { scope: "col" });

function equals({ q, head }) {
  const text = html("span");
  return watch(text, () => { text.textContent = written(q, 0).startsWith("≈") ? `${head} ` : `${head} = `; });
}

function table({ columns }, caption) {
  const parts = [], line = html("div", undefined, { class: "singles" }), bySize = new Map();
  for (const column of columns) {
    const n = size(data.quantities[column.q].shape);
    if (n > 1) bySize.set(n, [...bySize.get(n) ?? [], column]);
    else line.appendChild(html(column.result ? "b" : "span")).append(equals(column), live(html("span"), column.q, 0));
  }
  if (line.hasChildNodes()) parts.push(line);
  for (const [n, several] of bySize) {
    const { shape } = data.quantities[several[0].q];
    const rows = Array.from({ length: state.all ? n : Math.min(n, ROWS) }, (_, i) => [
      html("th", key("", shape, i).slice(1, -1), { scope: "row" }),
      ...several.map(({ q, result }) => live(html("td", undefined, { class: result ? "result" : "" }), q, i)),
    ]);
    const box = html("div", undefined, { class: "scroll", tabindex: 0, role: "group", "aria-label": caption });
    box.append(grid([html("td"), ...several.map(({ head }) => columnHead(head))], rows, bySize.keys().next().value === n ? caption : ""));
    parts.push(box);
    if (n > ROWS) {
      const more = html("button", state.all ? "Show fewer" : `Show all ${n}`, { type: "button" });
      more.addEventListener("click", () => { state.all = !state.all; show(); });
      parts.push(more);
    }
  }
  return parts;
}

// In place of what would be NaN: which number has no value, and what it was to be computed of.
function complain() {
  const lost = (q) => results[q].findIndex((a) => !Number.isFinite(a));
  const node = zoom().nodes.find(({ value }) => lost(value) >= 0), q = node ? node.value : results.findIndex((_, q) => lost(q) >= 0);
  $("undefined").hidden = q < 0;
  if (q < 0) return;
  const { key: name, shape, kind } = data.quantities[q];
  const what = node ? `${key(node.symbol, shape, lost(q))} is not a finite number: ${node.title}` : `the ${kind} ${key(name, shape, lost(q))} is not a finite number`;
  $("undefined").textContent = `With these numbers ${what}. What depends on it is undefined; Undo takes the last change back.`;
}

function whatif() {
  const wrong = state.whatif ? view.nodes.filter(({ node: { kind, gradient: q } }) => kind === "leaf" && q !== null && data.quantities[q].without !== null && differs(q)) : [];
  if (!wrong.length) return [];
  const rows = wrong.flatMap(({ node: { symbol, gradient: q } }) => results[q].map((right, i) => {
    const found = results[data.quantities[q].without][i];
    return { name: key(`d${symbol}`, data.quantities[q].shape, i), numbers: [found, right, found - right] };
  }));
  const names = wrong.map(({ node }) => `d${node.symbol}`), most = Math.max(...rows.map(({ numbers }) => Math.abs(numbers[2])));
  const text = `The mistake everyone makes once: no gradient through ${data.statistics.join(" and ")}. By that, ${names.length > 3 ? `${names[0]}, …, ${names.at(-1)}` : names.join(", ")} ${names.length > 1 ? "are" : "is"} off by up to ${format(most)}.`;
  const cells = rows.slice(0, ROWS).map(({ name, numbers }) => [
    html("th", name, { scope: "row" }),
    ...numbers.map((number, j) => html("td", format(number), { "data-number": number, class: j === 1 ? "" : "wrong" })),
  ]);
  return [html("p", text, { class: "warning" }), grid([html("td"), ...["with constants", "right", "error"].map(columnHead)], cells)];
}

function math(step) {
  const parts = (step?.math ?? []).slice(0, state.whatif ? step?.holding : undefined).map((text) => {
    const line = html("div", undefined, { class: "formula", role: "group", tabindex: 0, "aria-label": "Formula" });
    line.append(new DOMParser().parseFromString(text, "application/xml").documentElement);
    return line;
  });
  if (step?.formula) parts.push(html("p", step.formula));
  return parts;
}

function show() {
  const step = here();
  shown = shown.filter(({ node }) => view.picture.contains(node));
  $("title").textContent = step ? step.title : "The start";
  const given = data.leaves.filter(({ kind }) => kind !== "upstream").map(({ symbol }) => symbol);
  const start = `${given.slice(0, 8).join(", ")}${given.length > 8 ? ", …" : ""} ${given.length > 1 ? "are" : "is"} given. Go on: a step at a time, the rest is computed.`;
  $("sentence").textContent = step ? step[state.whatif && step.back ? "without" : "sentence"] : start;
  $("math").replaceChildren(...math(step));
  for (const line of $("math").querySelectorAll(".formula")) { // as large as there is room for, but legible: then it scrolls
    const share = line.clientWidth / line.scrollWidth;
    if (share < 1) line.style.fontSize = `${Math.max(0.75, share * 0.98)}em`;
    if (line.scrollWidth <= line.clientWidth) line.removeAttribute("tabindex");
  }
  $("about-code").textContent = state.whatif ? `Here is the program of the right gradients: they go through ${data.statistics.join(" and ")}, too.` : ABOUT_CODE;
  const captions = step?.back ? ["What arrives, and what goes on", "The terms add up"] : ["The numbers put in"];
  $("tables").replaceChildren(...whatif(), ...(step?.tables ?? []).flatMap((columns, i) => table(columns, captions[i])));
  $("slider").max = steps().length;
  $("slider").value = state.step;
  $("slider").setAttribute("aria-valuetext", $("title").textContent);
  $("place").textContent = `${state.step} / ${steps().length}`;
  document.body.dataset.step = state.step;
  $("back").disabled = state.step === 0;
  $("next").disabled = state.step === steps().length;
  const lines = [...$("source").children];
  lines.forEach((line, i) => {
    line.classList.toggle("now", Boolean(step?.lines.includes(i)));
    line.classList.toggle("later", zoom().source[i].step > state.step);
  });
  const line = lines[step?.lines.find((i) => zoom().source[i].step === state.step) ?? step?.lines[0]];
  if (line) $("source").scrollTop = line.offsetTop - $("source").offsetTop - 30;
  mark();
}

function drawSource() {
  $("source").replaceChildren(...zoom().source.map(({ text, step }) => {
    const line = html("li", undefined, { class: text.startsWith("#") ? "note" : "" });
    line.appendChild(html("button", text, { type: "button" })).addEventListener("click", () => go(step));
    return line;
  }));
}

// ---- the numbers that are given

function update() {
  compute();
  view.largest = Math.max(0, ...view.gradients.filter((q) => !cut(q)).flatMap((q) => numbers(q).map(Math.abs)).filter(Number.isFinite));
  for (const { refresh } of shown) refresh();
  plot();
  complain();
}

function write(leaf, i, force) {
  const input = inputs[leaf][i], number = state.leaves[leaf][i];
  if (force || input !== document.activeElement) input.value = inField(number);
  input.dataset.number = number;
}

function change(leaf, i, number) {
  state.leaves[leaf][i] = number;
  write(leaf, i);
  update();
  remember();
}

function keep() { // for undo
  state.undo.push(state.leaves.map((a) => [...a]));
  if (state.undo.length > 200) state.undo.shift();
  $("undo").disabled = $("reset").disabled = false;
}

function restore(leaves) {
  state.leaves = leaves.map((a) => [...a]);
  drawn.range = null;
  inputs.forEach((own, leaf) => own.forEach((input, i) => {
    write(leaf, i, true);
    input.removeAttribute("aria-invalid");
  }));
  $("complaint").hidden = true;
  update();
  show();
  remember();
}

function undo() {
  if (state.undo.length) restore(state.undo.pop());
  $("undo").disabled = !state.undo.length;
}

const parse = (text) => {
  const plain = text.trim().replace(/−/g, "-").replace(",", ".");
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(plain) ? Number(plain) : NaN;
};

// A step that suits the number: a hundredth of its power of ten.
const unit = (number) => 10 ** (Math.floor(Math.log10(Math.abs(number) || 1)) - 1);
const moved = (number, count, of) => Number((number + count * of).toPrecision(12));

// An arrow key moves a number by a step.
function nudge(event, leaf, i, begin) {
  const count = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
  if (!count) return;
  event.preventDefault();
  begin();
  drawn.range = null;
  const number = state.leaves[leaf][i];
  change(leaf, i, moved(number, event.shiftKey ? 10 * count : count, unit(number)));
  write(leaf, i, true);
}

function field(leaf, i) {
  const own = key(data.leaves[leaf].key, data.leaves[leaf].shape, i);
  const input = html("input", undefined, { "data-leaf": own, "aria-label": own, inputmode: "decimal", autocomplete: "off", spellcheck: "false" });
  let kept = false; // what is done to it while it has the focus is undone at once
  const begin = () => {
    if (!kept) keep();
    kept = true;
    drawn.range = null;
  };
  input.addEventListener("focus", () => { kept = false; });
  input.addEventListener("input", () => {
    const number = parse(input.value), wrong = !Number.isFinite(number);
    input.setAttribute("aria-invalid", wrong);
    $("complaint").hidden = !wrong;
    if (wrong) return void ($("complaint").textContent = `“${input.value}” is no number: ${own} stays ${format(state.leaves[leaf][i], 5)}.`);
    begin();
    change(leaf, i, number);
  });
  input.addEventListener("blur", () => {
    write(leaf, i, true);
    input.removeAttribute("aria-invalid");
    relabel();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") input.blur();
    nudge(event, leaf, i, begin);
  });
  sideways(input, () => {
    const start = state.leaves[leaf][i], of = unit(start);
    keep();
    return (pixels) => change(leaf, i, moved(start, Math.round(pixels / 4), of));
  });
  return input;
}

// Dragging: ``begin`` is asked when the pointer has moved, and gives what is called with the pixels since.
function sideways(element, begin) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    let move = null;
    const x = event.clientX;
    element.setPointerCapture(event.pointerId); // a fast pointer leaves it at once
    const drag = (event) => {
      const pixels = event.clientX - x;
      if (!move && Math.abs(pixels) > 3) {
        move = begin();
        element.blur();
        getSelection()?.removeAllRanges();
      }
      if (move) move(pixels);
    };
    const end = () => {
      element.removeEventListener("pointermove", drag);
      for (const name of ["pointerup", "pointercancel"]) element.removeEventListener(name, end);
      if (move) {
        drawn.range = null;
        element.blur();
        plot();
        relabel();
      }
    };
    element.addEventListener("pointermove", drag);
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, end);
  });
}

function drawLeaves() {
  const groups = new Map(); // the single numbers x[0], x[1], … stand together, as those of an array do
  return data.leaves.map(({ key: name, symbol, shape, kind }, leaf) => {
    const inputs = Array.from({ length: size(shape) }, (_, i) => field(leaf, i));
    const about = { upstream: "the upstream gradient", constant: "a constant of an equation", leaf: "" }[kind];
    const [, base, index] = flat(shape) ? /^([^[]+)\[(.+)\]$/.exec(symbol) ?? [] : [];
    if (flat(shape) && !base) {
      const row = $("leaves").appendChild(html("label", undefined, { class: "single" }));
      const text = row.appendChild(html("span", symbol));
      if (about) text.append(html("small", ` ${about}`));
      row.append(inputs[0]);
      return inputs;
    }
    const grid = groups.get(base) ?? fields(base ?? symbol, [about, base ? "" : shape.join(" × ")].filter(Boolean).join(", "));
    if (base) groups.set(base, grid);
    inputs.forEach((input, i) => grid.appendChild(html("label", index ?? key("", shape, i).slice(1, -1))).append(input));
    if (grid.childElementCount > 20) grid.tabIndex = 0; // it scrolls
    return inputs;
  });
}

function fields(symbol, about) {
  const set = $("leaves").appendChild(html("fieldset"));
  set.appendChild(html("legend", `${symbol} `)).append(html("small", about));
  return set.appendChild(html("div", undefined, { class: "numbers" }));
}

const inputs = drawLeaves(); // the fields, of each leaf

// ---- the points on number lines: an array that is given, and what has as many numbers and is computed of it

const drawn = { range: null, rows: [] };

function drawPlot() {
  const nodes = data.zooms[0].nodes, differentiated = nodes.filter(({ kind, gradient }) => kind === "leaf" && gradient !== null).map(({ key }) => key);
  const leaf = data.leaves.findIndex(({ key, shape }) => differentiated.includes(key) && size(shape) > 1); // the largest come first
  if (leaf < 0) return;
  const n = size(data.leaves[leaf].shape), { symbol, shape } = data.leaves[leaf];
  const computed = nodes.filter(({ kind, value }) => kind === "computed" && String(data.quantities[value].shape) === String(shape));
  const rows = [{ symbol }, ...computed.slice(0, 3).map(({ value, symbol }) => ({ q: value, symbol }))];
  const left = drawn.left = Math.max(24, ...rows.map(({ symbol }) => Math.min(symbol.length, 16) * 7 + 6)); // the lines begin beside the longest name
  const picture = svg("svg", { viewBox: `0 0 300 ${rows.length * 52}`, role: "group", "aria-label": `The points of ${symbol} on number lines` });
  drawn.leaf = leaf;
  drawn.lines = n <= 30 ? Array.from({ length: n }, () => picture.appendChild(svg("polyline", { class: "same", fill: "none" }))) : [];
  drawn.rows = rows.map((row, r) => {
    const y = r * 52 + 22;
    picture.append(svg("path", { class: "axis", d: `M ${left} ${y} H 296` }), svg("text", { x: 0, y: y + 4 }, row.symbol.length > 16 ? `${row.symbol.slice(0, 15)}…` : row.symbol));
    const ends = [svg("text", { x: left, y: y + 22 }), svg("text", { x: 296, y: y + 22, "text-anchor": "end" })];
    picture.append(...ends);
    const points = Array.from({ length: n }, (_, i) => picture.appendChild(row.q === undefined ? movable(leaf, i) : svg("circle", { cy: y, r: n > 30 ? 3 : 4 })));
    return { ...row, y, ends, points };
  });
  $("plot").replaceChildren(picture);
}

function movable(leaf, i) {
  const { key: name, shape } = data.leaves[leaf];
  const point = svg("circle", { cy: 22, r: size(shape) > 30 ? 3 : 6, tabindex: 0, role: "slider", "aria-label": key(name, shape, i) });
  sideways(point, () => {
    const start = state.leaves[leaf][i], { range: [[low, high]] } = drawn;
    keep();
    const scale = (high - low) / (296 - drawn.left) * 300 / $("plot").clientWidth, of = 10 ** Math.floor(Math.log10(scale));
    return (pixels) => change(leaf, i, Number((Math.round((start + pixels * scale) / of) * of).toPrecision(12)));
  });
  point.addEventListener("keydown", (event) => nudge(event, leaf, i, keep));
  return point;
}

function plot() {
  const { rows, lines } = drawn;
  if (!rows.length) return;
  const all = rows.map(({ q }) => (q === undefined ? state.leaves[drawn.leaf] : results[q]));
  drawn.range ??= all.map((numbers) => {
    const finite = numbers.filter(Number.isFinite), low = Math.min(...finite), high = Math.max(...finite), more = (high - low || Math.abs(low) || 1) * 0.08;
    return [low - more, high + more];
  });
  const places = rows.map((row, r) => {
    const [low, high] = drawn.range[r];
    [low, high].forEach((number, k) => { row.ends[k].textContent = Number.isFinite(number) ? format(number, 3) : ""; });
    return row.points.map((point, i) => {
      const part = (all[r][i] - low) / (high - low), x = drawn.left + (296 - drawn.left) * Math.max(-0.02, Math.min(1.02, part));
      const there = Number.isFinite(part);
      point.style.display = there ? "" : "none";
      if (there) point.setAttribute("cx", x.toFixed(1));
      if (row.q === undefined) {
        point.setAttribute("aria-valuenow", all[r][i]);
        point.setAttribute("aria-valuetext", format(all[r][i]));
      }
      return there ? [x.toFixed(1), row.y] : [];
    });
  });
  lines.forEach((line, i) => line.setAttribute("points", places.flatMap((row) => row[i]).join(" ")));
}

// ---- what a person does

function go(step) {
  state.step = Math.min(steps().length, Math.max(0, step));
  if (state.step === steps().length) play(false);
  show();
  remember();
}

function play(on) {
  clearInterval(state.timer);
  state.timer = on ? setInterval(() => go(state.step + 1), 1800) : null;
  $("play").textContent = on ? "❚❚ pause" : "▶ play";
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

function togglePlay() {
  const start = !state.timer;
  if (start && state.step === steps().length) go(0);
  play(start);
}

// The same place at another zoom: the first step of the same equation on the same way.
function setZoom(index) {
  const step = here(), last = state.step === steps().length;
  state.zoom = index;
  const found = step ? steps().findIndex(({ group, back }) => group === step.group && back === step.back) + 1 : 0;
  state.step = last ? steps().length : found;
  redraw();
}

function redraw() {
  shown = [];
  drawGraph();
  drawSource();
  $("zooms").querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", i === state.zoom));
  update();
  show();
  remember();
}

// ---- the address: the step, and what is other than at the start

function address() {
  const found = new URLSearchParams({ step: state.step });
  if (state.zoom) found.set("zoom", zoom().name);
  if (state.example) found.set("example", state.example);
  if (state.whatif) found.set("whatif", 1);
  data.leaves.forEach(({ key }, leaf) => {
    const own = state.leaves[leaf];
    if (own.some((a, i) => a !== data.examples[state.example].numbers[leaf][i])) found.set(`set ${key}`, own.join(" "));
  });
  return `#${found}`;
}

let waiting = null, last = 0;
function remember() { // browsers refuse more than some hundred changes of the address in half a minute
  if (INLINE || waiting) return;
  const write = () => {
    waiting = null;
    last = performance.now();
    if (location.hash !== address()) history.replaceState(null, "", address());
  };
  const pause = 250 - (performance.now() - last);
  if (pause <= 0) write();
  else waiting = setTimeout(write, pause);
}

function fromAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  const whole = (name, most) => Math.min(most, /^\d+$/.test(found.get(name) ?? "") ? Number(found.get(name)) : 0);
  state.zoom = Math.max(0, data.zooms.findIndex(({ name }) => name === found.get("zoom")));
  state.example = whole("example", data.examples.length - 1);
  state.whatif = found.has("whatif") && data.statistics.length > 0;
  state.step = whole("step", steps().length);
  state.leaves = data.examples[state.example].numbers.map((numbers, leaf) => {
    const own = (found.get(`set ${data.leaves[leaf].key}`) ?? "").split(" ").map(parse);
    return own.length === numbers.length && own.every(Number.isFinite) ? own : [...numbers];
  });
  $("example").value = state.example;
  $("whatif").checked = state.whatif;
  $("reset").disabled = !address().includes("set+");
}

$("back").addEventListener("click", () => go(state.step - 1));
$("next").addEventListener("click", () => go(state.step + 1));
$("play").addEventListener("click", togglePlay);
$("slider").addEventListener("input", (event) => go(Number(event.target.value)));
$("whatif").addEventListener("change", (event) => { state.whatif = event.target.checked; update(); show(); remember(); });
$("undo").addEventListener("click", undo);
$("reset").addEventListener("click", () => { keep(); restore(data.examples[state.example].numbers); $("reset").disabled = true; });
$("example").addEventListener("change", (event) => {
  state.example = Number(event.target.value);
  state.undo = [];
  restore(data.examples[state.example].numbers);
  $("undo").disabled = $("reset").disabled = true;
});
window.addEventListener("hashchange", () => { fromAddress(); restore(state.leaves); redraw(); });
window.addEventListener("resize", fit);
document.addEventListener("keydown", (event) => {
  const target = event.target, typing = target.matches("input[data-leaf]");
  if ((event.ctrlKey || event.metaKey) && event.key === "z") {
    event.preventDefault();
    return undo();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  if (event.key === "Escape") $("tip").hidden = true;
  if (target.matches("select, input[type=range]") && event.key !== " ") return; // these keys are theirs
  if (event.key === " " && target.matches("button, select, input[type=checkbox]")) return;
  const moves = { ArrowLeft: state.step - 1, ArrowRight: state.step + 1, Home: 0, End: steps().length };
  if (event.key in moves) go(moves[event.key]);
  else if (event.key === " ") togglePlay();
  else return;
  event.preventDefault();
});
// What was clicked does not keep the keys: who comes by keyboard keeps the focus.
document.addEventListener("click", (event) => {
  if (event.detail && event.target.closest("button, input[type=checkbox], label:has([type=checkbox])")) document.activeElement.blur();
});

data.examples.forEach(({ name }, i) => $("example").append(html("option", name, { value: i })));
$("examples").hidden = data.examples.length < 2;
$("whatif-label").hidden = !data.statistics.length;
$("constants").textContent = `${data.statistics.join(" and ")} ${data.statistics.length > 1 ? "were constants" : "were a constant"}`;
data.zooms.forEach(({ name }, i) => $("zooms").appendChild(html("button", name, { type: "button" })).addEventListener("click", () => setZoom(i)));
$("zooms").hidden = data.zooms.length < 2;
$("missing").textContent = data.missing;
$("address").hidden = INLINE;
$("undo").disabled = true;
fromAddress();
compute();
drawPlot();
inputs.forEach((own, leaf) => own.forEach((_, i) => write(leaf, i)));
redraw();
if (INLINE) { // a frame out of sight observes nothing, and may be laid out only later
  const tell = () => {
    const page = document.documentElement.offsetHeight;
    if (page) parent.postMessage({ page }, "*");
    else setTimeout(() => { fit(); tell(); }, 50);
  };
  tell();
  window.addEventListener("resize", tell);
  new ResizeObserver(tell).observe(document.documentElement);
}
