//! Makes the table of what custom operators take from the description in their package.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use backend_ascend_sys::abi::vllm_ascend_0_23_0::Operators;
use serde_json::{Map, Value};

use crate::baseline::Committed;
use crate::wheels::Wheels;

/// What is committed.
const TABLE: &str = "crates/backend-ascend-sys/src/contracts/vllm_ascend_0_23_0.rs";
/// Bytes of the description. It has 136 thousand.
const BYTES_MAX: u64 = 4 << 20;
/// Combinations of types, at most. The most are 16.
const COLUMNS_MAX: usize = 256;

/// Makes the table anew.
pub(crate) fn check(root: &Path, wheels: &Wheels) -> Result<Vec<Committed>> {
    let path = wheels.descriptions();
    let mut bytes = Vec::new();
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= BYTES_MAX,
        "{}: more than {BYTES_MAX} bytes",
        path.display()
    );
    let described: BTreeMap<String, Value> =
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
    let used = described.iter().filter(|(name, _)| is_declared(name));
    let mut contracts = Vec::new();
    for (name, operator) in used {
        contracts.push(contract(name, operator).with_context(|| name.clone())?);
    }
    eprintln!(
        "{} operators described, {} of them in the table",
        described.len(),
        contracts.len()
    );
    let text = formatted(root, &source(&contracts))?;
    Ok(vec![Committed { path: TABLE, text }])
}

/// Whether the table declares an operator of this name.
fn is_declared(name: &str) -> bool {
    let name = format!("aclnn{name}");
    Operators::SYMBOLS.iter().any(|symbol| symbol.name == name)
}

fn source(contracts: &[String]) -> String {
    let contracts = contracts.join(",");
    let is_used = |short: &str| {
        let mut words = contracts.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word == short)
    };
    let used = SHORT.iter().filter(|(short, _)| is_used(short));
    let used: String = used
        .map(|(short, name)| format!("const {short}: {name};\n"))
        .collect();
    format!(
        "//! What the custom operators of vllm-ascend 0.23.0 take on `ascend910b`.\n\
         //!\n\
         //! Made from the description in the package by `cargo xtask ascend-contracts --write`.\n\n\
         use super::{{Attribute, Contract, Operand}};\n\
         use crate::types::{{aclDataType, aclFormat}};\n\n\
         {used}\n\
         /// The contracts, by name.\n\
         pub const CONTRACTS: &[Contract] = &[{contracts}];\n"
    )
}

/// Short names of types and formats, and what they stand for.
const SHORT: [(&str, &str); 13] = [
    ("F32", "aclDataType = aclDataType::ACL_FLOAT"),
    ("F16", "aclDataType = aclDataType::ACL_FLOAT16"),
    ("BF16", "aclDataType = aclDataType::ACL_BF16"),
    ("I4", "aclDataType = aclDataType::ACL_INT4"),
    ("I8", "aclDataType = aclDataType::ACL_INT8"),
    ("I16", "aclDataType = aclDataType::ACL_INT16"),
    ("I32", "aclDataType = aclDataType::ACL_INT32"),
    ("I64", "aclDataType = aclDataType::ACL_INT64"),
    ("U8", "aclDataType = aclDataType::ACL_UINT8"),
    ("U64", "aclDataType = aclDataType::ACL_UINT64"),
    ("BOOL", "aclDataType = aclDataType::ACL_BOOL"),
    ("ND", "aclFormat = aclFormat::ACL_FORMAT_ND"),
    ("NZ", "aclFormat = aclFormat::ACL_FORMAT_FRACTAL_NZ"),
];

/// An operator as Rust.
fn contract(name: &str, operator: &Value) -> Result<String> {
    let operator = operator.as_object().context("not an object")?;
    let inputs = operands(operator, "input")?;
    let outputs = operands(operator, "output")?;
    let columns = inputs
        .iter()
        .chain(&outputs)
        .map(|operand| operand.types.len())
        .max();
    let columns = columns.context("no operands")?;
    ensure!((1..=COLUMNS_MAX).contains(&columns), "{columns} columns");
    let rust = |operands: &[Operand<'_>]| -> Result<String> {
        operands
            .iter()
            .map(|operand| operand.rust(columns))
            .collect()
    };
    let name = plain(name)?;
    Ok(format!(
        "Contract {{ name: \"{name}\", columns: {columns}, inputs: &[{}], outputs: &[{}], \
         attributes: &[{}] }}",
        rust(&inputs)?,
        rust(&outputs)?,
        attributes(operator)?
    ))
}

/// An operand of the description.
#[derive(Debug)]
struct Operand<'a> {
    name: &'a str,
    count: &'static str,
    types: Vec<&'a str>,
    formats: Vec<&'a str>,
}

/// `input0`, `input1` … in their order.
fn operands<'a>(operator: &'a Map<String, Value>, kind: &str) -> Result<Vec<Operand<'a>>> {
    let mut found = Vec::new();
    while let Some(operand) = operator.get(&format!("{kind}{}", found.len())) {
        let text = |key: &str| {
            let value = operand.get(key).and_then(Value::as_str);
            value.with_context(|| format!("{kind}{}: no {key}", found.len()))
        };
        let count = match text("paramType")? {
            "required" => "one",
            "optional" => "optional",
            "dynamic" => "list",
            other => bail!("{kind}{}: {other:?} is no kind of operand", found.len()),
        };
        found.push(Operand {
            name: plain(text("name")?)?,
            count,
            types: text("dtype")?.split(',').collect(),
            formats: text("format")?.split(',').collect(),
        });
    }
    Ok(found)
}

impl Operand<'_> {
    fn rust(&self, columns: usize) -> Result<String> {
        let types = column(&self.types, columns, data_type).context(self.name.to_owned())?;
        let formats = column(&self.formats, columns, format).context(self.name.to_owned())?;
        let Self { name, count, .. } = self;
        Ok(format!(
            "Operand::{count}(\"{name}\", &[{types}], &[{formats}]),"
        ))
    }
}

/// Values of all columns; one, if they are all the same.
fn column(
    values: &[&str],
    columns: usize,
    rust: fn(&str) -> Result<&'static str>,
) -> Result<String> {
    let is_same = values.iter().all(|value| *value == values[0]);
    ensure!(
        values.len() == columns || is_same,
        "{} columns of {columns}",
        values.len()
    );
    let values = if is_same { &values[..1] } else { values };
    let values: Vec<_> = values
        .iter()
        .map(|value| rust(value))
        .collect::<Result<_>>()?;
    Ok(values.join(", "))
}

fn data_type(name: &str) -> Result<&'static str> {
    Ok(match name {
        "float32" | "float" => "F32",
        "float16" => "F16",
        "bfloat16" => "BF16",
        "int4" => "I4",
        "int8" => "I8",
        "int16" => "I16",
        "int32" => "I32",
        "int64" => "I64",
        "uint8" => "U8",
        "uint64" => "U64",
        "bool" => "BOOL",
        other => bail!("{other:?} is no type"),
    })
}

fn format(name: &str) -> Result<&'static str> {
    Ok(match name {
        "ND" => "ND",
        "FRACTAL_NZ" => "NZ",
        other => bail!("{other:?} is no format"),
    })
}

/// The attributes, in the order of their list.
fn attributes(operator: &Map<String, Value>) -> Result<String> {
    let list = operator
        .get("attr")
        .and_then(|attr| attr.get("list"))
        .and_then(Value::as_str);
    let mut rust = String::new();
    for name in list.into_iter().flat_map(|list| list.split(',')) {
        let name = plain(name)?;
        let attribute = operator.get(&format!("attr_{name}"));
        let attribute = attribute.with_context(|| format!("{name}: not described"))?;
        let of = attribute.get("type").and_then(Value::as_str);
        let of = plain(of.with_context(|| format!("{name}: no type"))?)?;
        let default = match attribute.get("defaultValue").and_then(Value::as_str) {
            Some(value) => format!("Some({:?})", value.replace(' ', "")),
            None => "None".to_owned(),
        };
        write!(rust, "Attribute::new(\"{name}\", \"{of}\", {default}),")?;
    }
    Ok(rust)
}

/// A name that may stand in a source.
fn plain(name: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ensure!(
        !name.is_empty() && name.chars().all(is_plain),
        "{name:?} is no name"
    );
    Ok(name)
}

/// A source as `cargo fmt` leaves it.
fn formatted(root: &Path, source: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt
        .args(["--edition", "2024", "--config-path"])
        .arg(root);
    let mut child = rustfmt
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt, a component of the toolchain")?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    stdin.write_all(source.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "rustfmt: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operator() -> Value {
        json!({
            "attr": {"list": "eps,k"},
            "attr_eps": {"type": "float", "paramType": "optional", "defaultValue": "1e-06"},
            "attr_k": {"type": "int", "paramType": "required"},
            "input0": {
                "name": "x", "paramType": "required", "dtype": "float16,bfloat16", "format": "ND,ND",
            },
            "input1": {
                "name": "w", "paramType": "dynamic", "dtype": "int8,int8", "format": "ND,FRACTAL_NZ",
            },
            "output0": {
                "name": "y", "paramType": "optional", "dtype": "float32,float32", "format": "ND,ND",
            },
        })
    }

    #[test]
    fn an_operator_is_written_as_rust() -> Result<()> {
        let rust = contract("A", &operator())?;
        for part in [
            "name: \"A\", columns: 2,",
            "Operand::one(\"x\", &[F16, BF16], &[ND])",
            "Operand::list(\"w\", &[I8], &[ND, NZ])",
            "Operand::optional(\"y\", &[F32], &[ND])",
            "Attribute::new(\"eps\", \"float\", Some(\"1e-06\"))",
            "Attribute::new(\"k\", \"int\", None)",
        ] {
            assert!(rust.contains(part), "{part}\n{rust}");
        }
        Ok(())
    }

    #[track_caller]
    fn refuses(change: impl Fn(&mut Value), want: &str) {
        let mut operator = operator();
        change(&mut operator);
        let error = contract("A", &operator).expect_err(want);
        assert!(format!("{error:#}").contains(want), "{error:#}");
    }

    #[test]
    fn a_description_that_says_something_else_is_refused() {
        refuses(|o| *o = json!([]), "not an object");
        refuses(
            |o| o["input1"]["dtype"] = json!("int8,int16,int8"),
            "columns",
        );
        refuses(
            |o| o["input0"]["dtype"] = json!("float16,complex64"),
            "is no type",
        );
        refuses(|o| o["input0"]["format"] = json!("ND,NCHW"), "is no format");
        refuses(
            |o| o["input0"]["paramType"] = json!("maybe"),
            "is no kind of operand",
        );
        refuses(
            |o| o["input0"]["name"] = json!("x\" }, evil()"),
            "is no name",
        );
        refuses(|o| o["attr"]["list"] = json!("eps,gone"), "not described");
        refuses(|o| o["attr_k"] = json!({}), "no type");
    }

    #[test]
    fn so_many_columns_and_no_more() {
        let many = |count: usize| json!(vec!["int8"; count].join(","));
        let with = |count: usize| {
            let mut operator = operator();
            for operand in ["input0", "input1", "output0"] {
                operator[operand]["dtype"] = many(count);
                operator[operand]["format"] = json!("ND");
            }
            contract("A", &operator)
        };
        assert!(with(COLUMNS_MAX).is_ok());
        assert!(with(COLUMNS_MAX + 1).is_err());
    }
}
