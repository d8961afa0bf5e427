// A body in a canvas, turned with the mouse: WebGL 2, no library. The light is that of fitting/shading.py, and meshes
// arrive as fitting/mesh_code.py packs them.
"use strict";

async function unpackIntegers(text, bytes) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / bytes;
  const values = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    let zigzag = 0;
    for (let b = bytes - 1; b >= 0; b--) zigzag = (zigzag << 8) | planes[b * count + i];
    values[i] = (zigzag >>> 1) ^ -(zigzag & 1);
  }
  return values;
}

async function unpackTopology(topology) {
  const faces = await unpackIntegers(topology.faces, 4);
  for (let i = 1; i < faces.length; i++) faces[i] += faces[i - 1];
  const parents = (await unpackIntegers(topology.parents, 4)).map((back, i) => i - back);
  return { faces: Uint32Array.from(faces), parents, count: topology.vertices };
}

// Vertices with y up, as a viewer wants them: the camera frame of a result has y down and z away from the camera.
async function unpackVertices(mesh, topology) {
  const values = await unpackIntegers(mesh.data, 2);
  const n = topology.count;
  const positions = new Float32Array(3 * n);
  const sign = [1, -1, -1];
  for (let axis = 0; axis < 3; axis++) {
    const steps = values.subarray(axis * n, (axis + 1) * n);
    for (let i = 1; i < n; i++) steps[i] += steps[topology.parents[i]];
    for (let i = 0; i < n; i++) positions[3 * i + axis] = sign[axis] * mesh.step * steps[i];
  }
  return positions;
}

function vertexNormals(positions, faces) {
  const normals = new Float32Array(positions.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
    const u = [0, 1, 2].map((k) => positions[b + k] - positions[a + k]);
    const v = [0, 1, 2].map((k) => positions[c + k] - positions[a + k]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k];
  }
  for (let i = 0; i < normals.length; i += 3) {
    const length = Math.hypot(normals[i], normals[i + 1], normals[i + 2]) || 1;
    for (let k = 0; k < 3; k++) normals[i + k] /= length;
  }
  return normals;
}

const BODY_VERTEX = `#version 300 es
in vec3 position; in vec3 normal; out vec3 n;
uniform mat3 turn; uniform vec3 middle; uniform float distance; uniform vec4 lens;
void main() {
  vec3 p = turn * (position - middle) - vec3(0.0, 0.0, distance);
  n = turn * normal;
  gl_Position = vec4(lens.xy * p.xy, lens.z * p.z + lens.w, -p.z);
}`;
const BODY_FRAGMENT = `#version 300 es
precision highp float; in vec3 n; uniform vec3 base; out vec4 colour;
float wrapped(float c) { return clamp((c + 0.35) / 1.35, 0.0, 1.0); }
void main() {
  vec3 m = normalize(n), key = normalize(vec3(-0.45, 0.75, 0.65)), fill = normalize(vec3(0.75, 0.05, 0.55));
  float light = 0.16 + 0.20 * (0.5 + 0.5 * m.y) + 0.72 * wrapped(dot(m, key)) + 0.16 * wrapped(dot(m, fill));
  float shine = 0.10 * pow(max(dot(m, normalize(key + vec3(0.0, 0.0, 1.0))), 0.0), 24.0);
  vec3 linear = pow(base, vec3(2.2)) * light + shine;
  colour = vec4(pow(clamp(linear, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}`;
const FLOOR_FRAGMENT = `#version 300 es
precision highp float; in vec3 n; uniform vec3 base; out vec4 colour;
void main() { float r = length(n.xy); colour = vec4(base, 0.28 * (1.0 - smoothstep(0.0, 1.0, r))); }`;
const FLOOR_VERTEX = BODY_VERTEX.replace("n = turn * normal", "n = normal");

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.bindAttribLocation(made, 0, "position");
  gl.bindAttribLocation(made, 1, "normal");
  gl.linkProgram(made);
  const uniform = {};
  for (const name of ["turn", "middle", "distance", "lens", "base"]) uniform[name] = gl.getUniformLocation(made, name);
  return { made, uniform };
}

class BodyViewer {
  // Throws where the browser has no WebGL 2.
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true, alpha: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("this browser has no WebGL 2, so meshes cannot be turned here");
    this.body = program(this.gl, BODY_VERTEX, BODY_FRAGMENT);
    this.floor = program(this.gl, FLOOR_VERTEX, FLOOR_FRAGMENT);
    this.parts = null;
    this.look(0, 0);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // `colour` is "#rrggbb".
  show(positions, faces, colour) {
    this.clear();
    this.colour = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255);
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < positions.length; i++) {
      low[i % 3] = Math.min(low[i % 3], positions[i]);
      high[i % 3] = Math.max(high[i % 3], positions[i]);
    }
    this.middle = low.map((c, k) => (c + high[k]) / 2);
    this.radius = Math.hypot(...high.map((c, k) => c - low[k])) / 2;
    const r = 0.75 * Math.max(high[0] - low[0], high[2] - low[2]);
    const [x, y, z] = [this.middle[0], low[1], this.middle[2]];
    const carpet = new Float32Array([x - r, y, z - r, x + r, y, z - r, x - r, y, z + r, x + r, y, z + r]);
    const corners = new Float32Array([-1, -1, 0, 1, -1, 0, -1, 1, 0, 1, 1, 0]);
    this.parts = {
      body: this.buffers(positions, vertexNormals(positions, faces), faces),
      floor: this.buffers(carpet, corners, new Uint32Array([0, 1, 2, 2, 1, 3])),
    };
    this.zoom = 1;
    this.draw();
  }

  clear() {
    for (const part of Object.values(this.parts || {})) part.owned.forEach((b) => this.gl.deleteBuffer(b));
    this.parts = null;
    this.draw();
  }

  buffers(positions, normals, faces) {
    const gl = this.gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const owned = [positions, normals].map((values, place) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
      return buffer;
    });
    const index = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, index);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    return { array, count: faces.length, owned: [...owned, index] };
  }

  look(yawDegrees, pitchDegrees) {
    this.yaw = (yawDegrees * Math.PI) / 180;
    this.pitch = (pitchDegrees * Math.PI) / 180;
    this.zoom = 1;
    this.draw();
  }

  draw() {
    const gl = this.gl, scale = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(this.canvas.clientWidth * scale));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * scale));
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.parts) return;
    gl.enable(gl.DEPTH_TEST);
    const focal = 1 / Math.tan((10 * Math.PI) / 180);
    const distance = (1.02 * this.radius * focal) / this.zoom;
    const near = Math.max(0.01 * this.radius, distance - 2 * this.radius), far = distance + 2 * this.radius;
    const aspect = width / height;
    const lens = [focal / Math.max(aspect, 1), focal * Math.min(aspect, 1),
      -(far + near) / (far - near), (-2 * far * near) / (far - near)];
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    const turn = [cy, -sp * sy, cp * sy, 0, cp, sp, -sy, -sp * cy, cp * cy];  // column by column
    for (const [kind, part] of [[this.body, this.parts.body], [this.floor, this.parts.floor]]) {
      gl.useProgram(kind.made);
      gl.uniformMatrix3fv(kind.uniform.turn, false, turn);
      gl.uniform4fv(kind.uniform.lens, lens);
      gl.uniform3fv(kind.uniform.middle, this.middle);
      gl.uniform1f(kind.uniform.distance, distance);
      gl.uniform3fv(kind.uniform.base, kind === this.body ? this.colour : [0.1, 0.11, 0.13]);
      if (kind === this.floor) {
        gl.enable(gl.BLEND);
        gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
        gl.depthMask(false);
      }
      gl.bindVertexArray(part.array);
      gl.drawElements(gl.TRIANGLES, part.count, gl.UNSIGNED_INT, 0);
      gl.disable(gl.BLEND);
      gl.depthMask(true);
    }
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      this.yaw -= event.movementX * 0.01;
      this.pitch = Math.min(1.57, Math.max(-1.57, this.pitch + event.movementY * 0.01));
      this.draw();
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom = Math.min(20, Math.max(0.3, this.zoom * Math.exp(-event.deltaY * 0.001)));
      this.draw();
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.look(0, 0));
  }
}

// The body as a binary glTF file (y up, metres), for programs that open one.
function glbOf(positions, faces) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  positions.forEach((c, i) => { low[i % 3] = Math.min(low[i % 3], c); high[i % 3] = Math.max(high[i % 3], c); });
  const gltf = {
    asset: { version: "2.0", generator: "bodyfit" }, scene: 0, scenes: [{ nodes: [0] }], nodes: [{ mesh: 0 }],
    meshes: [{ primitives: [{ attributes: { POSITION: 0 }, indices: 1 }] }],
    buffers: [{ byteLength: positions.byteLength + faces.byteLength }],
    bufferViews: [
      { buffer: 0, byteOffset: 0, byteLength: positions.byteLength, target: 34962 },
      { buffer: 0, byteOffset: positions.byteLength, byteLength: faces.byteLength, target: 34963 },
    ],
    accessors: [
      { bufferView: 0, componentType: 5126, count: positions.length / 3, type: "VEC3", min: low, max: high },
      { bufferView: 1, componentType: 5125, count: faces.length, type: "SCALAR" },
    ],
  };
  let json = JSON.stringify(gltf);
  json += " ".repeat((4 - (json.length % 4)) % 4);
  const text = new TextEncoder().encode(json);
  const size = positions.byteLength + faces.byteLength;
  const head = new Uint32Array([0x46546c67, 2, 28 + text.length + size, text.length, 0x4e4f534a]);
  return new Blob([head, text, new Uint32Array([size, 0x004e4942]), positions, faces], { type: "model/gltf-binary" });
}
