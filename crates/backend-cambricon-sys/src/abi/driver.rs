//! CNDRV: what the runtime does not tell of a device, and kernels of one's own.

use std::ffi::{c_char, c_void};

use crate::table::abi_table;
use crate::types::{CNcontext, CNdev, CNkernel, CNmodule, CNqueue, CNresult, KernelClass};

abi_table! {
    /// Names of devices, and modules of kernels.
    pub struct Driver: Cndrv;

    #[second]
    fn cnInit(flags: u32) -> CNresult;
    #[second]
    fn cnGetLibVersion(major: *mut i32, minor: *mut i32, patch: *mut i32) -> CNresult;
    #[second]
    fn cnDriverGetVersion(major: *mut i32, minor: *mut i32, patch: *mut i32) -> CNresult;
    #[second]
    fn cnDeviceGet(pdev: *mut CNdev, ordinal: i32) -> CNresult;
    #[second]
    fn cnDeviceGetName(name: *mut c_char, len: u32, dev: CNdev) -> CNresult;
    #[second]
    fn cnDeviceTotalMem(pbytes: *mut u64, dev: CNdev) -> CNresult;
    #[third]
    fn cnCtxGetCurrent(pcontext: *mut CNcontext) -> CNresult;
    #[third]
    fn cnModuleLoad(fname: *const c_char, phmod: *mut CNmodule) -> CNresult;
    #[third]
    fn cnModuleLoadFatBinary(fatBin: *const c_void, phmod: *mut CNmodule) -> CNresult;
    #[third]
    fn cnModuleGetKernel(hmod: CNmodule, name: *const c_char, phkernel: *mut CNkernel) -> CNresult;
    #[third]
    fn cnModuleUnload(hmod: CNmodule) -> CNresult;
    #[third]
    fn cnInvokeKernel(
        hkernel: CNkernel, dimx: u32, dimy: u32, dimz: u32, c: KernelClass, reserve: u32,
        hqueue: CNqueue, kernelParams: *mut *mut c_void, extra: *mut *mut c_void,
    ) -> CNresult;
    #[second]
    fn cnGetErrorName(error: CNresult, pStr: *mut *const c_char) -> CNresult;
    #[second]
    fn cnGetErrorString(error: CNresult, pStr: *mut *const c_char) -> CNresult;
}
