//! Communicators, and what their ranks do together.

use std::ffi::{c_char, c_void};

use backend_ascend_sys::types::{
    HCCL_COMM_CONFIG_MAGIC_WORD, HCCL_COMM_CONFIG_VERSION, HcclCommConfig, HcclDataType,
    HcclReduceOp, HcclResult, HcclRootInfo,
};
use emulator_support::QueueId;
use emulator_support::ranks::{Ask, Missing, Ranks, Reduce, Turn, joined};

use crate::call::Call;
use crate::emulator::Emulator;
use crate::exports::{Place, Pointer};
use crate::failure::{Failure, Fault, Outcome};
use crate::handles::{Handle, Kind};
use crate::memory::Owner;
use crate::work::{Task, misused};

const PARA: i32 = HcclResult::HCCL_E_PARA.0 as i32;
const PTR: i32 = HcclResult::HCCL_E_PTR.0 as i32;
const NOT_SUPPORT: i32 = HcclResult::HCCL_E_NOT_SUPPORT.0 as i32;
const TIMEOUT: i32 = HcclResult::HCCL_E_TIMEOUT.0 as i32;
const RUNTIME: i32 = HcclResult::HCCL_E_RUNTIME.0 as i32;

/// What the information of a root begins with.
const MARK: [u8; 8] = *b"hccl-emu";
/// What a call is found by whose ranks do not fit together.
pub(crate) const MISMATCH: &str = "collective_mismatch";

/// What a root told of, and who has come.
#[derive(Debug)]
pub(crate) struct Root {
    /// By rank, the communicators. None before the first rank has said how many there are.
    joined: Option<Vec<Option<Handle>>>,
    pub(crate) ranks: Ranks,
}

/// A communicator, as one rank has it.
#[derive(Debug)]
pub(crate) struct Communicator {
    pub(crate) context: Handle,
    root: u64,
    rank: usize,
}

/// A rank's part of a call of all.
#[derive(Debug)]
pub(crate) struct Part {
    root: u64,
    rank: usize,
    number: u64,
    device: usize,
    address: u64,
    bytes: usize,
    reduce: Option<Reduce>,
}

impl Emulator {
    /// Ranks that do not come to what others wait for.
    pub(crate) fn missing_ranks(&self) -> Missing {
        let all = self.roots.values();
        all.map(|root| root.ranks.missing()).collect()
    }
}

/// A function that is there and is not emulated.
pub(crate) fn unimplemented(call: &mut Call) -> Outcome {
    let text = format!("{} is not emulated", call.name);
    Err(Failure::violation("not_emulated", NOT_SUPPORT, text))
}

fn mismatch(code: i32, text: impl Into<String>) -> Failure {
    Failure::violation(MISMATCH, code, text)
}

/// What failed in the runtime, as a collective tells it.
fn of_runtime(failure: Failure) -> Failure {
    Failure {
        code: RUNTIME,
        ..failure
    }
}

pub(crate) fn root_info(call: &mut Call, place: Place<HcclRootInfo>) -> Outcome {
    let place = place.some(PTR)?;
    call.context().map_err(of_runtime)?;
    let id = call.roots.len() as u64 + 1;
    let root = Root {
        joined: None,
        ranks: Ranks::new(0),
    };
    call.roots.insert(id, root);
    let mut internal = [0; size_of::<HcclRootInfo>()];
    let bytes = MARK.into_iter().chain(id.to_le_bytes());
    for (to, byte) in internal.iter_mut().zip(bytes) {
        *to = byte as c_char;
    }
    place.put(HcclRootInfo { internal });
    Ok(())
}

/// The root that some information is of.
fn known_root(call: &Call, place: Place<HcclRootInfo>) -> Outcome<u64> {
    let info = place.some(PTR)?.list(1).unwrap_or_default();
    let bytes = info[0].internal.map(|byte| byte as u8);
    let (mark, id) = (&bytes[..8], &bytes[8..16]);
    let id = u64::from_le_bytes(id.try_into().expect("eight bytes"));
    if *mark != MARK || !call.roots.contains_key(&id) {
        return Err(Failure::new(PARA, "no root told this"));
    }
    Ok(id)
}

/// Holds the beginning of a configuration against what the vendor's inline function sets.
fn check_config(place: Place<HcclCommConfig>) -> Outcome {
    let config = place.some(PTR)?.list(1).unwrap_or_default();
    let bytes = config[0].reserved.map(|byte| byte as u8);
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let size = u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes"));
    for (what, got, want) in [
        ("size", size, size_of::<HcclCommConfig>() as u64),
        ("magic", word(8).into(), HCCL_COMM_CONFIG_MAGIC_WORD.into()),
        ("version", word(12).into(), HCCL_COMM_CONFIG_VERSION.into()),
    ] {
        if got != want {
            let text = format!("the configuration's {what} is {got:#x}, want {want:#x}");
            return Err(Failure::new(PARA, text));
        }
    }
    Ok(())
}

/// Joins a communicator with a configuration.
pub(crate) fn init_with(
    call: &mut Call,
    (count, root, rank): (u32, Place<HcclRootInfo>, u32),
    config: Place<HcclCommConfig>,
    place: Place<*mut c_void>,
) -> Outcome {
    check_config(config)?;
    init(call, (count, root, rank), place)
}

/// Joins a communicator: waits for all of its ranks.
pub(crate) fn init(
    call: &mut Call,
    (count, root, rank): (u32, Place<HcclRootInfo>, u32),
    place: Place<*mut c_void>,
) -> Outcome {
    let place = place.some(PTR)?;
    let context = call.context().map_err(of_runtime)?;
    let id = known_root(call, root)?;
    let (count, rank) = (count as usize, rank as usize);
    if rank >= count {
        return Err(Failure::new(PARA, format!("rank {rank} of {count}")));
    }
    let device = call.contexts[&context].device;
    let joined = call.roots[&id].joined.clone();
    let joined = joined.unwrap_or_else(|| vec![None; count]);
    if joined.len() != count {
        let text = format!("rank {rank} of {count}, others are of {}", joined.len());
        return Err(mismatch(PARA, text));
    }
    if joined[rank].is_some() {
        let text =
            format!("rank {rank} has joined before, or the root's information is used twice");
        return Err(mismatch(PARA, text));
    }
    let others = joined
        .iter()
        .flatten()
        .filter_map(|other| call.communicators.get(other));
    let mut devices = others.map(|other| call.contexts[&other.context].device);
    if devices.any(|other| other == device) {
        let text = format!("rank {rank} is on device {device}, as another rank is");
        return Err(mismatch(PARA, text));
    }
    drop(devices);
    let handle = call.handles.make(Kind::Communicator);
    let made = Communicator {
        context,
        root: id,
        rank,
    };
    call.communicators.insert(handle, made);
    let root = call.roots.get_mut(&id).expect("it was just found");
    if root.joined.is_none() {
        root.ranks = Ranks::new(count);
    }
    let joined = root.joined.get_or_insert(joined);
    joined[rank] = Some(handle);
    let have_all_come = |emulator: &Emulator| {
        let joined = emulator
            .roots
            .get(&id)
            .and_then(|root| root.joined.as_ref());
        joined.is_none_or(|joined| joined.iter().all(Option::is_some))
    };
    if !call.wait_until(have_all_come) {
        call.communicators.remove(&handle);
        let joined = call.roots[&id].joined.iter().flatten().enumerate();
        let absent = joined.filter(|(_, one)| one.is_none());
        let absent: Vec<_> = absent.map(|(rank, _)| rank.to_string()).collect();
        let text = format!(
            "rank {rank} of {count} has come, and rank {} has not",
            absent.join(", ")
        );
        return Err(mismatch(TIMEOUT, text));
    }
    place.put(handle.pointer());
    Ok(())
}

/// A communicator of this thread's context.
fn known(call: &Call, communicator: Pointer) -> Outcome<Handle> {
    let handle = communicator.handle();
    let context = call.bound().map_err(of_runtime)?;
    match call.communicators.get(&handle) {
        None if handle.is(Kind::Communicator) => Err(Failure::violation(
            "dead_object",
            PARA,
            "the communicator was destroyed",
        )),
        None => Err(Failure::new(
            PARA,
            "no communicator was ever made with this handle",
        )),
        Some(found) if found.context != context => {
            let text = "the communicator is of another context than this thread's";
            Err(Failure::new(PARA, text))
        }
        Some(_) => Ok(handle),
    }
}

/// Ends what a rank has of a communicator, once what it had queued has run.
pub(crate) fn destroy(call: &mut Call, communicator: Pointer) -> Outcome {
    let handle = known(call, communicator)?;
    let Communicator { root, rank, .. } = call.communicators[&handle];
    let mut pending = call.queues.pending();
    let is_pending = pending.any(|(_, work)| match &work.task {
        Task::Bring(part) | Task::Take(part) => (part.root, part.rank) == (root, rank),
        _ => false,
    });
    drop(pending);
    if is_pending {
        call.violation(
            "destroyed_in_flight",
            "a communicator whose calls have not run",
        );
    }
    call.communicators.remove(&handle);
    Ok(())
}

/// A collective as it was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) from: Pointer,
    pub(crate) to: Pointer,
    pub(crate) count: u64,
    pub(crate) dtype: HcclDataType,
    pub(crate) reduce: Option<HcclReduceOp>,
    pub(crate) communicator: Pointer,
    pub(crate) stream: Pointer,
}

/// Bytes of a number.
fn width(dtype: HcclDataType) -> Outcome<usize> {
    Ok(match dtype {
        HcclDataType::HCCL_DATA_TYPE_INT8 | HcclDataType::HCCL_DATA_TYPE_UINT8 => 1,
        HcclDataType::HCCL_DATA_TYPE_FP16 | HcclDataType::HCCL_DATA_TYPE_BFP16 => 2,
        HcclDataType::HCCL_DATA_TYPE_FP32 | HcclDataType::HCCL_DATA_TYPE_INT32 => 4,
        HcclDataType::HCCL_DATA_TYPE_INT64 => 8,
        _ => {
            return Err(Failure::new(
                NOT_SUPPORT,
                format!("numbers of type {}", dtype.0),
            ));
        }
    })
}

fn reduction(op: HcclReduceOp, dtype: HcclDataType) -> Outcome<Reduce> {
    if dtype != HcclDataType::HCCL_DATA_TYPE_FP32 {
        let text = "only 32-bit floats are reduced here";
        return Err(Failure::new(NOT_SUPPORT, text));
    }
    Ok(match op {
        HcclReduceOp::HCCL_REDUCE_SUM => Reduce::Sum,
        HcclReduceOp::HCCL_REDUCE_PROD => Reduce::Product,
        HcclReduceOp::HCCL_REDUCE_MAX => Reduce::Max,
        HcclReduceOp::HCCL_REDUCE_MIN => Reduce::Min,
        _ => return Err(Failure::new(PARA, format!("reduction {}", op.0))),
    })
}

/// Looks at the memory of one side. What was freed is left to the task to find, as on a device.
fn side(call: &Call, pointer: Pointer, bytes: usize, what: &str) -> Outcome<u64> {
    let here = call.device().map_err(of_runtime)?;
    let address = pointer.address();
    match call.owner(address) {
        Owner::Device(device) if device == here => {}
        Owner::Device(device) => {
            let text = format!("{what}: memory of device {device}, the thread is bound to {here}");
            return Err(Failure::new(PARA, text));
        }
        Owner::Pinned(_) | Owner::Host => {
            let text = format!("{what}: no memory of the device");
            return Err(Failure::new(PARA, text));
        }
    }
    match call.devices[here].memory.locate(address, bytes) {
        Ok(_) | Err(emulator_support::Misuse::Freed(_)) => Ok(address),
        Err(misuse) => Err(Failure::new(PARA, format!("{what}: {misuse}"))),
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
        stream,
    } = *request;
    let handle = known(call, communicator)?;
    let stream = call.stream(stream).map_err(of_runtime)?;
    call.forbid_on_captured(stream, NOT_SUPPORT)?;
    let reduce = reduce.map(|op| reduction(op, dtype)).transpose()?;
    let sent = count as usize * width(dtype)?;
    if sent == 0 {
        return Err(Failure::new(PARA, "a count of 0"));
    }
    let Communicator { root, rank, .. } = call.communicators[&handle];
    let world = call.roots[&root].ranks.world();
    let received = if reduce.is_some() { sent } else { world * sent };
    let (from, to) = (
        side(call, from, sent, "what is sent")?,
        side(call, to, received, "what is received")?,
    );
    let ask = Ask {
        call: call.name,
        count,
        dtype: dtype.name().unwrap_or("numbers"),
        reduce,
    };
    let turn = meet(call, root, rank, ask, stream);
    if let Some(text) = &turn.mismatch {
        call.violation(MISMATCH, text.clone());
    }
    let device = call.device().map_err(of_runtime)?;
    let part = |address, bytes| Part {
        root,
        rank,
        number: turn.number,
        device,
        address,
        bytes,
        reduce,
    };
    call.submit(stream, Task::Bring(part(from, sent)))?;
    turn.wait(&mut call.queues, QueueId(stream.0));
    call.submit(stream, Task::Take(part(to, received)))
}

fn meet(call: &mut Call, root: u64, rank: usize, ask: Ask, stream: Handle) -> Turn {
    let emulator = &mut **call;
    let root = emulator
        .roots
        .get_mut(&root)
        .expect("that of a communicator");
    root.ranks
        .call(rank, ask, &mut emulator.queues, QueueId(stream.0))
}

impl Part {
    pub(crate) fn range(&self) -> (u64, usize) {
        (self.address, self.bytes)
    }

    /// Brings what the rank has.
    pub(crate) fn bring(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        let memory = &emulator.devices[self.device].memory;
        let place = memory.locate(self.address, self.bytes).map_err(misused)?;
        let region = memory.region(place);
        if let Some(at) = region.first_unknown(0..self.bytes) {
            let text = format!("byte {at} of what is sent was never written");
            return Err(Fault::new("uninitialised_read", text));
        }
        if let Some(root) = emulator.roots.get_mut(&self.root) {
            let point = root.ranks.bring(self.number, self.rank, region.bytes());
            point
                .into_iter()
                .for_each(|point| emulator.queues.reach(point));
        }
        Ok(())
    }

    /// Takes what comes of what all have brought.
    pub(crate) fn take(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        let root = emulator.roots.get_mut(&self.root);
        let brought = root.expect("a root stays").ranks.take(self.number);
        let brought = brought.map_err(|text| Fault::new(MISMATCH, text))?;
        let memory = &mut emulator.devices[self.device].memory;
        let place = memory.locate(self.address, self.bytes).map_err(misused)?;
        let all = joined(self.reduce, self.rank, &brought);
        memory.region_mut(place).write(0, &all);
        Ok(())
    }
}
