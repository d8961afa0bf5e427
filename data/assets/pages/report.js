// The contact sheet and the page of one person. Everything it shows is in the page itself.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// ---- the contact sheet ------------------------------------------------------------------------------------------
const errorOf = (person) => person.error_share ?? person.error_px ?? Infinity;
const ORDERS = {
  "failures first": null,  // as the page was written
  "error, high to low": (a, b) => errorOf(b) - errorOf(a) || 0,
  "error, low to high": (a, b) => errorOf(a) - errorOf(b) || 0,
  photo: (a, b) => a.place - b.place,
};
const hidden = new Set();
let shown = [];

function statusLabel(person) {
  const label = make("span", { className: "status", textContent: person.status.replaceAll("_", " ") });
  label.style.setProperty("--colour", DATA.status_colours[person.status] ?? "#8a8f98");
  return label;
}

function errorText(person) {
  const parts = [];
  if (person.error_share !== null) parts.push(`${(100 * person.error_share).toFixed(1)} % of size`);
  if (person.error_px !== null) parts.push(`${person.error_px.toFixed(1)} px`);
  return parts.join(" · ");
}

// The photo around a person, cut to the card's shape, with the person framed; no keypoint marks the top of a head.
function picture(person) {
  const holder = make("div", { className: "picture" });
  const image = DATA.images[person.image];
  if (!image) return make("div", { className: "picture words dim", textContent: "no overlay was written" });
  const fit = make("div", { className: "fit" }, make("img", { src: image.src, alt: "", loading: "lazy" }));
  const [x, y, w, h] = person.box ?? [0, 0, 1, 1];
  const crop = person.box ? [x - 0.25 * w, y - 0.25 * h, 1.5 * w, 1.35 * h] : [0, 0, 1, 1];
  const card = [260, 200];
  const scale = Math.min(card[0] / (crop[2] * image.width), card[1] / (crop[3] * image.height));
  const size = [scale * image.width, scale * image.height];
  const middle = [crop[0] + crop[2] / 2, crop[1] + crop[3] / 2];
  Object.assign(fit.style, { width: `${size[0]}px`, height: `${size[1]}px`, left: `calc(50% - ${middle[0] * size[0]}px)`, top: `${card[1] / 2 - middle[1] * size[1]}px` });
  if (person.box && image.people > 1) {
    const frame = make("div", { className: "box" });
    Object.assign(frame.style, { left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * w}%`, height: `${100 * h}%` });
    fit.append(frame);
  }
  holder.append(fit);
  return holder;
}

function card(person) {
  const words = make("div", { className: "words" }, make("b", { textContent: person.name }));
  words.append(make("p", {}, statusLabel(person)), make("p", { className: "number", textContent: errorText(person) }));
  const remark = person.reason || (person.ambiguous ? `ambiguous: ${person.doubt || "another body explains the points nearly as well"}` : "");
  if (person.weakest) words.append(make("p", { className: "dim", textContent: `least sure: ${person.weakest}` }));
  if (remark) words.append(make("p", { className: "dim", textContent: remark }));
  const button = make("button", { className: "card" }, picture(person), words);
  button.addEventListener("click", () => open(person));
  return button;
}

function refresh() {
  const words = $("search").value.toLowerCase();
  const order = ORDERS[$("order").value];
  shown = DATA.people.filter((p) => !hidden.has(p.status) && `${p.name} ${p.reason}`.toLowerCase().includes(words));
  if (order) shown.sort(order);
  $("cards").replaceChildren(...shown.map(card));
  $("count").textContent = `${shown.length} of ${DATA.people.length} ${DATA.what}`;
}

$("order").append(...Object.keys(ORDERS).map((name) => make("option", { textContent: name })));
for (const status of new Set(DATA.people.map((p) => p.status))) {
  const box = make("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => { box.checked ? hidden.delete(status) : hidden.add(status); refresh(); });
  $("statuses").append(make("label", {}, box, statusLabel({ status })), " ");
}
$("order").addEventListener("change", refresh);
$("search").addEventListener("input", refresh);
refresh();

// ---- one person -------------------------------------------------------------------------------------------------
const topologies = DATA.topologies.map(() => null);
let viewer = null, current = null, body = null;

async function bodyOf(person) {
  const index = person.mesh.topology;
  topologies[index] ??= unpackTopology(DATA.topologies[index]);
  const topology = await topologies[index];
  return { positions: await unpackVertices(person.mesh, topology), faces: topology.faces };
}

async function open(person) {
  current = person;
  body = null;
  if (!$("detail").open) $("detail").showModal();
  $("name").textContent = person.name;
  const image = DATA.images[person.image];
  $("photo").hidden = !image;
  if (image) $("photo").src = image.src;
  const figures = { status: statusLabel(person), ...person.figures };
  $("figures").replaceChildren(...Object.entries(figures).flatMap(([label, value]) => [
    make("dt", { textContent: label }), make("dd", { className: "number" }, value)]));
  $("modes").hidden = !person.modes.length;
  $("modes").lastElementChild.replaceChildren(...person.modes.map((mode) => make("figure", {},
    make("figcaption", { textContent: mode.words }), make("img", { src: mode.src, alt: mode.words }))));
  $("uncertainty").hidden = !person.uncertainty;
  if (person.uncertainty) $("uncertainty").lastElementChild.src = person.uncertainty;
  $("notice").textContent = person.mesh ? "" : "no mesh in this report";
  $("save").disabled = !person.mesh;
  if (viewer) viewer.clear();
  if (!person.mesh) return;
  try {
    viewer ??= new BodyViewer($("canvas"));
    const loaded = await bodyOf(person);
    if (current !== person) return;  // the next one was asked for meanwhile
    body = loaded;
    viewer.look(0, 0);
    viewer.show(body.positions, body.faces, person.colour);
    document.body.dataset.shows = person.name;
  } catch (error) {
    $("notice").textContent = error.message;
  }
}

function step(by) {
  if (!shown.length) return;
  open(shown[(shown.indexOf(current) + by + shown.length) % shown.length]);
}

const VIEWS = { "As photographed": [0, 0], Side: [90, 0], Back: [180, 0], Top: [0, 90] };
for (const [name, [yaw, pitch]] of Object.entries(VIEWS)) {
  const button = make("button", { textContent: name });
  button.addEventListener("click", () => viewer?.look(yaw, pitch));
  $("views").append(button, " ");
}
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("close").addEventListener("click", () => $("detail").close());
$("detail").addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
$("save").addEventListener("click", () => {
  if (!body) return;
  const link = make("a", { href: URL.createObjectURL(glbOf(body.positions, body.faces)), download: `${current.name.replace(/[^\w.-]+/g, "_")}.glb` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
