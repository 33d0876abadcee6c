"use strict";
// All numbers and graphs come ready from Python: this shows the one step that is asked for, and hides what comes later.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const LAST = 13;
const INLINE = location.protocol === "about:"; // in a notebook's frame, where the page has no address
const state = { step: 0, column: 0, zoom: "equations", whatif: false, timer: null };

// The step at which a variable's value, and its gradient, are there: a gradient is complete with its last edge.
const [equations, edges] = [data.steps.filter((step) => !step.input), data.steps.filter((step) => step.input)];
const VALUE_AT = Object.fromEntries(equations.map((step) => [step.output, step.number])); // the others are given
const GRADIENT_AT = Object.fromEntries(edges.filter((step) => step.gradient).map((step) => [step.input, step.number]));
GRADIENT_AT.y = edges[0].number;
// The step at which the gradient enters the primitives of equation (n).
const FIRST_EDGE_INTO = Object.fromEntries(
  equations.map(({ number, output }) => [number, edges.find((step) => step.output === output).number]),
);

const vanished = (number) => state.whatif && data.vanish.includes(number);
const column = () => data.columns[state.column];

function format(number) {
  if (number === 0) return "0";
  if (column().zeros.includes(number)) return "≈ 0";
  const size = Math.abs(number);
  const digits = size >= 1e5 || size < 1e-4 ? number.toExponential(3) : String(Number(number.toPrecision(4)));
  return digits.replace(/^-/, "−").replace("e-", "e−").replace("e+", "e");
}
const list = (numbers) => numbers.slice(0, 20).map(format).join(", ") + (numbers.length > 20 ? ", …" : "");

function element(name, text, attributes = {}) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// ---- the graph

function drawGraph() {
  const graph = column().graphs[state.zoom];
  $("graph").className = "graph " + state.zoom;
  $("graph").innerHTML = graph.svg; // drawn by Graphviz, which escapes what stands in it
  $("graph").querySelector("svg").setAttribute("role", "group");
  for (const group of $("graph").querySelectorAll(".node, .edge")) {
    const title = group.querySelector("title");
    group.dataset.name = title.textContent;
    title.remove(); // else the pointer shows it as a tooltip
    const about = describe(group);
    if (!about) continue;
    group.tabIndex = 0;
    group.setAttribute("role", "img");
    group.setAttribute("aria-label", about);
    const show = () => { $("details").textContent = describe(group); };
    group.addEventListener("mouseenter", show);
    group.addEventListener("focus", show);
  }
}

const ends = (group) => group.dataset.name.split("->");

function edgeOf(group) {
  if (!group.classList.contains("edge")) return undefined;
  const [input, output] = ends(group);
  return data.steps.find((step) => step.input === input && step.output === output);
}

function describe(group) {
  const name = group.dataset.name;
  const step = edgeOf(group);
  if (step) {
    const table = column().tables[step.number - 1];
    if (vanished(step.number)) return `(${step.number}) ${step.name}: taken as constant, so nothing flows back here.`;
    const total = table.total ? `, in all ${format(table.total.value)}` : "";
    return `(${step.number}) ${step.name} = ${step.text}. Carries back: ${list(table.columns[2])}${total}`;
  }
  const variable = column().variables[name];
  if (!variable) return "";
  const equation = data.steps.find((step) => !step.input && step.output === name);
  const parts = [equation ? `${name} = ${equation.text}` : name];
  if (state.step >= (VALUE_AT[name] ?? 0)) parts.push(`value: ${list(variable.value)}`);
  if (state.step >= GRADIENT_AT[name]) parts.push(`gradient: ${list(gradient(name))}`);
  return parts.join("; ");
}

function gradient(name) {
  if (state.whatif && name === "x") return column().constant;
  if (state.whatif && (name === "μ" || name === "σ²")) return [0];
  return column().variables[name].gradient;
}

function markGraph() {
  const { step, zoom } = state;
  const { groups, edges } = column().graphs[zoom];
  const inside = (edge) => { const [from, to] = ends(edge).map((name) => groups[name.replace(/ ←$/, "")]); return from === to; };
  const here = data.steps[step - 1];
  for (const node of $("graph").querySelectorAll(".node")) {
    const name = node.dataset.name;
    const [, value, grad] = node.querySelectorAll("text");
    const group = groups[name.replace(/ ←$/, "")];
    const valueAt = VALUE_AT[name] ?? group ?? 0;
    const gradientAt = GRADIENT_AT[name] ?? FIRST_EDGE_INTO[group];
    if (value) value.classList.toggle("later", step < valueAt);
    if (grad) {
      const statistic = state.whatif && (name === "μ" || name === "σ²" || (name !== "y" && zoom === "primitives" && group <= 2));
      grad.classList.toggle("later", step < gradientAt || statistic);
      if (name === "x") {
        grad.dataset.right ??= grad.textContent;
        grad.textContent = state.whatif ? "grad  " + list(column().constant.slice(0, 3)) + (column().constant.length > 3 ? ", …" : "") : grad.dataset.right;
        grad.classList.toggle("wrong", state.whatif);
      }
    }
    const ahead = here && !here.input && (name === here.output || (zoom === "primitives" && group === here.number));
    node.classList.toggle("now", Boolean(ahead || (here && here.input && name === here.input)));
    if (node.hasAttribute("aria-label")) node.setAttribute("aria-label", describe(node));
  }
  for (const edge of $("graph").querySelectorAll(".edge")) {
    const own = edgeOf(edge);
    const number = edges[edge.dataset.name]; // the step at which the gradient comes along here
    const output = ends(edge)[1].replace(/ ←$/, "");
    const texts = edge.querySelectorAll("text");
    const term = texts[texts.length - 1];
    if (term) term.classList.toggle("later", step < number);
    edge.classList.toggle("gone", step >= 5 && vanished(number));
    const now = here && (here.input ? number === step && (own || !inside(edge)) : output === here.output);
    edge.classList.toggle("now", Boolean(now));
    edge.classList.toggle("flows", Boolean(now && here.input && !vanished(number)));
    if (edge.hasAttribute("aria-label")) edge.setAttribute("aria-label", describe(edge));
  }
  const now = $("graph").querySelector(here?.input ? ".edge.now text" : ".node.now") ?? $("graph").querySelector(".node.now");
  if (now) {
    const box = now.getBoundingClientRect(), frame = $("graph").getBoundingClientRect();
    const outside = box.top < frame.top || box.bottom > frame.bottom || box.left < frame.left || box.right > frame.right;
    if (outside) $("graph").scrollBy(box.left - frame.left - (frame.width - box.width) / 2, box.top - frame.top - frame.height / 3);
  }
}

// ---- the panel

function tableOf(table, caption, sumLast) {
  const box = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
  const view = box.appendChild(element("table"));
  view.appendChild(element("caption", caption));
  const head = view.appendChild(element("thead")).appendChild(element("tr"));
  const rows = Math.max(...table.columns.map((numbers) => numbers.length));
  head.appendChild(element("th", rows > 1 ? "i" : "", { scope: "col" }));
  for (const name of table.head) head.appendChild(element("th", name, { scope: "col" }));
  const body = view.appendChild(element("tbody"));
  for (let i = 0; i < rows; i++) {
    const row = body.appendChild(element("tr"));
    row.appendChild(element("th", rows > 1 ? String(i + 1) : "", { scope: "row" }));
    table.columns.forEach((numbers, j) => {
      const number = numbers[numbers.length > 1 ? i : 0];
      const cell = row.appendChild(element("td", format(number), { "data-value": number }));
      if (sumLast && j === table.columns.length - 1) cell.className = "sum";
      if ((table.wrong || []).includes(j)) cell.className = "wrong";
    });
  }
  if (table.total) {
    const row = view.appendChild(element("tfoot")).appendChild(element("tr"));
    row.appendChild(element("th", table.total.name, { colspan: table.head.length, scope: "row" }));
    row.appendChild(element("td", format(table.total.value), { "data-value": table.total.value }));
  }
  return box;
}

function constantTable() {
  const right = column().variables.x.gradient;
  const wrong = column().constant;
  return {
    head: ["dx by (13) alone", "dx", "error"],
    columns: [wrong, right, wrong.map((number, i) => number - right[i])],
    wrong: [0, 2],
  };
}

function sentence(step) {
  if (!step) return "The batch x, the scale γ and the shift β are given. Go on: the mean comes first.";
  if (!step.input) return `Forward: ${step.output} is computed from what is known, and appears in its box.`;
  if (vanished(step.number)) return "With constant statistics nothing flows back along this edge: its term is missing from dx.";
  const table = column().tables[step.number - 1];
  const [first, more] = [list(table.columns[2].slice(0, 3)), table.columns[2].length > 3 ? " and so on" : ""];
  const amount = table.total ? `its terms add up to ${format(table.total.value)}` : `its term is ${first}${more}`;
  const zero = step.number === 9 ? ", since the x − μ cancel" : "";
  const complete = step.gradient ? `. With it, ${step.gradient} is ${state.whatif ? "taken for" : ""} complete` : "";
  return `Backward from ${step.output} to ${step.input}: what arrives, times the local derivative; ${amount}${zero}${complete}.`;
}

function show() {
  const step = data.steps[state.step - 1];
  $("title").textContent = step ? `(${step.number}) ${step.name}` : "The start";
  $("sentence").textContent = sentence(step);
  const math = step && state.whatif && step.constant ? [step.math[0], step.constant] : step?.math;
  $("math").innerHTML = math ? math.join("") : ""; // made from the table's LaTeX
  $("numbers").replaceChildren();
  if (step && !vanished(step.number)) {
    const caption = step.input ? "What arrives, the local derivative, and their product" : "The numbers put in";
    $("numbers").append(tableOf(column().tables[step.number - 1], caption));
    const total = column().totals[step.number];
    if (total && !state.whatif) $("numbers").append(tableOf(total, `The terms add up to ${step.gradient}`, true));
  }
  if (state.whatif) {
    const table = constantTable();
    const most = Math.max(...table.columns[2].map(Math.abs));
    const scale = Math.max(...table.columns[1].map(Math.abs));
    const warning = `The mistake everyone makes once: no gradient through μ and σ², so (8) to (12) vanish. dx is then off by up to ${format(most)}, where its largest element is ${format(scale)}.`;
    $("numbers").append(element("p", warning, { class: "warning" }), tableOf(table, "dx with constant statistics"));
  }
  $("slider").value = state.step;
  $("slider").setAttribute("aria-valuetext", $("title").textContent);
  $("place").textContent = `${state.step} / ${LAST}`;
  $("back").disabled = state.step === 0;
  $("next").disabled = state.step === LAST;
  markGraph();
}

// ---- what a person does

function go(step) {
  state.step = Math.min(LAST, Math.max(0, step));
  if (!INLINE) history.replaceState(null, "", "#step=" + state.step);
  if (state.step === LAST) play(false);
  show();
}

function play(on) {
  clearInterval(state.timer);
  state.timer = on ? setInterval(() => go(state.step + 1), 1800) : null;
  $("play").textContent = on ? "❚❚ pause" : "▶ play";
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

function togglePlay() {
  const start = !state.timer;
  if (start && state.step === LAST) go(0);
  play(start);
}

function fromAddress() {
  const found = /^#step=(\d+)$/.exec(location.hash);
  return found ? Math.min(LAST, Number(found[1])) : 0;
}

$("back").addEventListener("click", () => go(state.step - 1));
$("next").addEventListener("click", () => go(state.step + 1));
$("play").addEventListener("click", togglePlay);
$("slider").addEventListener("input", (event) => go(Number(event.target.value)));
$("whatif").addEventListener("change", (event) => { state.whatif = event.target.checked; show(); });
$("column").addEventListener("change", (event) => { state.column = Number(event.target.value); drawGraph(); show(); });
for (const radio of document.getElementsByName("zoom")) {
  radio.addEventListener("change", () => { state.zoom = radio.value; drawGraph(); show(); });
}
window.addEventListener("hashchange", () => { state.step = fromAddress(); show(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  if (target.matches("select, input[type=range], input[type=radio]") && event.key !== " ") return; // these keys are theirs
  if (event.key === " " && target.matches("button, input, select")) return;
  const moves = { ArrowLeft: state.step - 1, ArrowRight: state.step + 1, Home: 0, End: LAST };
  if (event.key in moves) go(moves[event.key]);
  else if (event.key === " ") togglePlay();
  else return;
  event.preventDefault();
});

data.names.forEach((name, j) => $("column").appendChild(element("option", name, { value: j })));
$("address").hidden = INLINE;
state.step = fromAddress();
drawGraph();
show();
