//! Planets under gravity. Only + - * / and the square root, each rounded as IEEE 754 says and always in the same order:
//! the answer is the same to the last bit in every language.

struct Body {
    x: f64,
    y: f64,
    z: f64,
    vx: f64,
    vy: f64,
    vz: f64,
    mass: f64,
}

fn energy(bodies: &[Body]) -> f64 {
    let mut e = 0.0;
    for (i, a) in bodies.iter().enumerate() {
        e += 0.5 * a.mass * (a.vx * a.vx + a.vy * a.vy + a.vz * a.vz);
        for b in &bodies[i + 1..] {
            let dx = a.x - b.x;
            let dy = a.y - b.y;
            let dz = a.z - b.z;
            e -= (a.mass * b.mass) / (dx * dx + dy * dy + dz * dz).sqrt();
        }
    }
    e
}

fn advance(bodies: &mut [Body], dt: f64) {
    let mut rest = &mut bodies[..];
    while let [a, others @ ..] = rest {
        for b in &mut *others {
            let dx = a.x - b.x;
            let dy = a.y - b.y;
            let dz = a.z - b.z;
            let square = dx * dx + dy * dy + dz * dz;
            let pull = dt / (square * square.sqrt());
            let pull_a = b.mass * pull;
            let pull_b = a.mass * pull;
            a.vx -= dx * pull_a;
            a.vy -= dy * pull_a;
            a.vz -= dz * pull_a;
            b.vx += dx * pull_b;
            b.vy += dy * pull_b;
            b.vz += dz * pull_b;
        }
        rest = others;
    }
    for a in bodies {
        a.x += dt * a.vx;
        a.y += dt * a.vy;
        a.z += dt * a.vz;
    }
}

fn handle(request: &[u8]) -> Vec<u8> {
    let (head, floats) = request.split_at(8);
    let steps = u32::from_le_bytes(head[..4].try_into().unwrap());
    let count = u32::from_le_bytes(head[4..].try_into().unwrap()) as usize;
    let mut floats = floats.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
    let mut next = || floats.next().expect("the request ends inside a body");
    let dt = next();
    let mut bodies = Vec::new();
    for _ in 0..count {
        bodies.push(Body { x: next(), y: next(), z: next(), vx: next(), vy: next(), vz: next(), mass: next() });
    }

    let before = energy(&bodies);
    for _ in 0..steps {
        advance(&mut bodies, dt);
    }

    let state = bodies.iter().flat_map(|b| [b.x, b.y, b.z, b.vx, b.vy, b.vz, b.mass]);
    state.chain([before, energy(&bodies)]).flat_map(f64::to_le_bytes).collect()
}

isobench_guest::handler!(handle);
