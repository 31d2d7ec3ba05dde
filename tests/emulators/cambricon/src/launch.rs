//! An operator on its way: from its handle to its turn in a queue.

use std::fmt;

use backend_cambricon_sys::types::cnnlHandle_t;
use emulator_support::argument::{Place, Pointer};
use emulator_support::failure::{Failure, Fault, Outcome};

use crate::array::Array;
use crate::call::Call;
use crate::codes::{
    CNNL_BAD_PARAM, CNNL_EXECUTION_FAILED, CNNL_NOT_INITIALIZED, CNNL_NOT_SUPPORTED,
};
use crate::emulator::{Emulator, Operators};
use crate::handles::{Handle, Kind};
use crate::planner::{Kernel, Operand, Planner, Role, refuse, workspace_bytes};
use crate::work::{Ranges, Task, misused};

/// An operator in its queue.
#[derive(Clone)]
pub(crate) struct Launch {
    device: usize,
    operands: Vec<Operand>,
    kernel: Kernel,
    workspace: Option<(u64, usize)>,
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.operands)
    }
}

fn handle_failure(text: impl Into<String>) -> Failure {
    Failure::violation("E-HANDLE", CNNL_NOT_INITIALIZED, text)
}

pub(crate) fn create(call: &mut Call, place: Place<cnnlHandle_t>) -> Outcome {
    let place = place.some(CNNL_BAD_PARAM)?;
    let handle = call.handles.make(Kind::Operators);
    let new = Operators {
        device: call.device(),
        queue: None,
        thread: std::thread::current().id(),
    };
    call.operators.insert(handle, new);
    place.put(cnnlHandle_t(handle.pointer()));
    Ok(())
}

/// A handle that lives, used on the thread and with the device that it was made with.
fn known(call: &Call, handle: Handle) -> Outcome<&Operators> {
    let found = call.operators.get(&handle);
    let found =
        found.ok_or_else(|| handle_failure("a handle that was destroyed, or never made"))?;
    if found.thread != std::thread::current().id() {
        return Err(handle_failure("a handle of another thread"));
    }
    if found.device != call.device() {
        let text = format!(
            "a handle of device {}, the thread has {}",
            found.device,
            call.device()
        );
        return Err(Failure::violation("E-DEV", CNNL_BAD_PARAM, text));
    }
    Ok(found)
}

pub(crate) fn destroy(call: &mut Call, handle: Handle) -> Outcome {
    let queue = known(call, handle)?.queue;
    if queue.is_some_and(|queue| call.is_pending(queue)) {
        call.violation(
            "E-HANDLE",
            "a handle that is destroyed while its queue holds work",
        );
    }
    call.operators.remove(&handle);
    Ok(())
}

pub(crate) fn set_queue(call: &mut Call, handle: Handle, queue: Pointer) -> Outcome {
    known(call, handle)?;
    let queue = call.queue(queue)?;
    call.operators
        .get_mut(&handle)
        .expect("it was just found")
        .queue = Some(queue);
    Ok(())
}

/// Sums may be taken in any order, or not: here they never are.
pub(crate) fn set_atomics(call: &mut Call, handle: Handle, mode: u32) -> Outcome {
    known(call, handle)?;
    if ![1, 2].contains(&mode) {
        return Err(Failure::new(CNNL_BAD_PARAM, format!("mode {mode}")));
    }
    Ok(())
}

/// Tells how much workspace an operator wants for operands of these descriptions, and for other numbers.
pub(crate) fn query(
    call: &mut Call,
    handle: Handle,
    (operator, operands, more): (&str, &[Handle], &[usize]),
    size: Place<usize>,
) -> Outcome {
    let device = known(call, handle)?.device;
    let planner = Planner {
        call,
        device,
        operands: Vec::new(),
        workspace: None,
    };
    let tensors = operands
        .iter()
        .map(|operand| planner.tensor(operator, *operand));
    let tensors = tensors.collect::<Outcome<Vec<_>>>()?;
    let shapes = tensors.iter().map(|tensor| &tensor.dims[..]).chain([more]);
    let want = workspace_bytes(operator, &shapes.collect::<Vec<_>>());
    size.some(CNNL_BAD_PARAM)?.put(want);
    Ok(())
}

/// Looks at an operator's operands and queues it.
pub(crate) fn operate(
    call: &mut Call,
    handle: Handle,
    contract: impl FnOnce(&mut Planner<'_>) -> Outcome<Kernel>,
) -> Outcome {
    let &Operators { device, queue, .. } = known(call, handle)?;
    let queue = queue.ok_or_else(|| handle_failure("a handle without a queue"))?;
    let mut planner = Planner {
        call,
        device,
        operands: Vec::new(),
        workspace: None,
    };
    let kernel = contract(&mut planner)?;
    let Planner {
        operands,
        workspace,
        ..
    } = planner;
    aliases(&operands, workspace)?;
    let launch = Launch {
        device,
        operands,
        kernel,
        workspace,
    };
    call.submit(queue, Task::Operator(launch), CNNL_EXECUTION_FAILED)
}

/// An output shares no byte with another operand, nor the workspace with any. What is written in part may be read as
/// itself: `reference` and an input that is exactly it.
fn aliases(operands: &[Operand], workspace: Option<(u64, usize)>) -> Outcome {
    let meet = |a: (u64, usize), b: (u64, usize)| a.0 < b.0 + b.1 as u64 && b.0 < a.0 + a.1 as u64;
    for (index, output) in operands.iter().enumerate() {
        if workspace.is_some_and(|workspace| meet(workspace, output.range())) {
            return Err(refuse(
                "E-WS",
                format!("the workspace lies on {}", output.name),
            ));
        }
        for (other, operand) in operands.iter().enumerate() {
            if output.writes() && other != index && meet(output.range(), operand.range()) {
                let text = format!("{} lies on {}", output.name, operand.name);
                return Err(refuse("E-ALIAS", text));
            }
        }
    }
    Ok(())
}

/// What stands in the table and is not emulated.
pub(crate) fn unimplemented<T>(call: &mut Call) -> Outcome<T> {
    let text = format!("{} is not emulated", call.name);
    Err(Failure::violation("E-UNIMPL", CNNL_NOT_SUPPORTED, text))
}

impl Launch {
    /// The memory that it reads and writes.
    pub(crate) fn ranges(&self) -> (Ranges, Ranges) {
        let of = |writes: bool| {
            let operands = self.operands.iter();
            let operands = operands.filter(move |operand| operand.writes() == writes);
            operands.map(Operand::range)
        };
        let written = of(true).chain(self.workspace);
        (of(false).collect(), written.collect())
    }

    /// Reads the operands, computes, writes the outputs. The workspace holds garbage from the beginning.
    pub(crate) fn run(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        let memory = &mut emulator.devices[self.device];
        if let Some((start, bytes)) = self.workspace {
            let place = memory.locate(start, bytes).map_err(misused)?;
            memory.region_mut(place).forget(0..bytes);
        }
        let mut arrays = Vec::with_capacity(self.operands.len());
        for operand in &self.operands {
            if operand.role == Role::Output {
                arrays.push(Array::ints(&[0], Vec::new()));
                continue;
            }
            let array = operand.tensor.load(memory, operand.at)?;
            if operand.role == Role::Input
                && let Some(at) = array.first_unknown()
            {
                let text = format!("{}: number {at} was never written", operand.name);
                return Err(Fault::new("E-POISON", text));
            }
            arrays.push(array);
        }
        let mut results = (self.kernel)(&arrays)?.into_iter();
        for operand in self.operands.iter().filter(|operand| operand.writes()) {
            let result = results.next().expect("a result for each output");
            operand.tensor.store(memory, operand.at, &result)?;
        }
        Ok(())
    }
}
