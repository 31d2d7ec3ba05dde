//! Planned operators: one launch each, unless they were made repeatable.

use std::fmt;
use std::thread::ThreadId;

use backend_ascend_sys::types::aclOpExecutor;
use emulator_support::QueueId;

use crate::array::Array;
use crate::call::Call;
use crate::codes;
use crate::emulator::Emulator;
use crate::exports::{Place, Pointer};
use crate::failure::{Failure, Fault, Outcome};
use crate::handles::{Handle, Kind};
use crate::memory::Owner;
use crate::objects::dead;
use crate::planner::{Kernel, Operand, Planner, Role};
use crate::work::{Task, misused};

/// An operator that was planned.
pub(crate) struct Executor {
    operator: &'static str,
    operands: Vec<Operand>,
    uses: Vec<Handle>,
    workspace: usize,
    kernel: Kernel,
    thread: ThreadId,
    is_repeatable: bool,
}

/// An operator in its stream.
#[derive(Clone)]
pub(crate) struct Launch {
    operator: &'static str,
    operands: Vec<Operand>,
    kernel: Kernel,
    device: usize,
    /// Address and bytes; nothing if it wants none.
    workspace: Option<(u64, usize)>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, planned", self.operator)
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, launched", self.operator)
    }
}

impl Executor {
    pub(crate) fn name(&self) -> String {
        format!("an executor of {}", self.operator)
    }
}

/// Checks the operands of an operator and makes an executor.
pub(crate) fn plan(
    call: &mut Call,
    operator: &'static str,
    size: Place<u64>,
    place: Place<*mut aclOpExecutor>,
    contract: impl FnOnce(&mut Planner<'_>) -> Outcome<Kernel>,
) -> Outcome {
    call.context()?;
    let size = size.some(codes::NULLPTR)?;
    let place = place.some(codes::NULLPTR)?;
    let mut planner = Planner::new(call, operator);
    let kernel = contract(&mut planner)?;
    let executor = Executor {
        operator,
        operands: planner.operands,
        uses: planner.uses,
        workspace: planner.workspace,
        kernel,
        thread: std::thread::current().id(),
        is_repeatable: false,
    };
    size.put(executor.workspace as u64);
    let handle = call.handles.make(Kind::Executor);
    call.executors.insert(handle, executor);
    place.put(handle.pointer());
    Ok(())
}

fn violation(kind: &'static str, code: i32, text: impl Into<String>) -> Failure {
    Failure::violation(kind, code, text)
}

/// An executor that lives.
fn known(call: &mut Call, handle: Handle) -> Outcome<&mut Executor> {
    if !call.executors.contains_key(&handle) {
        return Err(if handle.is(Kind::Executor) {
            let text = "the executor was launched, or destroyed";
            violation("executor_reused", codes::INNER, text)
        } else {
            dead(handle, Kind::Executor)
        });
    }
    Ok(call.executors.get_mut(&handle).expect("it was just found"))
}

/// Queues a planned operator.
pub(crate) fn launch(
    call: &mut Call,
    operator: &'static str,
    (workspace, size): (Pointer, u64),
    handle: Handle,
    stream: Pointer,
) -> Outcome {
    let stream = call.stream(stream)?;
    let device = call.device()?;
    let executor = known(call, handle)?;
    if executor.operator != operator {
        let text = format!("an executor of {}", executor.operator);
        return Err(violation("executor_mismatch", codes::INNER, text));
    }
    if executor.thread != std::thread::current().id() {
        let text = "an executor that another thread planned";
        return Err(violation("executor_thread", codes::INNER, text));
    }
    let (uses, want) = (executor.uses.clone(), executor.workspace);
    let (operands, kernel) = (executor.operands.clone(), executor.kernel.clone());
    let is_repeatable = executor.is_repeatable;
    if let Some(gone) = uses
        .iter()
        .find(|object| !call.objects.contains_key(object))
    {
        let text = format!("{gone:?}, which the plan uses, was destroyed before the launch");
        return Err(violation("operand_destroyed", codes::INNER, text));
    }
    aliases(&operands)?;
    let workspace = check_workspace(call, (workspace, size), want, (device, stream))?;
    if !is_repeatable {
        call.executors.remove(&handle);
    }
    let launch = Launch {
        operator,
        operands,
        kernel,
        device,
        workspace,
    };
    call.submit(stream, Task::Operator(launch))
}

fn check_workspace(
    call: &Call,
    (pointer, size): (Pointer, u64),
    want: usize,
    (device, stream): (usize, Handle),
) -> Outcome<Option<(u64, usize)>> {
    if want == 0 {
        return Ok(None);
    }
    let refuse = |text: String| Err(violation("workspace", codes::PARAM_INVALID, text));
    let (start, size) = (pointer.address(), size as usize);
    if size < want {
        return refuse(format!("{size} bytes of workspace, {want} were asked for"));
    }
    if call.owner(start) != Owner::Device(device) {
        return refuse(format!(
            "workspace at {start:#x}, which is not of device {device}"
        ));
    }
    if let Err(misuse) = call.devices[device].memory.locate(start, size) {
        return refuse(format!("workspace: {misuse}"));
    }
    let mut others = call.queues.pending_beside(QueueId(stream.0));
    let shared = others.find(|work| {
        let Task::Operator(launch) = &work.task else {
            return false;
        };
        launch
            .workspace
            .is_some_and(|(at, bytes)| at < start + size as u64 && start < at + bytes as u64)
    });
    match shared {
        Some(work) => refuse(format!(
            "workspace that {} has on another stream",
            work.call
        )),
        None => Ok(Some((start, size))),
    }
}

/// An output shares no byte with another operand.
fn aliases(operands: &[Operand]) -> Outcome {
    let writes = |operand: &Operand| matches!(operand.role, Role::Output | Role::Reference);
    for (index, output) in operands
        .iter()
        .enumerate()
        .filter(|(_, operand)| writes(operand))
    {
        for (other, operand) in operands.iter().enumerate() {
            let seen = other == index || writes(operand) && other < index;
            if !seen && output.tensor.overlaps(&operand.tensor) {
                let text = format!("{} lies on {}", output.name, operand.name);
                return Err(violation("aliasing", codes::PARAM_INVALID, text));
            }
        }
    }
    Ok(())
}

impl Launch {
    /// The memory that it uses.
    pub(crate) fn ranges(&self) -> Vec<(u64, usize)> {
        let operands = self.operands.iter();
        let operands =
            operands.map(|operand| (operand.tensor.data.address(), operand.tensor.bytes()));
        operands.chain(self.workspace).collect()
    }

    /// Reads the operands, computes, writes the outputs. The workspace holds garbage from the beginning.
    pub(crate) fn run(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        let memory = &mut emulator.devices[self.device].memory;
        if let Some((start, bytes)) = self.workspace {
            let place = memory.locate(start, bytes).map_err(misused)?;
            memory.region_mut(place).forget(0..bytes);
        }
        let named = |operand: &Operand, fault: Fault| {
            Fault::new(fault.kind, format!("{}: {}", operand.name, fault.text))
        };
        let mut arrays = Vec::with_capacity(self.operands.len());
        for operand in self.operands.iter() {
            if operand.role == Role::Output {
                arrays.push(Array::ints(&[0], Vec::new()));
                continue;
            }
            let array = operand
                .tensor
                .load(memory)
                .map_err(|fault| named(operand, fault))?;
            if operand.role == Role::Input
                && let Some(at) = array.first_unknown()
            {
                let text = format!("{}: element {at} was never written", operand.name);
                return Err(Fault::new("uninitialised_read", text));
            }
            arrays.push(array);
        }
        for operand in self
            .operands
            .iter()
            .filter(|operand| operand.role == Role::Output)
        {
            operand
                .tensor
                .forget(memory)
                .map_err(|fault| named(operand, fault))?;
        }
        let mut results = (self.kernel)(&arrays)?.into_iter();
        for operand in self.operands.iter() {
            if matches!(operand.role, Role::Output | Role::Reference) {
                let result = results.next().expect("a result for each output");
                operand
                    .tensor
                    .store(memory, &result)
                    .map_err(|fault| named(operand, fault))?;
            }
        }
        Ok(())
    }
}

/// Lets an executor be launched again and again.
pub(crate) fn set_repeatable(call: &mut Call, handle: Handle) -> Outcome {
    known(call, handle)?.is_repeatable = true;
    Ok(())
}

/// Destroys a repeatable executor. Others go with their launch.
pub(crate) fn destroy(call: &mut Call, handle: Handle) -> Outcome {
    if !known(call, handle)?.is_repeatable {
        let text = "an executor that is not repeatable goes with its launch";
        return Err(violation("executor_destroyed", codes::INNER, text));
    }
    call.executors.remove(&handle);
    Ok(())
}

/// Which operands an index counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Among {
    All,
    Inputs,
    Outputs,
}

/// Gives the operand of a repeatable executor another address.
pub(crate) fn set_address(
    call: &mut Call,
    handle: Handle,
    (among, index): (Among, usize),
    tensor: Handle,
    address: Pointer,
) -> Outcome {
    let executor = known(call, handle)?;
    if !executor.is_repeatable {
        let text = "the executor is not repeatable";
        return Err(Failure::new(codes::INNER, text));
    }
    let mut operands = executor.operands.iter_mut().filter(|operand| match among {
        Among::All => true,
        Among::Inputs => operand.role != Role::Output,
        Among::Outputs => matches!(operand.role, Role::Output | Role::Reference),
    });
    let operand = operands
        .nth(index)
        .filter(|operand| operand.handle == tensor);
    let operand = operand.ok_or_else(|| {
        let text = format!("operand {index} is another tensor, or there is none");
        Failure::new(codes::PARAM_INVALID, text)
    })?;
    operand.tensor.data = address;
    Ok(())
}
