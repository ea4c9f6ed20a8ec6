// Planets under gravity. Only + - * / and the square root, each rounded as IEEE 754 says and always in the same order:
// the answer is the same to the last bit in every language.

const FIELDS = ["x", "y", "z", "vx", "vy", "vz", "mass"];

function energy(bodies) {
  let e = 0;
  for (let i = 0; i < bodies.length; i++) {
    const a = bodies[i];
    e += 0.5 * a.mass * (a.vx * a.vx + a.vy * a.vy + a.vz * a.vz);
    for (let j = i + 1; j < bodies.length; j++) {
      const b = bodies[j];
      const dx = a.x - b.x;
      const dy = a.y - b.y;
      const dz = a.z - b.z;
      e -= (a.mass * b.mass) / Math.sqrt(dx * dx + dy * dy + dz * dz);
    }
  }
  return e;
}

function advance(bodies, dt) {
  for (let i = 0; i < bodies.length; i++) {
    const a = bodies[i];
    for (let j = i + 1; j < bodies.length; j++) {
      const b = bodies[j];
      const dx = a.x - b.x;
      const dy = a.y - b.y;
      const dz = a.z - b.z;
      const square = dx * dx + dy * dy + dz * dz;
      const pull = dt / (square * Math.sqrt(square));
      const pullA = b.mass * pull;
      const pullB = a.mass * pull;
      a.vx -= dx * pullA;
      a.vy -= dy * pullA;
      a.vz -= dz * pullA;
      b.vx += dx * pullB;
      b.vy += dy * pullB;
      b.vz += dz * pullB;
    }
  }
  for (const a of bodies) {
    a.x += dt * a.vx;
    a.y += dt * a.vy;
    a.z += dt * a.vz;
  }
}

export function handle(request) {
  const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
  const steps = view.getUint32(0, true);
  const count = view.getUint32(4, true);
  const dt = view.getFloat64(8, true);
  const bodies = [];
  for (let i = 0, at = 16; i < count; i++) {
    const body = { x: 0.5, y: 0.5, z: 0.5, vx: 0.5, vy: 0.5, vz: 0.5, mass: 0.5 };
    for (const field of FIELDS) {
      body[field] = view.getFloat64(at, true);
      at += 8;
    }
    bodies.push(body);
  }

  const before = energy(bodies);
  for (let i = 0; i < steps; i++) advance(bodies, dt);

  const answer = new DataView(new ArrayBuffer(count * 56 + 16));
  let at = 0;
  for (const body of bodies) {
    for (const field of FIELDS) {
      answer.setFloat64(at, body[field], true);
      at += 8;
    }
  }
  answer.setFloat64(at, before, true);
  answer.setFloat64(at + 8, energy(bodies), true);
  return new Uint8Array(answer.buffer);
}
