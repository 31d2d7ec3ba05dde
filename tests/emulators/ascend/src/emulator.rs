//! The state: devices, contexts, streams, events, memory, operands.

use std::collections::BTreeMap;

use emulator_support::{Memory, Pages, Point, QueueId, Queues, Report};

use crate::captures::{Capture, Graph, Mark};
use crate::collectives::{Communicator, Root};
use crate::config::{Config, Family};
use crate::executors::Executor;
use crate::handles::{Handle, Handles, Kind};
use crate::objects::Object;
use crate::work::Work;

/// Addresses of each device. None is given twice, so there are many more than bytes.
const SPACE_BYTES: usize = 1 << 38;
/// Where a configuration may stand before anything is called.
const CONFIGURATION: &str = "ASCEND_EMU_CONFIG";

/// How far the process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Fresh,
    Ready,
    Finalized,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) memory: Memory,
    /// How often it was set and not reset.
    pub(crate) users: u32,
    pub(crate) context: Option<Handle>,
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: usize,
    pub(crate) default_stream: Handle,
    /// What every call returns since a task failed.
    pub(crate) failed: Option<i32>,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) context: Handle,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) context: Handle,
    /// What a wait for the event waits for: its last record, or the first that is to come.
    pub(crate) point: Point,
    pub(crate) is_recorded: bool,
    pub(crate) takes_time: bool,
    /// When the last record was passed, as a number of tasks.
    pub(crate) time: Option<u64>,
    /// Where in a capture it was recorded last.
    pub(crate) mark: Option<Mark>,
}

#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) config: Config,
    /// Which run this is. What threads remember of another one does not count.
    pub(crate) epoch: u64,
    pub(crate) phase: Phase,
    pub(crate) handles: Handles,
    pub(crate) devices: Vec<Device>,
    pub(crate) contexts: BTreeMap<Handle, Context>,
    pub(crate) streams: BTreeMap<Handle, Stream>,
    pub(crate) events: BTreeMap<Handle, Event>,
    /// Pinned memory of the host by its first address, with the size that was asked for.
    pub(crate) pinned: BTreeMap<u64, (Pages, usize)>,
    pub(crate) objects: BTreeMap<Handle, Object>,
    pub(crate) executors: BTreeMap<Handle, Executor>,
    /// Captures by the streams that they began on.
    pub(crate) captures: BTreeMap<Handle, Capture>,
    pub(crate) graphs: BTreeMap<Handle, Graph>,
    /// What roots told of, by the number in what they told.
    pub(crate) roots: BTreeMap<u64, Root>,
    pub(crate) communicators: BTreeMap<Handle, Communicator>,
    pub(crate) queues: Queues<Work>,
    pub(crate) report: Report,
    /// Tasks that were run.
    pub(crate) clock: u64,
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
        let devices = (0..config.devices).map(|_| {
            Ok(Device {
                memory: Memory::new(SPACE_BYTES, config.hbm_bytes, config.pattern)?,
                users: 0,
                context: None,
            })
        });
        Ok(Self {
            devices: devices.collect::<std::io::Result<_>>()?,
            queues: Queues::new(config.schedule, config.seed),
            config,
            epoch,
            phase: Phase::Fresh,
            handles: Handles::default(),
            contexts: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            pinned: BTreeMap::new(),
            objects: BTreeMap::new(),
            executors: BTreeMap::new(),
            captures: BTreeMap::new(),
            graphs: BTreeMap::new(),
            roots: BTreeMap::new(),
            communicators: BTreeMap::new(),
            report: Report::default(),
            clock: 0,
        })
    }

    /// Bytes that an allocation is charged as: in units of 32, and on A2 and A3 one more.
    pub(crate) fn charge(&self, bytes: usize) -> usize {
        let tail = if self.config.family == Family::A5 {
            0
        } else {
            32
        };
        bytes.next_multiple_of(32) + tail
    }

    pub(crate) fn open_context(&mut self, device: usize) -> Handle {
        let context = self.handles.make(Kind::Context);
        let default_stream = self.open_stream(context);
        let new = Context {
            device,
            default_stream,
            failed: None,
        };
        self.contexts.insert(context, new);
        context
    }

    pub(crate) fn open_stream(&mut self, context: Handle) -> Handle {
        let stream = self.handles.make(Kind::Stream);
        self.streams.insert(stream, Stream { context });
        self.queues.open(QueueId(stream.0));
        stream
    }

    pub(crate) fn close_stream(&mut self, stream: Handle) {
        self.streams.remove(&stream);
        self.queues.close(QueueId(stream.0));
    }

    /// Ends a context. What was made in it and not destroyed is told.
    pub(crate) fn close_context(&mut self, context: Handle) {
        for leak in self.leaks_of(context) {
            self.report.leak(leak);
        }
        let of = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.context == context);
        let streams: Vec<_> = of.map(|(handle, _)| *handle).collect();
        for stream in streams {
            self.close_stream(stream);
        }
        self.events.retain(|_, event| event.context != context);
        self.close_captures(context);
        self.communicators.retain(|_, one| one.context != context);
        self.contexts.remove(&context);
    }

    fn leaks_of(&self, context: Handle) -> Vec<String> {
        let Context {
            device,
            default_stream,
            ..
        } = self.contexts[&context];
        let streams = self
            .streams
            .iter()
            .filter(|(handle, stream)| stream.context == context && **handle != default_stream);
        let streams = streams.map(|_| format!("a stream of device {device}"));
        let events = self
            .events
            .values()
            .filter(|event| event.context == context);
        let events = events.map(|_| format!("an event of device {device}"));
        let captured = self.captured_in(context);
        let captured = captured.map(|what| format!("{what} of device {device}"));
        let of = { self.communicators.values() }.filter(|one| one.context == context);
        let communicators = of.map(|_| format!("a communicator of device {device}"));
        streams
            .chain(events)
            .chain(captured)
            .chain(communicators)
            .collect()
    }

    /// What a device still holds in memory.
    pub(crate) fn buffers(&self, device: usize) -> Vec<String> {
        let blocks = self.devices[device].memory.blocks();
        let tell = |(start, bytes)| format!("{bytes} bytes at {start:#x} of device {device}");
        blocks.map(tell).collect()
    }

    /// What is alive and was to be given back.
    pub(crate) fn alive(&self) -> Vec<String> {
        let contexts = self
            .contexts
            .keys()
            .flat_map(|context| self.leaks_of(*context));
        let buffers = (0..self.devices.len()).flat_map(|device| self.buffers(device));
        let pinned = self.pinned.values();
        let pinned = pinned.map(|(_, bytes)| format!("{bytes} bytes of pinned memory"));
        let objects = self.objects.values().map(|object| object.name().to_owned());
        let executors = self.executors.values().map(Executor::name);
        contexts
            .chain(buffers)
            .chain(pinned)
            .chain(objects)
            .chain(executors)
            .collect()
    }
}
