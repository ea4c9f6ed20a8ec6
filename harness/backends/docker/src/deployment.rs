//! A guest that is ready to be started, and a started one.

use crate::container::{AGENT, CONNECT, Container, FOLDER, SOCKET, settings};
use crate::daemon::Shared;
use crate::exec::Executed;
use crate::image::REPOSITORY;
use crate::padded;
use crate::variant::{Variant, Way};
use bollard::Docker;
use isobench_core::{Fault, Limits, SampleFlag};
use isobench_guest::frame::Memory;
use isobench_runner::agents::AgentPackage;
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::{Attribution, Deadline, Deployment, Instance, Phases, RunContext, Target};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a wait for the agent's connection asks the daemon whether the container still runs. Seldom: the question
/// costs a millisecond of the processor that the agent needs.
const ALIVE_CHECK: Duration = Duration::from_millis(250);
/// Longest wait for a container that is made ahead.
const AHEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Numbers the sockets of this process.
static SOCKETS: AtomicU32 = AtomicU32::new(0);

/// The image's name: the run that it belongs to and its content.
pub fn image_of(shared: &Shared, package: &AgentPackage) -> String {
    format!("{REPOSITORY}{}:{}", shared.owner, &package.sha256[..16])
}

/// An image that the daemon has.
pub enum Image {
    /// Of this name, for all blocks of the run.
    Shared(String),
    /// This deployment's own.
    Own(padded::Image),
}

impl Image {
    fn name(&self) -> &str {
        match self {
            Image::Shared(name) => name,
            Image::Own(image) => image.name(),
        }
    }
}

/// An imported image and how to start it.
pub struct Deployed(Arc<Maker>);

impl Deployed {
    /// Makes what the variant has ahead.
    pub fn new(
        docker: Docker,
        shared: &Shared,
        image: Image,
        args: Vec<String>,
        ctx: &RunContext,
        target: &Target,
    ) -> Result<Deployed, Fault> {
        let variant = Variant::named(&target.variant);
        let mut maker = Maker {
            docker,
            image,
            args,
            run: ctx.run.clone(),
            state: ctx.state.clone(),
            limits: target.limits.clone(),
            variant: variant.ok_or_else(|| Fault::backend(format!("docker has no variant `{}`", target.variant)))?,
            daemon: Attribution { pids: shared.pids.clone(), ..Default::default() }.readable(),
            ahead: Mutex::new(Vec::new()),
            living: None,
        };
        let deadline = Deadline::after(AHEAD_DEADLINE);
        if maker.variant.way == Way::Exec {
            let living = maker.create(&mut Phases::new(), deadline)?.boot(&maker, &mut Phases::new(), deadline)?;
            maker.living = Some(Living { container: living.0, _channel: Mutex::new(living.1) });
        }
        maker.refill(deadline)?;
        Ok(Deployed(Arc::new(maker)))
    }
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let maker = &self.0;
        if let Some(living) = &maker.living {
            return Ok(Box::new(maker.execute(living, phases, deadline)?));
        }
        // Where more live at once than have been made ahead, the rest is made in the clock.
        let (container, channel) = match maker.take() {
            None => maker.create(phases, deadline)?.boot(maker, phases, deadline)?,
            Some(Ahead::Created(created)) => created.boot(maker, phases, deadline)?,
            Some(Ahead::Paused(container, channel)) => {
                container.unpause(deadline)?;
                phases.end("create.unpause");
                (container, channel)
            }
        };
        Ok(Box::new(Started { channel, container, maker: Arc::clone(maker) }))
    }

    fn first_start(&self) -> Option<SampleFlag> {
        matches!(self.0.image, Image::Own(_)).then_some(SampleFlag::FirstAfterImport)
    }

    fn footprint(&self) -> Attribution {
        let mut all = self.0.daemon.clone();
        if let Some(living) = &self.0.living {
            all.unite(living.container.attribution());
        }
        for ahead in self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Ahead::Paused(container, _) = ahead {
                all.unite(container.attribution());
            }
        }
        all
    }
}

/// A container that was made before the clock started.
enum Ahead {
    Created(Created),
    Paused(Container, Channel),
}

/// A container that lives as long as the deployment. Its own agent waits for a call that never comes.
struct Living {
    container: Container,
    _channel: Mutex<Channel>,
}

/// Makes containers.
struct Maker {
    docker: Docker,
    image: Image,
    args: Vec<String>,
    run: String,
    state: PathBuf,
    limits: Limits,
    variant: Variant,
    daemon: Attribution,
    ahead: Mutex<Vec<Ahead>>,
    living: Option<Living>,
}

impl Maker {
    fn create(&self, phases: &mut Phases, deadline: Deadline) -> Result<Created, Fault> {
        let folder = self.state.join(SOCKETS.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&folder).map_err(|e| Fault::backend(format!("{}: {e}", folder.display())))?;
        let listener = Listener::bind(folder.join(SOCKET))?;
        let settings = settings(&self.run, self.image.name(), &self.args, &folder, &self.limits, self.variant);
        let container = Container::create(&self.docker, settings, folder, deadline)?;
        phases.end("create.api");
        Ok(Created { listener, container })
    }

    fn take(&self) -> Option<Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Makes one ahead, where the variant has that.
    fn refill(&self, deadline: Deadline) -> Result<(), Fault> {
        let mut phases = Phases::new();
        let ahead = match self.variant.way {
            Way::Run | Way::Exec => return Ok(()),
            Way::Precreated => Ahead::Created(self.create(&mut phases, deadline)?),
            Way::Unpause => {
                let (container, channel) = self.create(&mut phases, deadline)?.boot(self, &mut phases, deadline)?;
                container.pause(deadline)?;
                Ahead::Paused(container, channel)
            }
        };
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).push(ahead);
        Ok(())
    }

    fn execute(&self, living: &Living, phases: &mut Phases, deadline: Deadline) -> Result<Executed, Fault> {
        let name = format!("e{}", SOCKETS.fetch_add(1, Ordering::Relaxed));
        let listener = Listener::bind(living.container.folder().join(&name))?;
        let connect = format!("unix:{FOLDER}/{name}");
        let mut command = vec![AGENT.to_string()];
        command.extend(self.args.iter().map(|arg| if arg == CONNECT { connect.clone() } else { arg.clone() }));
        Executed::start(&living.container, command, &listener, &self.limits, phases, deadline)
    }
}

/// A container that has not been started, and what its agent will dial.
struct Created {
    listener: Listener,
    container: Container,
}

impl Created {
    /// Starts it and waits for its `hello`.
    fn boot(self, maker: &Maker, phases: &mut Phases, deadline: Deadline) -> Result<(Container, Channel), Fault> {
        let Created { listener, container } = self;
        container.start(deadline)?;
        phases.end("create.start");
        let mut asked = Instant::now();
        let mut channel = listener.accept(maker.limits.frame_bytes, deadline, || {
            if asked.elapsed() < ALIVE_CHECK {
                return Ok(());
            }
            asked = Instant::now();
            container.alive()
        })?;
        // The connection may be older than the daemon's answer to `start`: then `boot` is what was left of it.
        let up = channel.expect_up(deadline).map_err(|fault| container.explain(fault))?;
        phases.end_at("boot", up);
        channel.expect_hello(deadline).map_err(|fault| container.explain(fault))?;
        Ok((container, channel))
    }
}

/// A container whose agent has said hello.
struct Started {
    channel: Channel,
    container: Container,
    maker: Arc<Maker>,
}

impl Instance for Started {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.container.explain(fault))
    }

    fn footprint(&self) -> Attribution {
        self.container.attribution()
    }

    fn own_memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        match self.maker.variant.own_kernel() {
            true => self.channel.memory(deadline).map_err(|fault| self.container.explain(fault)),
            false => Ok(None),
        }
    }

    /// Who ends an instance makes the next one's container.
    fn stop(self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        let Started { container, maker, channel } = *self;
        container.remove(deadline)?;
        drop(channel);
        maker.refill(deadline)
    }
}
