//! What custom operators take, as their packages describe it: types, formats and attributes.
//!
//! A description lists columns: the combinations of types and formats that there are kernels for. What is
//! in no column fails on the device.

pub mod vllm_ascend_0_23_0;

use crate::types::{aclDataType, aclFormat};

/// What an operator takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    /// The operator's name, without `aclnn`.
    pub name: &'static str,
    /// How many combinations of types and formats there are kernels for.
    pub columns: usize,
    /// What it takes, in the order of its definition, which the C function need not keep.
    pub inputs: &'static [Operand],
    /// What it gives.
    pub outputs: &'static [Operand],
    /// Its attributes, in the order of its definition.
    pub attributes: &'static [Attribute],
}

/// An operand of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Its name in the definition.
    pub name: &'static str,
    /// How many of it there are.
    pub count: Count,
    /// Its types: one for each column, or one for all.
    pub types: &'static [aclDataType],
    /// Its formats: one for each column, or one for all.
    pub formats: &'static [aclFormat],
}

/// How many tensors an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// One.
    One,
    /// One, or a null pointer.
    OneOrNone,
    /// A list.
    List,
}

/// An attribute of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in the definition.
    pub name: &'static str,
    /// Its type: `int`, `float`, `bool`, `str`, `listInt` or `listBool`.
    pub of: &'static str,
    /// Its value where none is given; an attribute without one is required.
    pub default: Option<&'static str>,
}

impl Attribute {
    const fn new(name: &'static str, of: &'static str, default: Option<&'static str>) -> Self {
        Self { name, of, default }
    }
}

impl Operand {
    const fn one(
        name: &'static str,
        types: &'static [aclDataType],
        formats: &'static [aclFormat],
    ) -> Self {
        Self {
            name,
            count: Count::One,
            types,
            formats,
        }
    }

    const fn optional(
        name: &'static str,
        types: &'static [aclDataType],
        formats: &'static [aclFormat],
    ) -> Self {
        let count = Count::OneOrNone;
        Self {
            count,
            ..Self::one(name, types, formats)
        }
    }

    const fn list(
        name: &'static str,
        types: &'static [aclDataType],
        formats: &'static [aclFormat],
    ) -> Self {
        let count = Count::List;
        Self {
            count,
            ..Self::one(name, types, formats)
        }
    }

    /// Type and format in a column.
    #[must_use]
    pub fn column(&self, index: usize) -> (aclDataType, aclFormat) {
        fn at<T: Copy>(values: &[T], index: usize) -> T {
            if values.len() == 1 {
                values[0]
            } else {
                values[index]
            }
        }
        (at(self.types, index), at(self.formats, index))
    }
}

impl Contract {
    /// The contract of an operator, if its package describes it.
    #[must_use]
    pub fn of(contracts: &'static [Self], name: &str) -> Option<&'static Self> {
        contracts.iter().find(|contract| contract.name == name)
    }

    /// Whether there is a kernel for these operands: the inputs, then the outputs, each with its type and
    /// format, or nothing where it is not given. A list has one type and format.
    #[must_use]
    pub fn accepts(&self, given: &[Option<(aclDataType, aclFormat)>]) -> bool {
        let operands: Vec<_> = self.inputs.iter().chain(self.outputs).collect();
        let fits = |column: usize| {
            operands
                .iter()
                .zip(given)
                .all(|(operand, given)| match given {
                    Some(given) => operand.column(column) == *given,
                    None => operand.count == Count::OneOrNone,
                })
        };
        operands.len() == given.len() && (0..self.columns).any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::vllm_ascend_0_23_0::CONTRACTS;
    use super::*;

    const BF16: aclDataType = aclDataType::ACL_BF16;
    const F16: aclDataType = aclDataType::ACL_FLOAT16;
    const F32: aclDataType = aclDataType::ACL_FLOAT;
    const ND: aclFormat = aclFormat::ACL_FORMAT_ND;

    fn contract(name: &str) -> &'static Contract {
        Contract::of(CONTRACTS, name).expect(name)
    }

    #[test]
    fn a_combination_that_no_kernel_is_for_is_refused() {
        let rotary = contract("InplacePartialRotaryMul");
        let given = |types: [aclDataType; 4]| types.map(|of| Some((of, ND)));
        assert!(rotary.accepts(&given([BF16, BF16, BF16, BF16])));
        assert!(rotary.accepts(&given([BF16, F32, F32, BF16])));
        assert!(!rotary.accepts(&given([BF16, F16, F16, BF16])));
        assert!(!rotary.accepts(&given([BF16, F32, F32, F32])));
    }

    #[test]
    fn a_required_operand_is_given_and_none_is_added() {
        let norm = contract("AddRmsNormBias");
        let some = Some((BF16, ND));
        let whole = [some, some, some, some, some, Some((F32, ND)), some];
        assert!(norm.accepts(&whole));
        let mut without_beta = whole;
        without_beta[3] = None;
        assert!(norm.accepts(&without_beta));
        let mut without_gamma = whole;
        without_gamma[2] = None;
        assert!(!norm.accepts(&without_gamma));
        assert!(!norm.accepts(&whole[..6]));
    }

    #[test]
    fn columns_are_one_for_all_or_one_for_each() {
        for contract in CONTRACTS {
            for operand in contract.inputs.iter().chain(contract.outputs) {
                let fits = |count: usize| count == 1 || count == contract.columns;
                let counts = [operand.types.len(), operand.formats.len()];
                assert!(
                    counts.into_iter().all(fits),
                    "{} {}",
                    contract.name,
                    operand.name
                );
            }
        }
    }

    #[test]
    fn a_default_is_a_value_of_its_type() {
        for contract in CONTRACTS {
            for attribute in contract.attributes {
                let is_value = attribute.default.is_none_or(|value| match attribute.of {
                    "int" => value.parse::<i64>().is_ok(),
                    "float" => value.parse::<f64>().is_ok(),
                    "bool" => value.parse::<bool>().is_ok(),
                    "str" => !value.is_empty(),
                    "listInt" | "listBool" => value.starts_with('[') && value.ends_with(']'),
                    _ => false,
                });
                assert!(is_value, "{} {attribute:?}", contract.name);
            }
        }
    }
}
