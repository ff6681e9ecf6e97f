//! Several models that share a memory.
//!
//! Each has an engine of its own while it is loaded, with its thread, its queue and its KV pool. A model is
//! loaded when somebody asks it: until it is there his question waits in a queue of the same limits, by the
//! rules of which it is told its position, found to be cancelled, or too late. Then all that wait there go
//! over to the engine's own.
//!
//! Where the budget has no room for it, the model that was asked longest ago goes, of those that answer
//! nobody and have nobody waiting: an answer is never cut off. Where all are busy it waits. When it has
//! waited for [`PoolLimits::patience`], what is asked of the one that is to go waits behind it, so that a
//! model that is always asked keeps no other one out; what that one was asked before is answered first.
//!
//! One thread decides all that (`manage`), and has a model loaded on another one, so that those who have
//! gone are noticed meanwhile. Loading fails for those who wait for that model, and is tried again for the
//! next who asks it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;

use super::explainer::Explainer;
use super::job::Job;
use super::loader::{LoadFailure, LoadedModel, ModelLoader};
use super::queue::{Queue, QueueSender, queue};
use super::{Description, Engine, EngineError, Engines, Event, Health, Presence, QueueLimits, QueueState, Steps};
use crate::models::{give_freed_memory_back, readable_bytes};
use crate::processor::Picture;

/// How often somebody looks whether a busy model has become idle, and who has gone, while a model is wanted.
const LOOK: Duration = Duration::from_millis(20);

/// What the models of a pool share.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Of those who wait for a model to be loaded, and of each model's own.
    pub queue: QueueLimits,
    /// Bytes that the models may take together.
    pub memory: u64,
    /// How long a model waits for a busy one to become idle before that gets no more questions.
    pub patience: Duration,
}

/// Starts models that share a memory, in the order in which visitors see them. The first `preloaded` are in
/// memory when this returns, the others come when they are asked.
///
/// # Errors
/// One of those cannot be loaded, or they do not fit together; or the system gives no thread.
pub fn start_pool(
    loaders: Vec<Arc<dyn ModelLoader>>,
    preloaded: usize,
    limits: PoolLimits,
) -> Result<Engines, LoadFailure> {
    let sizes = loaders.iter().map(|loader| loader.bytes());
    let needed = sizes.clone().fold(0, u64::saturating_add);
    // What is left where all fit is shared evenly, for keys and values.
    let spare = limits.memory.saturating_sub(needed) / loaders.len().max(1) as u64;
    let (senders, queues): (Vec<_>, Vec<_>) = loaders.iter().map(|_| queue(limits.queue)).unzip();
    let slots = loaders.iter().zip(sizes).map(|(loader, bytes)| Slot {
        loader: Arc::clone(loader),
        bytes,
        most_bytes: bytes.saturating_add(spare),
        phase: Phase::Unloaded,
        used: 0,
        wanted: None,
        is_held: false,
    });
    let mut state = State {
        slots: slots.collect(),
        uses: 0,
        is_over: false,
    };
    state.preload(preloaded, limits.memory)?;
    let pool = Arc::new(Pool {
        state: Mutex::new(state),
        changed: Condvar::new(),
        limits,
    });
    let manager = Manager {
        pool: Arc::clone(&pool),
        queues,
    };
    std::thread::Builder::new()
        .name("models".into())
        .spawn(move || manager.manage())?;
    let owner = Arc::new(Owner(pool));
    let engine = |(index, (waiting, loader)): (usize, (QueueSender<Job>, Arc<dyn ModelLoader>))| {
        let owner = Arc::clone(&owner);
        Arc::new(PooledModel {
            index,
            loader,
            waiting,
            owner,
        }) as Arc<dyn Engine>
    };
    let mut engines = senders.into_iter().zip(loaders).enumerate().map(engine);
    let first = engines.next().ok_or("there is no model")?;
    Ok(Engines::new(first, engines.collect()))
}

struct Pool {
    state: Mutex<State>,
    /// A model is wanted, was loaded, or all is over.
    changed: Condvar,
    limits: PoolLimits,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a single step, so that a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the pool with the last of its models.
struct Owner(Arc<Pool>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

struct State {
    /// One a model, in their order.
    slots: Vec<Slot>,
    /// Counts what was asked.
    uses: u64,
    is_over: bool,
}

/// A model of the pool.
struct Slot {
    loader: Arc<dyn ModelLoader>,
    bytes: u64,
    /// With its keys and values.
    most_bytes: u64,
    phase: Phase,
    /// When it was asked last, by [`State::uses`].
    used: u64,
    /// Since when somebody waits for it.
    wanted: Option<Instant>,
    /// It is to make room: what it is asked waits, as if it were not there.
    is_held: bool,
}

enum Phase {
    Unloaded,
    Loading,
    Loaded(LoadedModel),
}

impl Slot {
    fn name(&self) -> &str {
        &self.loader.description().name
    }

    fn engine(&self) -> Option<&dyn Engine> {
        match &self.phase {
            Phase::Loaded(model) => Some(model.engine.as_ref()),
            _ => None,
        }
    }

    /// Whether it is loaded, answers nobody and has nobody waiting.
    fn is_idle(&self) -> bool {
        self.engine()
            .is_some_and(|engine| engine.queue() == QueueState::default())
    }

    /// It is in memory, or did not get there: that is counted.
    fn note_load(&self, outcome: &'static str) {
        counter!("glimpse_model_loads_total", "model" => self.name().to_owned(), "outcome" => outcome).increment(1);
    }
}

impl State {
    fn preload(&mut self, count: usize, memory: u64) -> Result<(), LoadFailure> {
        let count = count.min(self.slots.len());
        let together: u64 = self.slots[..count].iter().map(|slot| slot.bytes).sum();
        if count > 1 && together > memory {
            return Err(format!(
                "The models take {} together, and {} are there for them (--model-memory). Leave --preload out, so that each is loaded when it is asked, name fewer, or use a smaller --dtype.",
                readable_bytes(together),
                readable_bytes(memory)
            )
            .into());
        }
        for slot in &mut self.slots[..count] {
            if slot.bytes > memory {
                let model = slot.name().to_owned();
                let reason = too_large(slot.bytes, memory);
                return Err(EngineError::NotLoaded { model, reason }.into());
            }
            slot.phase = Phase::Loaded(slot.loader.load(slot.most_bytes)?);
            slot.note_load("loaded");
        }
        Ok(())
    }

    /// The model that has been waited for longest of those that are not there.
    fn most_wanted(&self) -> Option<(usize, Instant)> {
        let wanted = self.slots.iter().enumerate();
        let wanted = wanted.filter(|(_, slot)| matches!(slot.phase, Phase::Unloaded));
        wanted
            .filter_map(|(index, slot)| Some((index, slot.wanted?)))
            .min_by_key(|(_, since)| *since)
    }

    fn is_loading(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.phase, Phase::Loading))
    }

    /// Bytes of all that is loaded.
    fn taken(&self) -> u64 {
        let loaded = self.slots.iter().filter(|slot| slot.engine().is_some());
        loaded.map(|slot| slot.bytes).sum()
    }

    /// Of the loaded models that are as asked for, the one that was asked longest ago.
    fn least_used(&self, is_meant: impl Fn(&Slot) -> bool) -> Option<usize> {
        let loaded = self.slots.iter().enumerate();
        let loaded = loaded.filter(|(_, slot)| slot.engine().is_some() && is_meant(slot));
        loaded.min_by_key(|(_, slot)| slot.used).map(|(index, _)| index)
    }
}

/// What the manager does next.
enum Next {
    /// Nobody waits for a model.
    Rest,
    /// Somebody does, and nothing can be done at this moment.
    Wait,
    Load(usize),
    /// It makes room.
    Unload(usize, LoadedModel),
    End,
}

/// The thread that has models loaded, and makes room for them.
struct Manager {
    pool: Arc<Pool>,
    /// Those who wait for each model to be loaded.
    queues: Vec<Queue<Job>>,
}

impl Manager {
    fn manage(self) {
        let manager = Arc::new(self);
        loop {
            let mut state = manager.pool.lock();
            match manager.next(&mut state) {
                Next::End => return,
                Next::Rest => drop(manager.pool.changed.wait(state)),
                Next::Wait => drop(manager.pool.changed.wait_timeout(state, LOOK)),
                Next::Load(index) => {
                    drop(state);
                    let loading = Arc::clone(&manager);
                    let thread = std::thread::Builder::new().name("loading".into());
                    if thread.spawn(move || loading.load(index)).is_err() {
                        // Here it takes as long; nobody is noticed to have gone meanwhile.
                        manager.load(index);
                    }
                }
                Next::Unload(index, model) => {
                    let name = state.slots[index].name().to_owned();
                    drop(state);
                    tracing::info!("{name} makes room for another model");
                    counter!("glimpse_model_unloads_total", "model" => name).increment(1);
                    model.unload();
                    give_freed_memory_back();
                }
            }
        }
    }

    fn next(&self, state: &mut State) -> Next {
        if state.is_over {
            return Next::End;
        }
        self.notice_who_has_gone(state);
        if state.is_loading() {
            return Next::Wait;
        }
        let Some((index, since)) = state.most_wanted() else {
            self.let_on(state);
            return Next::Rest;
        };
        let needed = state.slots[index].bytes;
        if needed > self.pool.limits.memory {
            self.fail(state, index, &too_large(needed, self.pool.limits.memory));
            return Next::Wait;
        }
        if state.taken().saturating_add(needed) <= self.pool.limits.memory {
            state.slots[index].phase = Phase::Loading;
            return Next::Load(index);
        }
        if let Some(idle) = state.least_used(Slot::is_idle) {
            let slot = &mut state.slots[idle];
            slot.is_held = false;
            if let Phase::Loaded(model) = std::mem::replace(&mut slot.phase, Phase::Unloaded) {
                return Next::Unload(idle, model);
            }
        }
        let is_held = state.slots.iter().any(|slot| slot.is_held);
        if !is_held
            && since.elapsed() >= self.pool.limits.patience
            && let Some(busy) = state.least_used(|_| true)
        {
            state.slots[busy].is_held = true;
        }
        Next::Wait
    }

    /// Lets go of those who wait no more; a model that nobody waits for is not wanted.
    fn notice_who_has_gone(&self, state: &mut State) {
        for (slot, queue) in state.slots.iter_mut().zip(&self.queues) {
            if slot.wanted.is_some() {
                queue.refresh();
                if queue.state().waiting == 0 {
                    slot.wanted = None;
                }
            }
        }
    }

    /// Nothing needs room any more: who was held back goes on.
    fn let_on(&self, state: &mut State) {
        for index in 0..state.slots.len() {
            if std::mem::take(&mut state.slots[index].is_held) {
                self.hand_over(state, index);
            }
        }
    }

    /// Loads a model, and hands over who waits for it.
    fn load(&self, index: usize) {
        let (loader, most) = {
            let slot = &self.pool.lock().slots[index];
            (Arc::clone(&slot.loader), slot.most_bytes)
        };
        tracing::info!("loading {}", loader.description().name);
        let loaded = catch_unwind(AssertUnwindSafe(|| loader.load(most)));
        let loaded = loaded.unwrap_or_else(|_| Err("loading broke, as the log says".into()));
        let mut state = self.pool.lock();
        match loaded {
            Ok(model) => {
                let slot = &mut state.slots[index];
                slot.phase = Phase::Loaded(model);
                slot.note_load("loaded");
                self.hand_over(&mut state, index);
            }
            Err(error) => {
                let slot = &mut state.slots[index];
                slot.phase = Phase::Unloaded;
                slot.note_load("failed");
                tracing::error!("{} could not be loaded: {error}", slot.name());
                self.fail(&mut state, index, &error.to_string());
            }
        }
        drop(state);
        self.pool.changed.notify_all();
    }

    /// Gives those who waited for a model to its engine.
    fn hand_over(&self, state: &mut State, index: usize) {
        let slot = &mut state.slots[index];
        slot.wanted = None;
        let Some(engine) = slot.engine() else { return };
        while let Some((job, permit)) = self.queues[index].try_next() {
            drop(permit);
            let reply = job.reply();
            if let Err(error) = engine.enqueue(job) {
                // An error says that nobody waits any more.
                let _ = reply.send(Event::Failed(error));
            }
        }
    }

    /// Tells those who wait for a model why it does not come.
    fn fail(&self, state: &mut State, index: usize, reason: &str) {
        let slot = &mut state.slots[index];
        slot.wanted = None;
        while let Some((job, permit)) = self.queues[index].try_next() {
            drop(permit);
            job.send(Event::Failed(EngineError::NotLoaded {
                model: slot.name().to_owned(),
                reason: reason.to_owned(),
            }));
        }
    }
}

fn too_large(needed: u64, memory: u64) -> String {
    format!(
        "It needs {}, and {} are there for all models (--model-memory). Use a smaller --dtype.",
        readable_bytes(needed),
        readable_bytes(memory)
    )
}

/// A model of a pool, which is loaded when it is asked.
struct PooledModel {
    index: usize,
    loader: Arc<dyn ModelLoader>,
    /// Where questions wait for it to be loaded.
    waiting: QueueSender<Job>,
    owner: Arc<Owner>,
}

impl PooledModel {
    fn pool(&self) -> &Pool {
        &self.owner.0
    }

    fn with_slot<T>(&self, look: impl FnOnce(&Slot) -> T) -> T {
        look(&self.pool().lock().slots[self.index])
    }
}

impl Engine for PooledModel {
    fn description(&self) -> &Description {
        self.loader.description()
    }

    /// A model that is not there is loaded when it is asked, which may go well.
    fn health(&self) -> Health {
        self.with_slot(|slot| slot.engine().map_or(Health::Ready, Engine::health))
    }

    fn prepare(&self, picture: &Picture) -> Picture {
        self.loader.prepare(picture)
    }

    fn enqueue(&self, job: Job) -> Result<(), EngineError> {
        let mut state = self.pool().lock();
        state.uses += 1;
        let uses = state.uses;
        let slot = &mut state.slots[self.index];
        slot.used = uses;
        if let Some(engine) = slot.engine()
            && !slot.is_held
        {
            return engine.enqueue(job);
        }
        let reply = job.reply();
        job.enter(&self.waiting)?;
        // An error says that nobody waits any more.
        let _ = reply.send(Event::Loading);
        slot.wanted.get_or_insert_with(Instant::now);
        drop(state);
        self.pool().changed.notify_all();
        Ok(())
    }

    fn queue(&self) -> QueueState {
        let waiting = self.waiting.state().waiting;
        let own = self.with_slot(|slot| slot.engine().map(Engine::queue).unwrap_or_default());
        QueueState {
            waiting: own.waiting + waiting,
            running: own.running,
        }
    }

    fn presence(&self) -> Presence {
        self.with_slot(|slot| match slot.phase {
            Phase::Unloaded => Presence::Unloaded,
            Phase::Loading => Presence::Loading,
            Phase::Loaded(_) => Presence::Loaded,
        })
    }

    fn steps(&self) -> Steps {
        self.with_slot(|slot| slot.engine().map(Engine::steps).unwrap_or_default())
    }

    fn explainer(&self) -> Option<Explainer> {
        self.with_slot(|slot| slot.engine().and_then(Engine::explainer))
    }
}
