//! Communicators, and what their ranks do together.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::thread::{self as host, ThreadId};

use backend_cambricon_sys::types::{cnclCliqueId, cnclComm_t, cnclDataType_t, cnclReduceOp_t};
use emulator_support::QueueId;
use emulator_support::argument::{Place, Pointer};
use emulator_support::failure::{Failure, Fault, Outcome};
use emulator_support::ranks::{Ask, Missing, Ranks, Reduce, joined};

use crate::call::Call;
use crate::codes::{CNCL_ARGUMENTS, CNCL_NULL, CNCL_UNSUPPORTED};
use crate::emulator::Emulator;
use crate::handles::{Handle, Kind};
use crate::memory::{Owner, check_of};
use crate::work::{Task, misused};

/// What a use of communicators is found by that does not fit their other ranks.
pub(crate) const CHECK: &str = "E-CNCL";

/// What an identifier of a clique begins with.
const MARK: [u8; 8] = *b"cncl-emu";

/// Communicators that were made together.
#[derive(Debug)]
struct Clique {
    ranks: Ranks,
    /// Those that live.
    alive: Vec<Handle>,
    /// Which rank each thread calls for.
    callers: Vec<(ThreadId, usize)>,
}

/// A communicator.
#[derive(Debug, Clone, Copy)]
struct Communicator {
    clique: u64,
    rank: usize,
    device: usize,
}

/// All of a run.
#[derive(Debug, Default)]
pub(crate) struct Collectives {
    cliques: BTreeMap<u64, Clique>,
    communicators: BTreeMap<Handle, Communicator>,
    /// Identifiers that were told of, and whether they were used.
    identifiers: BTreeMap<u64, bool>,
}

/// A rank's part of a call of all.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    clique: u64,
    rank: usize,
    number: u64,
    device: usize,
    address: u64,
    bytes: usize,
    reduce: Option<Reduce>,
}

impl Collectives {
    /// Ranks that do not come to what others wait for.
    pub(crate) fn missing(&self) -> Missing {
        let all = self.cliques.values();
        all.map(|clique| clique.ranks.missing()).collect()
    }

    /// Communicators that live.
    pub(crate) fn alive(&self) -> impl Iterator<Item = String> {
        let all = self.communicators.values();
        all.map(|one| format!("a communicator of device {}", one.device))
    }

    fn take(&mut self, handle: Handle) {
        if let Some(one) = self.communicators.remove(&handle)
            && let Some(clique) = self.cliques.get_mut(&one.clique)
        {
            clique.alive.retain(|other| *other != handle);
        }
    }
}

fn wrong(text: impl Into<String>) -> Failure {
    Failure::violation(CHECK, CNCL_ARGUMENTS, text)
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(CNCL_ARGUMENTS, text)
}

/// Tells what ranks of several processes find each other by.
pub(crate) fn identify(call: &mut Call, place: Place<cnclCliqueId>) -> Outcome {
    let place = place.some(CNCL_NULL)?;
    let hash = call.collectives.identifiers.len() as u64 + 1;
    call.collectives.identifiers.insert(hash, false);
    let mut data = [0; 128];
    for (to, byte) in data.iter_mut().zip(MARK) {
        *to = byte as c_char;
    }
    place.put(cnclCliqueId { data, hash });
    Ok(())
}

/// Uses an identifier, which is done once in a process.
fn use_once(call: &mut Call, place: Place<cnclCliqueId>) -> Outcome {
    let Some(identifier) = place.list(1).and_then(|list| list.first().copied()) else {
        return Ok(());
    };
    let is_used = call.collectives.identifiers.get_mut(&identifier.hash);
    match is_used {
        None => Err(invalid("an identifier that nobody told")),
        Some(true) => Err(wrong("an identifier that was used before")),
        Some(is_used) => {
            *is_used = true;
            Ok(())
        }
    }
}

/// Communicators as they are asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) places: Place<cnclComm_t>,
    pub(crate) count: i32,
    pub(crate) devices: Place<i32>,
    pub(crate) ranks: Place<i32>,
    pub(crate) world: i32,
    pub(crate) identifier: Place<cnclCliqueId>,
}

/// Makes the communicators of a process.
pub(crate) fn init(call: &mut Call, wanted: &Wanted) -> Outcome {
    let count = u64::try_from(wanted.count).unwrap_or(0);
    if count == 0 {
        return Err(invalid(format!("{} communicators", wanted.count)));
    }
    let numbers = |place: Place<i32>| {
        place
            .some(CNCL_NULL)
            .map(|some| some.list(count).unwrap_or_default())
    };
    let (devices, ranks) = (numbers(wanted.devices)?, numbers(wanted.ranks)?);
    let places = wanted.places.some(CNCL_NULL)?;
    if wanted.count != wanted.world {
        let text = format!(
            "{count} of {} ranks: those of other processes are not emulated",
            wanted.world
        );
        return Err(Failure::violation("E-UNIMPL", CNCL_UNSUPPORTED, text));
    }
    let mut sorted = ranks.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..wanted.count) {
        return Err(wrong(format!("ranks {ranks:?}, want each of {count} once")));
    }
    let is_there = |device: &i32| (0..call.devices.len() as i32).contains(device);
    if let Some(device) = devices.iter().find(|device| !is_there(device)) {
        return Err(invalid(format!(
            "device {device} of {}",
            call.devices.len()
        )));
    }
    let mut sorted = devices.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != devices.len() {
        return Err(wrong(format!("devices {devices:?}: two ranks on one")));
    }
    use_once(call, wanted.identifier)?;
    let clique = call.collectives.cliques.len() as u64 + 1;
    let made: Vec<_> = devices
        .iter()
        .map(|_| call.handles.make(Kind::Communicator))
        .collect();
    for ((handle, device), rank) in made.iter().zip(devices).zip(ranks) {
        let (rank, device) = (rank as usize, device as usize);
        let one = Communicator {
            clique,
            rank,
            device,
        };
        call.collectives.communicators.insert(*handle, one);
    }
    let handles: Vec<_> = made
        .iter()
        .map(|handle| cnclComm_t(handle.pointer()))
        .collect();
    places.put_all(&handles);
    let new = Clique {
        ranks: Ranks::new(made.len()),
        alive: made,
        callers: Vec::new(),
    };
    call.collectives.cliques.insert(clique, new);
    Ok(())
}

fn known(call: &Call, communicator: Pointer) -> Outcome<(Handle, Communicator)> {
    let handle = communicator.handle();
    match call.collectives.communicators.get(&handle) {
        Some(found) => Ok((handle, *found)),
        None if handle.is(Kind::Communicator) => Err(wrong("the communicator is gone")),
        None => Err(invalid("no communicator was ever made with this handle")),
    }
}

/// Whether a rank has queued what has not run.
fn is_pending(call: &Call, clique: u64) -> bool {
    let mut pending = call.work.pending();
    pending.any(|(_, work)| match &work.task {
        Task::Bring(part) | Task::Take(part) => part.clique == clique,
        Task::Copy(_) | Task::Fill(_) | Task::Operator(_) => false,
    })
}

/// Destroys communicators: all of a clique, because one alone may wait for the others.
pub(crate) fn destroy(call: &mut Call, communicators: &[Pointer]) -> Outcome {
    let mut handles = Vec::with_capacity(communicators.len());
    for communicator in communicators {
        handles.push(known(call, *communicator)?);
    }
    for (_, of) in &handles {
        let alive = &call.collectives.cliques[&of.clique].alive;
        let is_alone = |one: &&Handle| handles.iter().all(|(handle, _)| handle != *one);
        if let Some(other) = alive.iter().find(is_alone) {
            let other = call.collectives.communicators[other].rank;
            let text = format!(
                "rank {} is destroyed, and rank {other} of its clique is not",
                of.rank
            );
            return Err(wrong(text));
        }
    }
    for (handle, of) in handles {
        if is_pending(call, of.clique) {
            call.violation("E-DESTROY", "a communicator whose calls have not run");
        }
        call.collectives.take(handle);
    }
    Ok(())
}

/// Ends a communicator and what its clique waits for: queues that do fail.
pub(crate) fn abort(call: &mut Call, communicator: Pointer) -> Outcome {
    let (handle, of) = known(call, communicator)?;
    call.collectives.take(handle);
    let clique = call.collectives.cliques.get_mut(&of.clique);
    let (queues, points) = clique.expect("a clique stays").ranks.abort();
    for queue in queues {
        if let Some(queue) = call.queues.get_mut(&Handle(queue.0)) {
            queue.has_failed = true;
        }
    }
    for point in points {
        call.work.reach(point);
    }
    Ok(())
}

/// A collective as it was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) from: Pointer,
    pub(crate) to: Pointer,
    pub(crate) count: usize,
    pub(crate) dtype: cnclDataType_t,
    pub(crate) reduce: Option<cnclReduceOp_t>,
    pub(crate) communicator: Pointer,
    pub(crate) queue: Pointer,
}

/// The name of a type, and the bytes of a number.
fn width(dtype: cnclDataType_t) -> Outcome<(&'static str, usize)> {
    let bytes = match dtype {
        cnclDataType_t::cnclInt8 | cnclDataType_t::cnclUint8 => 1,
        cnclDataType_t::cnclFloat16 | cnclDataType_t::cnclBfloat16 => 2,
        cnclDataType_t::cnclFloat32 | cnclDataType_t::cnclInt32 => 4,
        cnclDataType_t::cnclInt64 => 8,
        _ => return Err(invalid(format!("numbers of type {:#x}", dtype.0))),
    };
    Ok((dtype.name().unwrap_or("numbers"), bytes))
}

fn reduction(op: cnclReduceOp_t, dtype: cnclDataType_t) -> Outcome<Reduce> {
    if dtype != cnclDataType_t::cnclFloat32 {
        let text = "only 32-bit floats are reduced here";
        return Err(Failure::violation("E-UNIMPL", CNCL_UNSUPPORTED, text));
    }
    Ok(match op {
        cnclReduceOp_t::cnclSum => Reduce::Sum,
        cnclReduceOp_t::cnclProd => Reduce::Product,
        cnclReduceOp_t::cnclMax => Reduce::Max,
        cnclReduceOp_t::cnclMin => Reduce::Min,
        _ => return Err(invalid(format!("reduction {}", op.0))),
    })
}

/// Looks at the memory of one side. What was freed is left to the task to find, as on a device.
fn side(call: &Call, pointer: Pointer, bytes: usize, what: &str) -> Outcome<u64> {
    let (here, address) = (call.device(), pointer.address());
    let (check, why) = match call.owner(address) {
        Owner::Device(device) if device == here => {
            match call.devices[here].locate(address, bytes) {
                Ok(_) | Err(emulator_support::Misuse::Freed(_)) => return Ok(address),
                Err(misuse) => (check_of(misuse), misuse.to_string()),
            }
        }
        Owner::Device(device) => (
            "E-DEV",
            format!("memory of device {device}, the thread has {here}"),
        ),
        Owner::Pinned(_) | Owner::Host => ("E-PTR", "no memory of the device".to_owned()),
    };
    Err(Failure::violation(
        check,
        CNCL_ARGUMENTS,
        format!("{what}: {why}"),
    ))
}

/// Holds the thread that calls against those that call for other ranks: one after the other on one thread they may wait for ever.
fn of_one_thread(call: &mut Call, of: Communicator) -> Outcome {
    let clique = call.collectives.cliques.get_mut(&of.clique);
    let callers = &mut clique.expect("a clique stays").callers;
    let own = host::current().id();
    match callers.iter().find(|(thread, _)| *thread == own) {
        Some((_, rank)) if *rank != of.rank => {
            let text = format!("one thread calls for rank {rank} and for rank {}", of.rank);
            Err(wrong(text))
        }
        Some(_) => Ok(()),
        None => {
            callers.push((own, of.rank));
            Ok(())
        }
    }
}

/// Queues a rank's part of a call of all.
pub(crate) fn queue(call: &mut Call, request: &Request) -> Outcome {
    let Request {
        from,
        to,
        count,
        dtype,
        reduce,
        communicator,
        queue,
    } = *request;
    let (_, of) = known(call, communicator)?;
    if of.device != call.device() {
        let text = format!(
            "a communicator of device {}, the thread has {}",
            of.device,
            call.device()
        );
        return Err(Failure::violation("E-DEV", CNCL_ARGUMENTS, text));
    }
    let queue = call.queue(queue)?;
    call.forbid_on_captured(queue)?;
    of_one_thread(call, of)?;
    let (name, width) = width(dtype)?;
    let reduce = reduce.map(|op| reduction(op, dtype)).transpose()?;
    let sent = count * width;
    if sent == 0 {
        return Err(invalid("a count of 0"));
    }
    let world = call.collectives.cliques[&of.clique].ranks.world();
    let received = if reduce.is_some() { sent } else { world * sent };
    let (from, to) = (
        side(call, from, sent, "what is sent")?,
        side(call, to, received, "what is received")?,
    );
    let ask = Ask {
        call: call.name,
        count: count as u64,
        dtype: name,
        reduce,
    };
    let id = QueueId(queue.0);
    let emulator = &mut **call;
    let clique = emulator.collectives.cliques.get_mut(&of.clique);
    let ranks = &mut clique.expect("a clique stays").ranks;
    let turn = ranks.call(of.rank, ask, &mut emulator.work, id);
    if let Some(text) = &turn.mismatch {
        call.violation(CHECK, text.clone());
    }
    let part = |address, bytes| Part {
        clique: of.clique,
        rank: of.rank,
        number: turn.number,
        device: of.device,
        address,
        bytes,
        reduce,
    };
    call.submit(queue, Task::Bring(part(from, sent)), CNCL_ARGUMENTS)?;
    turn.wait(&mut call.work, id);
    call.submit(queue, Task::Take(part(to, received)), CNCL_ARGUMENTS)
}

impl Part {
    pub(crate) fn range(&self) -> (u64, usize) {
        (self.address, self.bytes)
    }

    /// Brings what the rank has.
    pub(crate) fn bring(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        let memory = &emulator.devices[self.device];
        let place = memory.locate(self.address, self.bytes).map_err(misused)?;
        let region = memory.region(place);
        if let Some(at) = region.first_unknown(0..self.bytes) {
            let text = format!("byte {at} of what is sent was never written");
            return Err(Fault::new("E-POISON", text));
        }
        if let Some(clique) = emulator.collectives.cliques.get_mut(&self.clique) {
            let point = clique.ranks.bring(self.number, self.rank, region.bytes());
            point
                .into_iter()
                .for_each(|point| emulator.work.reach(point));
        }
        Ok(())
    }

    /// Takes what comes of what all have brought.
    pub(crate) fn take(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        let clique = emulator.collectives.cliques.get_mut(&self.clique);
        let brought = clique.expect("a clique stays").ranks.take(self.number);
        let brought = brought.map_err(|text| Fault::new(CHECK, text))?;
        let memory = &mut emulator.devices[self.device];
        let place = memory.locate(self.address, self.bytes).map_err(misused)?;
        let all = joined(self.reduce, self.rank, &brought);
        memory.region_mut(place).write(0, &all);
        Ok(())
    }
}
