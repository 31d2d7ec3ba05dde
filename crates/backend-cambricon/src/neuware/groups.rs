//! Products of runs of rows, each by a matrix of its own, where the release of the operators has them.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::rc::Rc;

use backend_cambricon_sys::types::{
    cnnlGroupGemmAlgo_t, cnnlGroupGemmDescriptor_t, cnnlGroupGemmTensorDescriptor_t as Stack,
    cnnlGroupGemmTensorMode_t, cnnlHandle_t, cnnlMatMulDescAttribute_t, cnnlPointerMode_t,
    cnnlTensorDescriptor_t,
};
use backend_offload::compose::{Operand, Type};
use deepseek_core::Result;

use super::descriptor::{self, Owned, code, host_number};
use super::device::Device;
use super::operators::At;
use super::release_functions;

/// Of what is not given.
const NO_TENSOR: cnnlTensorDescriptor_t = cnnlTensorDescriptor_t::NULL;

release_functions! {
    /// Products of runs.
    Groups of operators::Operators:
    cnnlCreateGroupGemmDescriptor,
    cnnlCreateGroupGemmTensorDescriptor,
    cnnlDestroyGroupGemmDescriptor,
    cnnlDestroyGroupGemmTensorDescriptor,
    cnnlGetGroupGemmWorkspaceSize,
    cnnlGroupGemm,
    cnnlSetGroupGemmDescAttr,
    cnnlSetGroupGemmTensorDescriptor,
}

/// Calls one of them: what it is given is of the types and in the order of the table's entry. Descriptions and numbers of the host live
/// until it returns; addresses are the device's, which the host never follows.
macro_rules! told {
    ($device:ident: $own:ident.$name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: as above.
        let status = unsafe { ($own.$name)($($argument),*) };
        $device.cnnl(stringify!($name), status)
    }};
}

impl Groups {
    /// Multiplies rows `[m, k]` by a stack of matrices `[runs, n, k]`, a run of rows by each: how many rows each has lies on the device.
    /// Rows and results lie one behind the other.
    ///
    /// What all runs share is given as one number of the host, because descriptions of numbers of the host have no dimensions.
    pub(super) fn multiply(
        self,
        (device, handle): (&Rc<Device>, cnnlHandle_t),
        operands: [(&Operand, &At); 3],
        rows: &At,
        room: impl FnOnce(usize) -> Result<*mut c_void>,
    ) -> Result<()> {
        let [(x, _), (weight, _), _] = operands;
        let [runs, n, k] = [weight.dims[0], weight.dims[1], weight.dims[2]];
        let product = self.product(device, [x.dims[0], n, k])?;
        let [a, b, d] = operands.map(|(operand, at)| self.stack(device, operand, at));
        let (a, b, d) = (a?, b?, d?);
        let number = host_number(device, Type::I32)?;
        let (shared, n, k) = (number.raw(), n as i32, k as i32);
        let (n, k): (*const c_void, *const c_void) = ((&raw const n).cast(), (&raw const k).cast());
        let (none, algo) = (Stack::NULL, cnnlGroupGemmAlgo_t::NULL);
        let (product, runs, mut bytes) = (product.raw(), runs as i32, 0);
        let [a, b, d] = [&a, &b, &d].map(Owned::raw);
        told!(
            device: self.cnnlGetGroupGemmWorkspaceSize(
                handle, product, algo, runs, false, true, rows.desc(), shared, shared, NO_TENSOR, shared, a,
                shared, b, NO_TENSOR, NO_TENSOR, none, shared, d, &raw mut bytes,
            )
        )?;
        let room = room(bytes)?;
        told! {
            device: self.cnnlGroupGemm(
                handle, product, algo, runs, false, true, rows.desc(), rows.read(), shared, n, shared, k,
                NO_TENSOR, null(), shared, k, a, shared, k, b, NO_TENSOR, null(), NO_TENSOR, null(), none,
                room, bytes, shared, n, d,
            )
        }
    }

    /// What is multiplied, with bounds of the rows of a run and of the sides of its matrix.
    fn product(
        self,
        device: &Rc<Device>,
        bounds: [usize; 3],
    ) -> Result<Owned<cnnlGroupGemmDescriptor_t>> {
        let mut raw = cnnlGroupGemmDescriptor_t::NULL;
        told!(device: self.cnnlCreateGroupGemmDescriptor(&raw mut raw))?;
        // SAFETY: it was just made.
        let made = unsafe { Owned::new(device, raw, self.cnnlDestroyGroupGemmDescriptor) };
        let attributes = [
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_M_MAX,
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_N_MAX,
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_K_MAX,
        ];
        let named = (&**device, "cnnlSetGroupGemmDescAttr");
        for (attribute, bound) in attributes.into_iter().zip(bounds) {
            let value = (attribute, bound as u32);
            descriptor::set(named, self.cnnlSetGroupGemmDescAttr, &made, value)?;
        }
        Ok(made)
    }

    /// Operands of all runs, one behind the other.
    fn stack(self, device: &Rc<Device>, operand: &Operand, at: &At) -> Result<Owned<Stack>> {
        let mode = cnnlGroupGemmTensorMode_t::CNNL_GROUP_GEMM_TENSOR_OFFSETS;
        let mut raw = Stack::NULL;
        told!(device: self.cnnlCreateGroupGemmTensorDescriptor(&raw mut raw, mode))?;
        let destroy = self.cnnlDestroyGroupGemmTensorDescriptor;
        // SAFETY: it was just made.
        let made = unsafe { Owned::new(device, raw, destroy) };
        let (raw, dtype) = (made.raw(), code(operand.dtype));
        let on = cnnlPointerMode_t::CNNL_POINTER_MODE_DEVICE;
        told!(device: self.cnnlSetGroupGemmTensorDescriptor(raw, dtype, at.place, on, null_mut()))?;
        Ok(made)
    }
}
