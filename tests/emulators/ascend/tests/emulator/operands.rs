//! Operands with their memory, and both halves of an operator.

use std::ffi::c_void;
use std::ptr::null_mut;

use backend_ascend_sys::Launch;
use backend_ascend_sys::types::{
    aclDataType, aclFormat, aclIntArray, aclOpExecutor, aclScalar, aclTensor, aclTensorList,
};
use half::{bf16, f16};

use crate::session::{Session, call};

pub(crate) const F32: aclDataType = aclDataType::ACL_FLOAT;
pub(crate) const F16: aclDataType = aclDataType::ACL_FLOAT16;
pub(crate) const BF16: aclDataType = aclDataType::ACL_BF16;
pub(crate) const I8: aclDataType = aclDataType::ACL_INT8;
pub(crate) const I32: aclDataType = aclDataType::ACL_INT32;
pub(crate) const I64: aclDataType = aclDataType::ACL_INT64;
pub(crate) const BOOL: aclDataType = aclDataType::ACL_BOOL;

/// A tensor and the block that it lies in.
pub(crate) struct Operand {
    pub(crate) tensor: *mut aclTensor,
    pub(crate) block: *mut c_void,
    dtype: aclDataType,
    count: usize,
}

/// The first half of an operator; gives its code, the workspace and the executor.
macro_rules! plan {
    ($session:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let operator = $session.ascend.operators.$name.expect("the emulator exports it");
        let (mut size, mut executor) = (0, std::ptr::null_mut());
        // SAFETY: the test gives what the function asks for, or nothing that it follows.
        let code = unsafe { (operator.plan)($($arg,)* &raw mut size, &raw mut executor) };
        (code, size, executor)
    }};
}
pub(crate) use plan;

/// Both halves, and the wait; gives the first code that is none of success.
macro_rules! operate {
    ($session:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let (code, size, executor) = crate::operands::plan!($session, $name($($arg),*));
        let operator = $session.ascend.operators.$name.expect("the emulator exports it");
        if code == 0 { $session.run(operator.launch, size, executor) } else { code }
    }};
}
pub(crate) use operate;

fn width(dtype: aclDataType) -> usize {
    match dtype {
        I8 | BOOL => 1,
        F16 | BF16 => 2,
        F32 | I32 => 4,
        I64 => 8,
        _ => panic!("{dtype:?}"),
    }
}

fn encode(dtype: aclDataType, number: f64) -> Vec<u8> {
    match dtype {
        F32 => (number as f32).to_le_bytes().to_vec(),
        F16 => f16::from_f64(number).to_le_bytes().to_vec(),
        BF16 => bf16::from_f64(number).to_le_bytes().to_vec(),
        I8 | BOOL => vec![(number as i8) as u8],
        I32 => (number as i32).to_le_bytes().to_vec(),
        I64 => (number as i64).to_le_bytes().to_vec(),
        _ => panic!("{dtype:?}"),
    }
}

fn decode(dtype: aclDataType, bytes: &[u8]) -> f64 {
    let two = || [bytes[0], bytes[1]];
    match dtype {
        F32 => f32::from_le_bytes(bytes.try_into().expect("four")).into(),
        F16 => f16::from_le_bytes(two()).to_f64(),
        BF16 => bf16::from_le_bytes(two()).to_f64(),
        I8 | BOOL => f64::from(bytes[0] as i8),
        I32 => i32::from_le_bytes(bytes.try_into().expect("four")).into(),
        I64 => i64::from_le_bytes(bytes.try_into().expect("eight")) as f64,
        _ => panic!("{dtype:?}"),
    }
}

impl Session {
    /// A view of a block.
    pub(crate) fn view(
        &self,
        (block, dtype, storage): (*mut c_void, aclDataType, &[i64]),
        format: aclFormat,
        (dims, strides, offset): (&[i64], &[i64], i64),
    ) -> *mut aclTensor {
        let (rank, stored) = (dims.len() as u64, storage.len() as u64);
        let (dims, strides, storage) = (dims.as_ptr(), strides.as_ptr(), storage.as_ptr());
        let tensors = &self.ascend.tensors;
        let tensor = call!(
            tensors,
            aclCreateTensor(
                dims, rank, dtype, strides, offset, format, storage, stored, block
            )
        );
        assert!(!tensor.is_null(), "{}", self.text());
        tensor
    }

    /// A tensor of its own block, which was never written.
    pub(crate) fn empty(&self, dtype: aclDataType, dims: &[i64]) -> Operand {
        let mut strides = vec![1; dims.len()];
        for index in (1..dims.len()).rev() {
            strides[index - 1] = strides[index] * dims[index];
        }
        let count = dims.iter().product::<i64>() as usize;
        let block = self.malloc((count * width(dtype)).max(1));
        let format = aclFormat::ACL_FORMAT_ND;
        Operand {
            tensor: self.view((block, dtype, dims), format, (dims, &strides, 0)),
            block,
            dtype,
            count,
        }
    }

    /// A tensor of these numbers.
    pub(crate) fn tensor(&self, dtype: aclDataType, dims: &[i64], numbers: &[f64]) -> Operand {
        let operand = self.empty(dtype, dims);
        assert_eq!(operand.count, numbers.len());
        let bytes = numbers.iter().flat_map(|number| encode(dtype, *number));
        self.upload(operand.block, &bytes.collect::<Vec<_>>());
        operand
    }

    pub(crate) fn numbers(&self, operand: &Operand) -> Vec<f64> {
        let width = width(operand.dtype);
        let bytes = self.download(operand.block, operand.count * width);
        let bytes = bytes.unwrap_or_else(|_| panic!("{}", self.text()));
        bytes
            .chunks(width)
            .map(|bytes| decode(operand.dtype, bytes))
            .collect()
    }

    pub(crate) fn scalar(&self, number: f32) -> *mut aclScalar {
        let mut number = number;
        call!(
            self.ascend.tensors,
            aclCreateScalar((&raw mut number).cast(), F32)
        )
    }

    pub(crate) fn ints(&self, ints: &[i64]) -> *mut aclIntArray {
        call!(
            self.ascend.tensors,
            aclCreateIntArray(ints.as_ptr(), ints.len() as u64)
        )
    }

    pub(crate) fn list(&self, operands: &[&Operand]) -> *mut aclTensorList {
        let members: Vec<_> = operands.iter().map(|one| one.tensor.cast_const()).collect();
        call!(
            self.ascend.tensors,
            aclCreateTensorList(members.as_ptr(), members.len() as u64)
        )
    }

    /// The second half on the default stream, and the wait.
    pub(crate) fn run(&self, launch: Launch, size: u64, executor: *mut aclOpExecutor) -> i32 {
        let workspace = if size == 0 {
            null_mut()
        } else {
            self.malloc(size as usize)
        };
        // SAFETY: what the first half gave, and a workspace of its size.
        let code = unsafe { launch(workspace, size, executor, null_mut()) };
        let waited = self.wait(null_mut());
        if !workspace.is_null() {
            assert_eq!(self.free(workspace), 0);
        }
        if code == 0 { waited } else { code }
    }
}
