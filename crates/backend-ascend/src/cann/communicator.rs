//! What the ranks of a group gather through.

use std::fmt;
use std::ptr::null_mut;
use std::rc::Rc;

use backend_ascend_sys::abi::collectives::Collectives;
use backend_ascend_sys::types::{
    HCCL_ROOT_INFO_BYTES, HcclComm, HcclCommConfig, HcclDataType, HcclResult, HcclRootInfo,
};
use backend_offload::{DType, View};
use deepseek_core::group::Member;
use deepseek_core::{Error, Result};

use super::device::{Device, vendor_text};
use super::pointer;
use super::stream::Stream;
use crate::limits::COLLECTIVE_SECONDS_MAX;
use crate::status;

/// A communicator as one rank has it, which destroys it before its device is reset.
pub(crate) struct Communicator {
    raw: HcclComm,
    device: Rc<Device>,
}

impl fmt::Debug for Communicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Communicator({:?})", self.device)
    }
}

/// The functions, if they are installed.
fn table(device: &Device) -> Result<&Collectives> {
    let table = device.ascend.collectives.as_ref();
    table.map_err(|error| Error::Unsupported {
        device: device.name().to_owned(),
        what: format!("several ranks: {error}"),
    })
}

impl Device {
    /// What a collective returned.
    fn hccl(&self, call: &'static str, result: HcclResult) -> Result<()> {
        if result == HcclResult::HCCL_SUCCESS {
            return Ok(());
        }
        let text = vendor_text(&self.ascend.runtime);
        Err(status::of_collective(call, result, text).of(self.name()))
    }
}

impl Communicator {
    /// Joins a group. The first rank makes what the others find it by; then all of them enter at once, because the vendor's call
    /// waits for all.
    pub(crate) fn join(device: &Rc<Device>, member: &Member) -> Result<Self> {
        let table = table(device)?;
        let is_root = member.rank() == 0;
        let own = is_root.then(|| root_info(device, table)).transpose()?;
        let roots = member.exchange(own)?;
        let root = (*roots[0]).as_ref();
        let root = root.expect("the first rank brings it");
        let config = HcclCommConfig {
            hcclExecTimeOut: COLLECTIVE_SECONDS_MAX,
            ..HcclCommConfig::default()
        };
        let (world, rank) = (member.world() as u32, member.rank() as u32);
        let enter = table.HcclCommInitRootInfoConfig;
        let mut raw = null_mut();
        // SAFETY: what the root made, a configuration that says its own size, and a place for a handle.
        let result = unsafe { enter(world, root, rank, &raw const config, &raw mut raw) };
        device.hccl("HcclCommInitRootInfoConfig", result)?;
        if raw.is_null() {
            return Err(device.fault("HcclCommInitRootInfoConfig: no communicator"));
        }
        Ok(Self {
            raw,
            device: Rc::clone(device),
        })
    }

    /// Queues that the numbers of all ranks come to lie one behind the other.
    pub(crate) fn gather(&self, x: &View, out: &View, stream: &Stream) -> Result<()> {
        let dtype = match x.dtype {
            DType::F32 => HcclDataType::HCCL_DATA_TYPE_FP32,
            DType::Bf16 => HcclDataType::HCCL_DATA_TYPE_BFP16,
            DType::I32 => HcclDataType::HCCL_DATA_TYPE_INT32,
            DType::I8 => HcclDataType::HCCL_DATA_TYPE_INT8,
        };
        let gather = table(&self.device)?.HcclAllGather;
        let (from, to) = (pointer(x.at), pointer(out.at));
        // SAFETY: addresses of the device, which the host never follows; a communicator and a stream of this thread's device, which
        // live.
        let result = unsafe { gather(from, to, x.count() as u64, dtype, self.raw, stream.raw) };
        self.device.hccl("HcclAllGather", result)
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        if let Ok(table) = table(&self.device) {
            // SAFETY: a communicator that lives, and is destroyed once.
            let _ = unsafe { (table.HcclCommDestroy)(self.raw) };
        }
    }
}

/// What other ranks find this one by.
fn root_info(device: &Device, table: &Collectives) -> Result<HcclRootInfo> {
    let mut root = HcclRootInfo {
        internal: [0; HCCL_ROOT_INFO_BYTES as usize],
    };
    // SAFETY: a place of the size that the vendor declares.
    let result = unsafe { (table.HcclGetRootInfo)(&raw mut root) };
    device.hccl("HcclGetRootInfo", result)?;
    Ok(root)
}
