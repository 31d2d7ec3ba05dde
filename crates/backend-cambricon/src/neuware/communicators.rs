//! What the ranks of a group gather through.
//!
//! The communicators of a process are made at once and destroyed at once, as the vendor wants it: one that is freed alone may wait for
//! ever. Each rank calls with its own, on its own thread.

use std::fmt;
use std::mem;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};

use backend_cambricon_sys::abi::collectives;
use backend_cambricon_sys::types::{cnclComm_t, cnclDataType_t};
use backend_cambricon_sys::{Library, Neuware};
use backend_offload::{DType, View};
use deepseek_core::group::Member;
use deepseek_core::{Error, Result};

use super::device::{Device, told};
use super::pointer;
use super::queue::MluQueue;
use crate::status::failure;

/// The functions that are called: all of them are there.
#[derive(Clone, Copy)]
struct Functions {
    init: collectives::cnclInitComms,
    gather: collectives::cnclAllGather,
    abort: collectives::cnclAbortComm,
    destroy: collectives::cnclDestroyComms,
    tell: collectives::cnclGetErrorStr,
}

impl Functions {
    /// Those of a library.
    ///
    /// # Errors
    /// What is not installed.
    fn of(neuware: &Neuware) -> Result<Self, String> {
        let all = neuware.collectives.as_ref();
        let all = all.map_err(|error| error.to_string())?;
        let found = || {
            Some(Self {
                init: all.cnclInitComms?,
                gather: all.cnclAllGather?,
                abort: all.cnclAbortComm?,
                destroy: all.cnclDestroyComms?,
                tell: all.cnclGetErrorStr?,
            })
        };
        found().ok_or_else(|| "a release of CNCL that lacks functions".to_owned())
    }

    /// What a call returned.
    fn check(&self, device: &str, call: &'static str, code: u32) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: a code is all that it takes.
        let text = unsafe { (self.tell)(code) };
        Err(failure(Library::Cncl, call, code, told(text)).of(device))
    }
}

impl Device {
    /// Why it is no rank, where the collectives are not installed.
    pub(crate) fn joins_none(&self) -> Option<String> {
        Functions::of(&self.neuware).err()
    }
}

/// The communicators of all ranks. The last owner destroys them.
struct Clique {
    raw: Vec<cnclComm_t>,
    /// Whether they are gone: nobody says whether those may still be destroyed. None goes while a rank calls with it.
    is_aborted: RwLock<bool>,
    functions: Functions,
    /// What the functions are of.
    _neuware: Arc<Neuware>,
}

// SAFETY: a rank calls with its own communicator alone; only an abort and the end, by the last owner, are of all, and the vendor binds
// neither to a thread.
unsafe impl Send for Clique {}
// SAFETY: the same.
unsafe impl Sync for Clique {}

impl Clique {
    /// Makes the communicators of ranks on these devices.
    fn new(device: &Device, functions: Functions, devices: &[i32]) -> Result<Self> {
        let ranks: Vec<i32> = (0..).take(devices.len()).collect();
        let count = ranks.len() as i32;
        let mut raw = vec![cnclComm_t::NULL; devices.len()];
        let (places, devices) = (raw.as_mut_ptr(), devices.as_ptr());
        // SAFETY: lists of this length. Without an identifier all ranks are of this process.
        let code =
            unsafe { (functions.init)(places, count, devices, ranks.as_ptr(), count, null_mut()) };
        functions.check(device.name(), "cnclInitComms", code)?;
        Ok(Self {
            raw,
            is_aborted: RwLock::new(false),
            functions,
            _neuware: Arc::clone(&device.neuware),
        })
    }

    /// Ends what any rank waits for, for good.
    fn abort(&self) {
        let is_aborted = self.is_aborted.write();
        let mut is_aborted = is_aborted.unwrap_or_else(PoisonError::into_inner);
        if mem::replace(&mut *is_aborted, true) {
            return;
        }
        for communicator in &self.raw {
            // SAFETY: a communicator that lives, and is aborted once.
            let _ = unsafe { (self.functions.abort)(*communicator) };
        }
    }
}

impl Drop for Clique {
    fn drop(&mut self) {
        let is_aborted = self.is_aborted.get_mut();
        if !*is_aborted.unwrap_or_else(PoisonError::into_inner) {
            let (places, count) = (self.raw.as_mut_ptr(), self.raw.len() as i32);
            // SAFETY: communicators that live, all of a clique, which are destroyed once.
            let _ = unsafe { (self.functions.destroy)(places, count) };
        }
    }
}

/// A communicator as one rank has it.
pub(crate) struct Communicator {
    clique: Arc<Clique>,
    rank: usize,
    device: Rc<Device>,
}

impl fmt::Debug for Communicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Communicator({:?})", self.device)
    }
}

impl Communicator {
    /// Joins a group of ranks on these devices. The first one makes the communicators of all.
    pub(crate) fn join(device: &Rc<Device>, member: &Member, devices: &[i32]) -> Result<Self> {
        let functions = Functions::of(&device.neuware).map_err(|why| Error::Unsupported {
            device: device.name().to_owned(),
            what: format!("several ranks: {why}"),
        })?;
        let makes = member.rank() == 0;
        let own = makes.then(|| Clique::new(device, functions, devices).map(Arc::new));
        let all = member.exchange(own.transpose()?)?;
        let clique = (*all[0]).clone();
        Ok(Self {
            clique: clique.expect("the first rank brings it"),
            rank: member.rank(),
            device: Rc::clone(device),
        })
    }

    /// Queues that the numbers of all ranks come to lie one behind the other.
    pub(crate) fn gather(&self, x: &View, out: &View, queue: &MluQueue) -> Result<()> {
        let is_aborted = self.clique.is_aborted.read();
        let is_aborted = is_aborted.unwrap_or_else(PoisonError::into_inner);
        if *is_aborted {
            return Err(Error::Lost {
                device: self.device.name().to_owned(),
                why: "what its ranks gather through was given up".to_owned(),
            });
        }
        let dtype = match x.dtype {
            DType::F32 => cnclDataType_t::cnclFloat32,
            DType::Bf16 => cnclDataType_t::cnclBfloat16,
            DType::I32 => cnclDataType_t::cnclInt32,
            DType::I8 => cnclDataType_t::cnclInt8,
        };
        let functions = &self.clique.functions;
        let (from, to) = (pointer(x.at).cast_const(), pointer(out.at));
        let communicator = self.clique.raw[self.rank];
        // SAFETY: addresses of the device, which the host never follows; a communicator of this rank and a queue of this thread's
        // device, which live.
        let code =
            unsafe { (functions.gather)(from, to, x.count(), dtype, communicator, queue.raw) };
        functions.check(self.device.name(), "cnclAllGather", code)
    }

    /// Ends what other ranks wait for.
    pub(crate) fn abandon(&self) {
        self.clique.abort();
    }
}
