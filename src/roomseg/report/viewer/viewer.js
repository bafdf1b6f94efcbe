"use strict";
// Draws one labelled surface with WebGL 2: unpack the buffers, turn a camera about it, colour it three ways.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const canvas = $("room");
const RAMP = [[181, 48, 90], [233, 162, 59], [232, 223, 168], [31, 138, 140]];
const VIEWS = { input: 0, prediction: 1, confidence: 2 };
const HOME = { azimuth: -58, elevation: 38 }; // degrees
const FOV = 32; // degrees, vertical

// The packed buffers: base64, deflate, byte planes, differences down the columns.

async function unpacked(text, Type, columns) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = Type.BYTES_PER_ELEMENT;
  const rows = planes.length / (size * columns);
  const values = new Type(rows * columns);
  for (let c = 0; c < columns; c++) {
    let before = 0;
    for (let r = 0; r < rows; r++) {
      let value = 0;
      for (let b = 0; b < size; b++) value |= planes[(c * size + b) * rows + r] << (8 * b);
      before = (before + value) >>> 0;
      values[r * columns + c] = before;
    }
  }
  return values;
}

// Shaders

const VERTEX = `#version 300 es
layout(location=0) in vec3 position; layout(location=1) in vec3 normal; layout(location=2) in vec3 color;
layout(location=3) in float label; layout(location=4) in float openness; layout(location=5) in float confidence;
uniform mat4 camera; uniform vec3 extent; uniform vec3 eye; uniform float pixels; uniform bool opened, cloud;
uniform float shown[32];
out vec3 vNormal, vColor, vPlace; out float vOpen, vSure; flat out int vLabel;
void main() {
  vPlace = position * extent; vNormal = normal; vColor = color; vOpen = openness; vSure = confidence;
  vLabel = int(label + 0.5);
  gl_Position = camera * vec4(vPlace, 1.0);
  gl_PointSize = clamp(pixels / gl_Position.w, 1.5, 40.0);
  bool away = cloud && opened && dot(normal, eye - vPlace) < 0.0;
  if (away || (cloud && shown[vLabel] < 0.5)) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 vNormal, vColor, vPlace; in float vOpen, vSure; flat in int vLabel;
uniform vec3 palette[32]; uniform vec3 ramp[4]; uniform float shown[32];
uniform vec3 eye, toLight; uniform int view, focus; uniform bool cloud, picking;
out vec4 pixel;
vec3 rampAt(float t) {
  t = clamp(t, 0.0, 1.0) * 3.0;
  return t < 1.0 ? mix(ramp[0], ramp[1], t) : t < 2.0 ? mix(ramp[1], ramp[2], t - 1.0) : mix(ramp[2], ramp[3], t - 2.0);
}
void main() {
  if (shown[vLabel] < 0.5) discard;
  if (cloud && length(gl_PointCoord - 0.5) > 0.5) discard;
  if (picking) { pixel = vec4(float(vLabel) / 255.0, vSure, 1.0, 1.0); return; }
  vec3 n = normalize(vNormal + vec3(0.0, 0.0, 1e-5));
  if (dot(n, eye - vPlace) < 0.0) n = -n;
  float light = 0.70 + 0.10 * n.z + 0.30 * max(dot(n, toLight), 0.0);
  vec3 c = vColor;
  if (view == 0) light = mix(1.0, light, 0.35);
  if (view == 1) c = palette[vLabel];
  if (view == 2) c = rampAt((vSure - 0.2) / 0.8);
  if (focus >= 0 && focus != vLabel) c = mix(vec3(dot(c, vec3(0.3, 0.5, 0.2))), vec3(0.75), 0.72);
  pixel = vec4(c * light * mix(1.0, vOpen, view == 0 ? 0.5 : 1.0), 1.0);
}`;

function program(gl) {
  const linked = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(linked, shader);
  }
  gl.linkProgram(linked);
  if (!gl.getProgramParameter(linked, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(linked));
  return linked;
}

// Small vectors and matrices, columns first

const add = (a, b, s = 1) => a.map((v, i) => v + s * b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const scaled = (a, s) => a.map((v) => v * s);
const radians = (degrees) => (degrees * Math.PI) / 180;

function axes(state) { // right, up, towards the viewer
  const a = radians(state.azimuth), e = radians(state.elevation), flat = Math.cos(e);
  const right = [-Math.sin(a), Math.cos(a), 0];
  const back = [flat * Math.cos(a), flat * Math.sin(a), Math.sin(e)];
  return [right, cross(back, right), back];
}

function cameraMatrix(state, aspect, shift) {
  const [right, up, back] = axes(state);
  const eye = add(state.target, back, state.distance);
  const f = 1 / Math.tan(radians(FOV) / 2), near = state.distance * 0.02, far = state.distance + 4 * radius;
  const rows = [right, up, back].map((axis) => [...axis, -dot(axis, eye)]);
  const w = scaled(rows[2], -1);
  const x = rows[0].map((v, i) => (v * f) / aspect + shift[0] * w[i]);
  const y = rows[1].map((v, i) => v * f + shift[1] * w[i]);
  const z = rows[2].map((v, i) => (v * (far + near)) / (near - far) + (i === 3 ? (2 * far * near) / (near - far) : 0));
  return { eye, matrix: new Float32Array([0, 1, 2, 3].flatMap((i) => [x[i], y[i], z[i], w[i]])) };
}

// State

const radius = Math.hypot(...data.extent) / 2;
const state = { ...HOME, target: scaled(data.extent, 0.5), distance: 1, view: "prediction", opened: true, focus: -1 };
const shown = new Set(data.classes.map((c) => c.id));
let gl, uniforms, count, isCloud, frame = 0;

function freeArea() { // what the panels leave of the window, in CSS pixels
  const w = innerWidth, h = innerHeight;
  if (w <= 720) return { x: 0, y: 110, w, h: h * 0.66 - 110 - 50 };
  return { x: 0, y: 40, w: w - 300, h: h - 110 };
}

function shiftToFree() { // of the picture's middle, in clip coordinates
  const free = freeArea();
  return [(2 * (free.x + free.w / 2)) / innerWidth - 1, 1 - (2 * (free.y + free.h / 2)) / innerHeight];
}

function goHome(elevation) {
  Object.assign(state, HOME, { target: scaled(data.extent, 0.5) });
  if (elevation) Object.assign(state, { elevation, azimuth: -90 });
  const free = freeArea(), [right, up, back] = axes(state);
  const f = 1 / Math.tan(radians(FOV) / 2), aspect = innerWidth / innerHeight;
  let distance = 0.1; // so that each corner of the box falls into the free area
  for (let corner = 0; corner < 8; corner++) {
    const p = data.extent.map((e, i) => ((corner >> i) & 1 ? e / 2 : -e / 2));
    const x = (Math.abs(dot(p, right)) * f) / aspect / (free.w / innerWidth);
    const y = (Math.abs(dot(p, up)) * f) / (free.h / innerHeight);
    distance = Math.max(distance, dot(p, back) + Math.max(x, y));
  }
  state.distance = distance;
  redraw();
}

// Drawing

async function start() {
  gl = canvas.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true });
  if (!gl) throw new Error("This browser has no WebGL 2. Open the page in a current Firefox, Chrome, Edge or Safari.");
  if (!window.DecompressionStream) throw new Error("This browser is too old for the page: it needs one of 2023 or newer.");
  const linked = program(gl), b = data.buffers;
  gl.useProgram(linked);
  uniforms = new Proxy({}, { get: (_, name) => gl.getUniformLocation(linked, name) });
  await attribute(0, b.position, Uint16Array, 3, gl.UNSIGNED_SHORT, true);
  await attribute(1, b.normal, Uint8Array, 3, gl.BYTE, true);
  await attribute(2, b.color, Uint8Array, 3, gl.UNSIGNED_BYTE, true);
  await attribute(3, b.label, Uint8Array, 1, gl.UNSIGNED_BYTE, false);
  await attribute(4, b.openness, Uint8Array, 1, gl.UNSIGNED_BYTE, true);
  if (b.confidence) await attribute(5, b.confidence, Uint8Array, 1, gl.UNSIGNED_BYTE, true);
  isCloud = !b.index;
  count = data.points;
  if (!isCloud) {
    const index = await unpacked(b.index, Uint32Array, 3);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, index, gl.STATIC_DRAW);
    count = index.length;
  }
  const palette = new Float32Array(96);
  for (const c of data.classes) palette.set(c.color.map((v) => v / 255), 3 * c.id);
  gl.uniform3fv(uniforms["palette"], palette);
  gl.uniform3fv(uniforms["ramp"], RAMP.flat().map((v) => v / 255));
  gl.uniform3fv(uniforms["extent"], data.extent);
  gl.uniform1i(uniforms["cloud"], isCloud);
  gl.enable(gl.DEPTH_TEST);
}

async function attribute(place, text, Type, columns, type, normalized) {
  const values = await unpacked(text, Type, columns);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, columns, type, normalized, 0, 0);
}

function redraw() {
  if (!frame && gl) frame = requestAnimationFrame(() => { frame = 0; draw(); });
}

function draw(picking = false) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const width = Math.round(innerWidth * ratio), height = Math.round(innerHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  gl.viewport(0, 0, width, height);
  gl.clearColor(0, 0, 0, 0);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  const { eye, matrix } = cameraMatrix(state, width / height, shiftToFree());
  const light = add(add(scaled([0, 0, 1], 0.75), axes(state)[0], -0.35), axes(state)[2], 0.55);
  gl.uniformMatrix4fv(uniforms["camera"], false, matrix);
  gl.uniform3fv(uniforms["eye"], eye);
  gl.uniform3fv(uniforms["toLight"], scaled(light, 1 / Math.hypot(...light)));
  gl.uniform1i(uniforms["view"], VIEWS[state.view]);
  gl.uniform1i(uniforms["focus"], state.focus);
  gl.uniform1i(uniforms["picking"], picking);
  gl.uniform1i(uniforms["opened"], state.opened);
  gl.uniform1f(uniforms["pixels"], (data.pointSize * height) / (2 * Math.tan(radians(FOV) / 2)));
  gl.uniform1fv(uniforms["shown"], Float32Array.from({ length: 32 }, (_, id) => +(id === 0 || shown.has(id))));
  if (state.opened && !isCloud) gl.enable(gl.CULL_FACE); else gl.disable(gl.CULL_FACE);
  if (isCloud) gl.drawArrays(gl.POINTS, 0, count);
  else gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
  if (!picking) document.documentElement.dataset.drawn = `${state.view} ${shown.size}`;
}

function pick(x, y) { // class and confidence under a point of the window, or null
  const ratio = canvas.width / innerWidth, seen = new Uint8Array(4);
  const column = Math.floor(x * ratio), row = canvas.height - 1 - Math.floor(y * ratio);
  gl.enable(gl.SCISSOR_TEST);
  gl.scissor(column, row, 1, 1);
  draw(true);
  gl.readPixels(column, row, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, seen);
  gl.disable(gl.SCISSOR_TEST);
  draw();
  if (seen[3] < 255) return null;
  const found = data.classes.find((c) => c.id === seen[0]);
  return { name: found ? found.name : "no label", sure: seen[1] / 255 };
}

// Mouse, touch and keys

const pointers = new Map();

function turn(dx, dy) {
  state.azimuth -= dx * 0.35;
  state.elevation = Math.max(-89, Math.min(89, state.elevation + dy * 0.35));
}

function pan(dx, dy) {
  const [right, up] = axes(state);
  const metres = (2 * state.distance * Math.tan(radians(FOV) / 2)) / innerHeight;
  state.target = add(add(state.target, right, -dx * metres), up, dy * metres);
}

function zoom(factor) {
  state.distance = Math.max(radius * 0.08, Math.min(radius * 12, state.distance * factor));
}

canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: 0, pans: event.button === 2 || event.shiftKey });
});
canvas.addEventListener("pointermove", (event) => {
  const pointer = pointers.get(event.pointerId);
  if (!pointer) return event.pointerType === "mouse" ? hover(event) : undefined;
  const dx = event.clientX - pointer.x, dy = event.clientY - pointer.y;
  if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const gap = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
    zoom(gap(pointer) / gap({ x: event.clientX, y: event.clientY }));
    pan(dx / 2, dy / 2);
  } else if (pointer.pans) pan(dx, dy);
  else turn(dx, dy);
  Object.assign(pointer, { x: event.clientX, y: event.clientY, moved: pointer.moved + Math.abs(dx) + Math.abs(dy) });
  $("tip").hidden = true;
  redraw();
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    const pointer = pointers.get(event.pointerId);
    pointers.delete(event.pointerId);
    if (pointer && pointer.moved < 4 && name === "pointerup") tell(event.clientX, event.clientY);
  });
}
canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.0022));
  redraw();
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const turns = { ArrowLeft: [-24, 0], ArrowRight: [24, 0], ArrowUp: [0, 16], ArrowDown: [0, -16] }[event.key];
  if (turns) turn(...turns);
  else if (event.key === "+" || event.key === "=") zoom(0.85);
  else if (event.key === "-") zoom(1 / 0.85);
  else return;
  event.preventDefault();
  redraw();
});

let waiting = 0;
function hover(event) {
  clearTimeout(waiting);
  const { clientX, clientY } = event;
  waiting = setTimeout(() => tell(clientX, clientY), 60);
}

function tell(x, y) {
  const found = gl && pick(x, y), tip = $("tip");
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = data.buffers.confidence ? `${found.name}, ${Math.round(100 * found.sure)} % sure` : found.name;
  Object.assign(tip.style, { left: `${x}px`, top: `${y}px` });
}

// Panels

function setView(view) {
  state.view = view;
  for (const button of $("views").children) button.setAttribute("aria-pressed", button.dataset.view === view);
  $("ramp").hidden = view !== "confidence";
  redraw();
}

function setShown(id, on) {
  if (on) shown.add(id); else shown.delete(id);
  for (const row of $("classes").children) row.setAttribute("aria-checked", shown.has(+row.dataset.id));
  $("all").textContent = shown.size ? "Hide all" : "Show all";
  redraw();
}

function text(tag, content, parent) {
  const element = document.createElement(tag);
  element.textContent = content;
  parent.append(element);
  return element;
}

function fillPanels() {
  $("title").textContent = data.title;
  for (const [name, value] of data.facts) {
    const item = text("li", "", $("facts"));
    text("b", value, item);
    item.append(` ${name}`);
  }
  $("warnings").hidden = !data.warnings.length;
  $("warnings").textContent = data.warnings.join(". ");
  for (const c of data.classes) {
    const row = text("li", "", $("classes"));
    Object.assign(row, { tabIndex: 0, title: `${c.points.toLocaleString("en")} points` });
    row.dataset.id = c.id;
    row.setAttribute("role", "checkbox");
    row.setAttribute("aria-checked", true);
    text("i", "", row).style.background = `rgb(${c.color})`;
    text("span", c.name, row);
    text("small", `${c.area.toFixed(1)} m\u00b2`, row);
    text("em", `${(100 * c.share).toFixed(1)} %`, row);
    const toggle = () => setShown(c.id, !shown.has(c.id));
    row.addEventListener("click", toggle);
    row.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); toggle(); } });
    row.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") { state.focus = c.id; redraw(); } });
    row.addEventListener("pointerleave", () => { state.focus = -1; redraw(); });
  }
  for (const button of $("views").children) button.addEventListener("click", () => setView(button.dataset.view));
  if (!data.buffers.confidence) $("views").lastElementChild.remove();
  $("all").addEventListener("click", () => { const on = !shown.size; for (const c of data.classes) setShown(c.id, on); });
  $("reset").addEventListener("click", () => goHome());
  $("top").addEventListener("click", () => goHome(89));
  $("open").addEventListener("click", () => {
    state.opened = !state.opened;
    $("open").setAttribute("aria-pressed", state.opened);
    redraw();
  });
  $("save").addEventListener("click", savePicture);
}

function savePicture() { // what is seen, on paper, with a title and a legend
  draw();
  const free = freeArea(), ratio = canvas.width / innerWidth, unit = 15 * ratio;
  const picture = document.createElement("canvas"), pen = picture.getContext("2d");
  const classes = data.classes.filter((c) => shown.has(c.id)).slice(0, 14);
  const columns = Math.max(2, Math.floor((free.w * ratio) / (unit * 11)));
  const legend = state.view === "prediction" ? Math.ceil(classes.length / columns) * unit * 1.8 + unit : 0;
  Object.assign(picture, { width: free.w * ratio, height: free.h * ratio + unit * 3 + legend });
  const style = getComputedStyle(document.documentElement);
  pen.fillStyle = style.getPropertyValue("--glow");
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.drawImage(canvas, free.x * ratio, free.y * ratio, picture.width, free.h * ratio, 0, unit * 3, picture.width, free.h * ratio);
  pen.fillStyle = style.getPropertyValue("--ink");
  pen.font = `600 ${1.5 * unit}px ${style.getPropertyValue("--serif")}`;
  pen.fillText(data.title, unit, unit * 2.2);
  pen.font = `${unit}px ${style.getPropertyValue("--sans")}`;
  if (legend) classes.forEach((c, n) => {
    const x = unit + (n % columns) * (picture.width / columns), y = picture.height - legend + Math.floor(n / columns) * unit * 1.8 + unit;
    pen.fillStyle = `rgb(${c.color})`;
    pen.fillRect(x, y - 0.8 * unit, unit, unit);
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.fillText(c.name, x + 1.5 * unit, y);
  });
  picture.toBlob((blob) => {
    const link = document.createElement("a");
    Object.assign(link, { href: URL.createObjectURL(blob), download: `${data.title}-${state.view}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

function fromHash() {
  const wanted = location.hash.slice(1);
  if (wanted in VIEWS && (wanted !== "confidence" || data.buffers.confidence)) setView(wanted);
}

fillPanels();
setView("prediction");
start().then(() => {
  goHome();
  fromHash();
  addEventListener("resize", redraw);
  addEventListener("hashchange", fromHash);
}).catch((error) => {
  $("trouble").hidden = false;
  $("trouble").textContent = error.message;
});
