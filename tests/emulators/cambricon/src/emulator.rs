//! The state: devices, queues, notifiers, memory, handles of operators, descriptors.

use std::collections::BTreeMap;
use std::thread::ThreadId;

use emulator_support::{Memory, Pages, Point, QueueId, Queues, Races, Report};

use crate::captures::{Capture, Entity, Topology};
use crate::collectives::Collectives;
use crate::config::Config;
use crate::handles::{Handle, Handles, Kind};
use crate::objects::Object;
use crate::work::Work;

/// Addresses of each device. None is given twice, so there are many more than bytes.
const SPACE_BYTES: usize = 1 << 38;
/// Where a configuration may stand before anything is called.
const CONFIGURATION: &str = "NEUWARE_EMU_CONFIG";

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) device: usize,
    /// Whether a task of it failed: it takes no more.
    pub(crate) has_failed: bool,
}

#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) device: usize,
    /// What a wait for it waits for: its last place, or the first that is to come.
    pub(crate) point: Point,
    pub(crate) is_placed: bool,
}

/// A handle of the operators.
#[derive(Debug)]
pub(crate) struct Operators {
    pub(crate) device: usize,
    /// The queue that they go to, once it is set.
    pub(crate) queue: Option<Handle>,
    pub(crate) thread: ThreadId,
}

#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) config: Config,
    /// Which run this is. What threads remember of another one does not count.
    pub(crate) epoch: u64,
    pub(crate) handles: Handles,
    pub(crate) devices: Vec<Memory>,
    pub(crate) queues: BTreeMap<Handle, Queue>,
    pub(crate) notifiers: BTreeMap<Handle, Notifier>,
    pub(crate) operators: BTreeMap<Handle, Operators>,
    pub(crate) objects: BTreeMap<Handle, Object>,
    /// Pinned memory of the host by its first address, with the size that was asked for.
    pub(crate) pinned: BTreeMap<u64, (Pages, usize)>,
    /// By the queue that each is of.
    pub(crate) captures: BTreeMap<Handle, Capture>,
    pub(crate) topologies: BTreeMap<Handle, Topology>,
    pub(crate) entities: BTreeMap<Handle, Entity>,
    pub(crate) work: Queues<Work>,
    pub(crate) collectives: Collectives,
    pub(crate) races: Races,
    pub(crate) report: Report,
}

impl Emulator {
    /// The state at start, set by the environment.
    ///
    /// # Panics
    /// If that holds no configuration. The panic becomes the failure of the first call.
    pub(crate) fn first() -> Self {
        let config = match std::env::var_os(CONFIGURATION) {
            Some(text) => Config::parse(&text.to_string_lossy()),
            None => Ok(Config::default()),
        };
        let config = config.unwrap_or_else(|error| panic!("{CONFIGURATION}: {error}"));
        Self::new(config, 1).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A fresh state.
    pub(crate) fn new(config: Config, epoch: u64) -> std::io::Result<Self> {
        let memory = |_| Memory::new(SPACE_BYTES, config.memory_bytes, config.pattern);
        Ok(Self {
            devices: (0..config.devices)
                .map(memory)
                .collect::<std::io::Result<_>>()?,
            work: Queues::new(config.schedule, config.seed),
            config,
            epoch,
            handles: Handles::default(),
            queues: BTreeMap::new(),
            notifiers: BTreeMap::new(),
            operators: BTreeMap::new(),
            objects: BTreeMap::new(),
            pinned: BTreeMap::new(),
            captures: BTreeMap::new(),
            topologies: BTreeMap::new(),
            entities: BTreeMap::new(),
            collectives: Collectives::default(),
            races: Races::default(),
            report: Report::default(),
        })
    }

    /// Makes a description of an operand or of an operator.
    pub(crate) fn make(&mut self, kind: Kind, object: Object) -> Handle {
        let handle = self.handles.make(kind);
        self.objects.insert(handle, object);
        handle
    }

    /// The calls that queued work which has not run and uses a range.
    pub(crate) fn users(&self, start: u64, bytes: usize) -> Vec<&'static str> {
        let end = start + bytes as u64;
        let pending = self.work.pending().filter(|(_, work)| {
            let (reads, writes) = work.task.ranges();
            let mut ranges = reads.iter().chain(&writes);
            ranges.any(|(from, count)| *from < end && start < from + *count as u64)
        });
        pending.map(|(_, work)| work.call).collect()
    }

    /// Whether a queue holds work.
    pub(crate) fn is_pending(&self, queue: Handle) -> bool {
        let mut pending = self.work.pending();
        pending.any(|(id, _)| id == QueueId(queue.0))
    }

    /// What is alive and was to be given back.
    pub(crate) fn alive(&self) -> Vec<String> {
        let buffers = self
            .devices
            .iter()
            .enumerate()
            .flat_map(|(device, memory)| {
                let blocks = memory.blocks();
                blocks.map(move |(start, bytes)| {
                    format!("{bytes} bytes at {start:#x} of device {device}")
                })
            });
        let pinned = self.pinned.values();
        let pinned = pinned.map(|(_, bytes)| format!("{bytes} bytes of pinned memory"));
        let queues = self.queues.values();
        let queues = queues.map(|queue| format!("a queue of device {}", queue.device));
        let notifiers = self.notifiers.values();
        let notifiers = notifiers.map(|one| format!("a notifier of device {}", one.device));
        let handles = self.operators.values();
        let handles = handles.map(|one| format!("a handle of device {}", one.device));
        let objects = self.objects.values().map(|object| object.name().to_owned());
        let topologies = self.topologies.values();
        let topologies = topologies.map(|(device, _)| format!("captured tasks of device {device}"));
        let entities = self.entities.values();
        let entities = entities.map(|one| format!("an entity of device {}", one.device));
        buffers
            .chain(pinned)
            .chain(queues)
            .chain(notifiers)
            .chain(handles)
            .chain(objects)
            .chain(topologies)
            .chain(entities)
            .chain(self.collectives.alive())
            .collect()
    }
}
