//! Reading and decoding ahead of the models: one thread reads the input, some decode, and whoever has the
//! models takes what is ready, in the input's order.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::thread;

use super::CapfiltError;
use super::input::Sample;
use super::journal::Part;
use super::picture::{PictureReader, Prepared};

/// Pictures that are read and not scored yet, at most: a megabyte each as the models see them.
const WINDOW: usize = 64;

/// What comes out, in order.
pub enum Step {
    /// A part begins.
    Begin(Box<Part>),
    Picture(Box<Prepared>),
    /// The part is complete.
    End,
    /// Nothing more can be read.
    Failed(CapfiltError),
}

/// What the reader puts in.
enum Work {
    Begin(Box<Part>),
    Picture(Box<Sample>, u64),
    End,
    Failed(CapfiltError),
}

/// The reader's end.
pub struct Reader {
    work: SyncSender<(u64, Work)>,
    room: Receiver<()>,
    next: u64,
}

/// Nobody takes anything any more.
pub struct Closed;

impl Reader {
    fn send(&mut self, work: Work) -> Result<(), Closed> {
        let number = self.next;
        self.next += 1;
        self.work.send((number, work)).map_err(|_| Closed)
    }

    /// A part begins.
    pub fn begin(&mut self, part: Part) -> Result<(), Closed> {
        self.send(Work::Begin(Box::new(part)))
    }

    /// A sample, once there is room for it.
    pub fn sample(&mut self, sample: Sample, extent: u64) -> Result<(), Closed> {
        self.room.recv().map_err(|_: RecvError| Closed)?;
        self.send(Work::Picture(Box::new(sample), extent))
    }

    /// The part is complete.
    pub fn end(&mut self) -> Result<(), Closed> {
        self.send(Work::End)
    }

    /// Nothing more can be read.
    pub fn fail(&mut self, error: CapfiltError) {
        let _ = self.send(Work::Failed(error));
    }
}

/// The end where what is ready comes out.
pub struct Ahead {
    ready: Receiver<(u64, Step)>,
    room: SyncSender<()>,
    /// Those that were faster than one before them.
    early: BTreeMap<u64, Step>,
    next: u64,
}

impl Ahead {
    /// The next step; waits for it. `None` behind the last.
    pub fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(step);
            }
            let (number, step) = self.ready.recv().ok()?;
            self.early.insert(number, step);
        }
    }

    /// The next step, if it is ready.
    pub fn try_next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(step);
            }
            match self.ready.try_recv() {
                Ok((number, step)) => self.early.insert(number, step),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            };
        }
    }

    /// A picture is done: there is room for another.
    pub fn make_room(&self) {
        // The reader may be at its end.
        let _ = self.room.try_send(());
    }
}

/// Runs `read` on a thread of its own, decodes on `threads` more, and gives `work` what is ready.
///
/// # Errors
/// The system gives no threads, or what `work` says.
pub fn read_ahead<T>(
    threads: usize,
    pictures: &PictureReader,
    read: impl FnOnce(&mut Reader) + Send,
    work: impl FnOnce(&mut Ahead) -> Result<T, CapfiltError>,
) -> Result<T, CapfiltError> {
    let (send_work, receive_work) = sync_channel::<(u64, Work)>(WINDOW);
    let (send_ready, ready) = sync_channel::<(u64, Step)>(WINDOW);
    let (room, wait_for_room) = sync_channel::<()>(WINDOW);
    for _ in 0..WINDOW {
        // There is room for all of them.
        let _ = room.try_send(());
    }
    let receive_work = Mutex::new(receive_work);
    let receive_work = &receive_work;
    thread::scope(|scope| {
        let mut reader = Reader {
            work: send_work,
            room: wait_for_room,
            next: 0,
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        named("capfilt-read")
            .spawn_scoped(scope, move || read(&mut reader))
            .map_err(CapfiltError::NoThread)?;
        for number in 0..threads.max(1) {
            let send_ready = send_ready.clone();
            let decoding = named(&format!("capfilt-decode-{number}"))
                .spawn_scoped(scope, move || decode(receive_work, &send_ready, pictures));
            decoding.map_err(CapfiltError::NoThread)?;
        }
        drop(send_ready);
        let mut ahead = Ahead {
            ready,
            room,
            early: BTreeMap::new(),
            next: 0,
        };
        work(&mut ahead)
        // What `ahead` held is gone now: the threads find their channels closed, and end.
    })
}

fn decode(work: &Mutex<Receiver<(u64, Work)>>, ready: &SyncSender<(u64, Step)>, pictures: &PictureReader) {
    loop {
        // Whoever holds the lock waits for the next; it is no one's fault if he is gone.
        let next = match work.lock() {
            Ok(work) => work.recv(),
            Err(_) => return,
        };
        let Ok((number, work)) = next else { return };
        let step = match work {
            Work::Begin(part) => Step::Begin(part),
            Work::Picture(sample, extent) => Step::Picture(Box::new(pictures.prepare(*sample, extent))),
            Work::End => Step::End,
            Work::Failed(error) => Step::Failed(error),
        };
        // Where nobody takes it any more the reader is still listened to, until it knows.
        let _ = ready.send((number, step));
    }
}
