//! Instances: processes of their own, or isolates in a living one.

use crate::server::{Recipe, Server};
use hyper::Method;
use isobench_core::Fault;
use isobench_runner::http::Http;
use isobench_runner::{Attribution, Deadline, Deployment, Instance, Phases};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an isolate that was dropped, and not stopped, may take to go.
const GRACE: Duration = Duration::from_secs(1);

/// How long the pool may take to be full again where nobody waits for it.
const REFILL: Duration = Duration::from_secs(10);

/// A process for each instance.
pub struct Processes {
    recipe: Recipe,
    state: PathBuf,
    started: AtomicU64,
}

impl Processes {
    /// Those of `recipe`, with their sockets in `state`.
    pub fn new(recipe: Recipe, state: PathBuf) -> Processes {
        Processes { recipe, state, started: AtomicU64::new(0) }
    }
}

impl Deployment for Processes {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let n = self.started.fetch_add(1, Ordering::Relaxed);
        let server = self.recipe.spawn(self.state.join(format!("{n}.sock")))?;
        phases.end("create");
        let http = server.ready("/", deadline)?;
        Ok(Box::new(Process { http, server }))
    }

    fn footprint(&self) -> Attribution {
        Attribution::default()
    }
}

/// An instance that is a process.
struct Process {
    http: Http,
    server: Server,
}

impl Instance for Process {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.server.ask(&mut self.http, Method::POST, "/", request, deadline)
    }

    fn footprint(&self) -> Attribution {
        self.server.footprint()
    }

    fn stop(self: Box<Self>, _: Deadline) -> Result<(), Fault> {
        self.server.kill()
    }
}

/// A living process, and isolates in it.
pub(crate) struct Isolates(Arc<Shared>);

/// What instances share with their deployment.
struct Shared {
    recipe: Recipe,
    state: PathBuf,
    /// How many isolates are loaded ahead.
    ahead: usize,
    started: AtomicU64,
    living: Mutex<Living>,
}

#[derive(Default)]
struct Living {
    server: Option<Arc<Server>>,
    /// Paths of isolates that are loaded and nobody's.
    pool: Vec<String>,
}

impl Isolates {
    /// Starts the process and loads as many isolates as are to be ahead.
    pub(crate) fn new(recipe: Recipe, state: PathBuf, ahead: usize, deadline: Deadline) -> Result<Isolates, Fault> {
        let living = Mutex::new(Living::default());
        let shared = Arc::new(Shared { recipe, state, ahead, started: AtomicU64::new(0), living });
        let server = shared.server(deadline)?;
        shared.refill(&server, deadline)?;
        Ok(Isolates(shared))
    }
}

impl Shared {
    fn living(&self) -> MutexGuard<'_, Living> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.started.fetch_add(1, Ordering::Relaxed)
    }

    /// The living process; another one where a guest has ended it.
    fn server(&self, deadline: Deadline) -> Result<Arc<Server>, Fault> {
        let mut living = self.living();
        if let Some(server) = &living.server
            && server.lives()
        {
            return Ok(Arc::clone(server));
        }
        // What was in it went with it.
        *living = Living::default();
        let server = self.recipe.spawn(self.state.join(format!("{}.sock", self.number())))?;
        server.ready("/", deadline)?;
        let server = Arc::new(server);
        living.server = Some(Arc::clone(&server));
        Ok(server)
    }

    /// Loads isolates until as many as are to be ahead are nobody's.
    fn refill(&self, server: &Server, deadline: Deadline) -> Result<(), Fault> {
        while self.living().pool.len() < self.ahead && server.lives() {
            let path = format!("/{}", self.number());
            server.ready(&path, deadline)?;
            self.living().pool.push(path);
        }
        Ok(())
    }
}

impl Deployment for Isolates {
    fn start(&self, _: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let shared = Arc::clone(&self.0);
        let server = shared.server(deadline)?;
        let ahead = shared.living().pool.pop();
        let (path, http) = match ahead {
            Some(path) => (path, server.connect(deadline)?),
            None => {
                let path = format!("/{}", shared.number());
                let http = server.ready(&path, deadline)?;
                (path, http)
            }
        };
        Ok(Box::new(Isolate { http, server, shared, path, gone: false }))
    }

    fn footprint(&self) -> Attribution {
        let Some(server) = self.0.living().server.clone() else { return Attribution::default() };
        // A pool is full whenever its memory is read, or instances from it would seem to need none. One that cannot be
        // filled is told by the next start.
        let _ = self.0.refill(&server, Deadline::after(REFILL));
        server.footprint()
    }
}

/// An instance that is an isolate.
struct Isolate {
    http: Http,
    server: Arc<Server>,
    shared: Arc<Shared>,
    /// Its name.
    path: String,
    gone: bool,
}

impl Isolate {
    fn end(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.gone = true;
        if !self.server.lives() {
            return Ok(());
        }
        self.server.ask(&mut self.http, Method::DELETE, &self.path, b"", deadline).map(drop)
    }
}

impl Instance for Isolate {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.server.ask(&mut self.http, Method::POST, &self.path, request, deadline)
    }

    fn footprint(&self) -> Attribution {
        self.server.footprint()
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        self.end(deadline)?;
        self.shared.refill(&self.server, deadline)
    }
}

impl Drop for Isolate {
    fn drop(&mut self) {
        if !self.gone {
            // At the latest it goes with the process.
            let _ = self.end(Deadline::after(GRACE));
        }
    }
}
