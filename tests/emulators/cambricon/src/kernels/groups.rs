//! Products of runs of rows, each by a matrix of its own.
//!
//! What is emulated is the form that is documented best: rows and results one behind the other, matrices in a stack, how many rows each
//! run has on the device, and everything that all runs share as one number of the host.

use backend_cambricon_sys::types::{cnnlDataType_t, cnnlMatMulDescAttribute_t};
use emulator_support::argument::{Place, Pointer};
use emulator_support::failure::{Failure, Fault, Outcome};
use emulator_support::matrix_product;

use super::numbers::Room;
use crate::array::{Array, strides, unwritten};
use crate::call::Call;
use crate::codes::{CNNL_BAD_PARAM, CNNL_NOT_SUPPORTED};
use crate::handles::{Handle, Kind};
use crate::launch::{self, operate};
use crate::objects::{Object, dead, desc, object, word};
use crate::planner::{At, Planner, Role, kernel, refuse, workspace_bytes};
use crate::tensor::{BF16, F16, I32, Tensor};

/// Runs that one call multiplies.
const GROUPS_MAX: i32 = 255;
/// The mode of operands that lie one behind the other.
const OFFSETS: u32 = 2;

/// The largest run and the sides of its matrix; 0 until it is set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    m: usize,
    n: usize,
    k: usize,
}

/// Where the operands of all runs lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    dtype: cnnlDataType_t,
    at: Pointer,
}

/// What is multiplied.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) product: Handle,
    pub(crate) count: i32,
    pub(crate) trans: [bool; 2],
    /// How many rows each run has.
    pub(crate) rows: At,
    /// Columns of the results, and of the rows.
    pub(crate) sides: [At; 2],
    /// How far rows of `a`, `b` and `d` stand apart.
    pub(crate) leading: [At; 3],
    /// Factors, and what is added: none.
    pub(crate) more: [u64; 3],
    /// `a`, `b` and `d`.
    pub(crate) stacks: [Handle; 3],
}

pub(crate) fn set_bound(
    call: &mut Call,
    handle: Handle,
    attr: cnnlMatMulDescAttribute_t,
    (buffer, bytes): (Pointer, usize),
) -> Outcome {
    let value = word(call, buffer, bytes)? as usize;
    let Object::GroupGemm(bounds) = object(call, handle, Kind::GroupGemm)? else {
        return Err(dead(handle, Kind::GroupGemm));
    };
    let bound = match attr {
        cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_M_MAX => &mut bounds.m,
        cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_N_MAX => &mut bounds.n,
        cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_K_MAX => &mut bounds.k,
        _ => {
            let text = format!("attribute {}", attr.0);
            return Err(Failure::new(CNNL_NOT_SUPPORTED, text));
        }
    };
    *bound = value;
    Ok(())
}

/// Makes a description of operands; `wrap` is how the caller's type holds a handle.
pub(crate) fn create_stack<T: Copy>(
    call: &mut Call,
    place: Place<T>,
    mode: u32,
    wrap: impl FnOnce(*mut std::ffi::c_void) -> T,
) -> Outcome {
    let place = place.some(CNNL_BAD_PARAM)?;
    if mode != OFFSETS {
        return Err(Failure::new(CNNL_NOT_SUPPORTED, format!("mode {mode}")));
    }
    let handle = call.make(Kind::GroupTensor, Object::GroupTensor(None));
    place.put(wrap(handle.pointer()));
    Ok(())
}

pub(crate) fn set_stack(
    call: &mut Call,
    handle: Handle,
    (dtype, at, mode): (cnnlDataType_t, Pointer, u32),
    infos: Place<i64>,
) -> Outcome {
    if mode != 1 || !infos.is_null() {
        let text = "operands that do not lie one behind the other on the device";
        return Err(Failure::new(CNNL_NOT_SUPPORTED, text));
    }
    let Object::GroupTensor(stack) = object(call, handle, Kind::GroupTensor)? else {
        return Err(dead(handle, Kind::GroupTensor));
    };
    *stack = Some(Stack { dtype, at });
    Ok(())
}

/// Tells how much workspace so many runs want.
pub(crate) fn query(
    call: &mut Call,
    handle: Handle,
    (count, rows): (i32, Handle),
    size: Place<usize>,
) -> Outcome {
    let of = ("GroupGemm", &[rows][..], &[count as usize][..]);
    launch::query(call, handle, of, size)
}

fn stack(op: &Planner<'_>, handle: Handle) -> Outcome<Stack> {
    match op.object(handle, Kind::GroupTensor)? {
        Object::GroupTensor(Some(stack)) => Ok(*stack),
        _ => Err(desc("operands of runs that were not set")),
    }
}

/// A number that all runs share.
fn shared(op: &Planner<'_>, name: &'static str, at: At) -> Outcome<usize> {
    let (dtype, place) = op.scalar(name, at)?;
    if dtype != I32 {
        return Err(refuse("E-DTYPE", format!("{name}: {dtype:?}")));
    }
    let number = usize::try_from(op.int(place)?).ok();
    let number = number.filter(|number| *number > 0);
    number.ok_or_else(|| refuse("E-SHAPE", format!("{name}: not above 0")))
}

/// `d = a · bᵀ` of each run. Rows behind the last run stay what they are.
pub(crate) fn multiply_groups(
    call: &mut Call,
    handle: Handle,
    groups: &Groups,
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let Object::GroupGemm(bounds) = *op.object(groups.product, Kind::GroupGemm)? else {
            return Err(dead(groups.product, Kind::GroupGemm));
        };
        if !(1..=GROUPS_MAX).contains(&groups.count) {
            let text = format!("{} runs, 1 to {GROUPS_MAX}", groups.count);
            return Err(refuse("E-SHAPE", text));
        }
        if groups.trans != [false, true] || groups.more != [0; 3] {
            let text = "other than rows by transposed matrices";
            return Err(Failure::new(CNNL_NOT_SUPPORTED, text));
        }
        let count = groups.count as usize;
        op.input("m", groups.rows)?.of(&[I32])?.shape(&[count])?;
        let [n, k] =
            [("n", groups.sides[0]), ("k", groups.sides[1])].map(|(name, at)| shared(op, name, at));
        let (n, k) = (n?, k?);
        for ((name, at), want) in ["lda", "ldb", "ldd"]
            .into_iter()
            .zip(groups.leading)
            .zip([k, k, n])
        {
            let step = shared(op, name, at)?;
            if step != want {
                return Err(refuse("E-LAYOUT", format!("{name}: {step}, not {want}")));
            }
        }
        if bounds.m == 0 || n > bounds.n || k > bounds.k {
            let text = format!("{n} by {k}, the bounds are {bounds:?}");
            return Err(refuse("E-SHAPE", text));
        }
        let [a, b, d] = groups.stacks.map(|handle| stack(op, handle));
        let (a, b, d) = (a?, b?, d?);
        if ![BF16, F16].contains(&a.dtype) || b.dtype != a.dtype || d.dtype != a.dtype {
            let text = format!("{:?} by {:?} to {:?}", a.dtype, b.dtype, d.dtype);
            return Err(refuse("E-DTYPE", text));
        }
        for (name, stack, dims, role) in [
            ("a", a, vec![bounds.m, k], Role::Source),
            ("b", b, vec![count, n, k], Role::Input),
            ("d", d, vec![bounds.m, n], Role::Reference),
        ] {
            let tensor = Tensor {
                strides: strides(&dims),
                dims,
                dtype: stack.dtype,
                is_on_host: false,
            };
            op.placed(name, tensor, stack.at, role)?;
        }
        op.workspace(room, workspace_bytes("GroupGemm", &[&[count], &[count]]))?;
        Ok(kernel(move |inputs| products(inputs, [bounds.m, n, k])))
    })
}

/// Of how many rows each run has, the rows, the matrices, and where the results go.
fn products(inputs: &[Array], [most, n, k]: [usize; 3]) -> Result<Vec<Array>, Fault> {
    let (rows, matrices) = (inputs[0].i(), inputs[2].f());
    let mut out = inputs[3].clone();
    let mut first = 0;
    for (count, b) in rows.iter().zip(matrices.chunks(n * k)) {
        let count = usize::try_from(*count).ok();
        let count = count.filter(|count| first + count <= most).ok_or_else(|| {
            let text = format!("runs of {rows:?} rows, {most} at most");
            Fault::new("E-SHAPE", text)
        })?;
        let x = inputs[1].pick_runs(&[count, k], &[first * k], count * k);
        let x = x.map_err(unwritten)?;
        let mut y = vec![0.0; count * n];
        matrix_product(x.f(), (b, [1, k]), &mut y, [k, n]);
        let places = first * n..(first + count) * n;
        let y = Array::floats(&[count, n], y);
        out.data.write(places.start, &y.data, 0..y.len());
        if let Some(known) = &mut out.known {
            known[places].fill(true);
        }
        first += count;
    }
    Ok(vec![out])
}
