//! Holds the tables against an SDK: parameters, enumerations, structures and codes against headers, names against
//! libraries.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use anyhow::Result;
use backend_cambricon_sys::types::{ENUMERATIONS, HANDLES, SIZES};
use backend_cambricon_sys::{CODES, Library, Symbol, abi};
use xtask_headers::{Difference, Function, Headers, difference};

use crate::exports::Exports;

/// What came of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How many facts equal the SDK's.
    verified: usize,
    /// What the SDK has nothing about: it is of another release, or a name was inferred.
    unknown: Vec<String>,
    /// What differs, and how.
    pub(crate) mismatches: Vec<String>,
    /// Differences that no call depends on: constness, names of parameters.
    warnings: Vec<String>,
}

/// Compares the tables with what bindgen wrote of the headers and with what the libraries export.
pub(crate) fn verify(text: &str, exports: &Exports) -> Result<Report> {
    let structures = SIZES.iter().map(|(name, _)| *name);
    let headers = Headers::parse(text, structures.chain(HANDLES.iter().copied()))?;
    let mut report = Report::default();
    for symbol in abi::symbols().filter(|symbol| symbol.library != Library::Emulator) {
        report.declaration(symbol, &headers);
        report.export(symbol, exports);
    }
    for enumeration in ENUMERATIONS {
        let theirs = headers.alias(enumeration.name);
        report.fact(
            enumeration.name,
            &enumeration.of.to_string(),
            theirs.as_deref(),
        );
        for (name, value) in enumeration.values {
            report.number(name, i128::from(*value), &headers);
        }
    }
    for (name, bytes) in SIZES {
        let theirs = headers.size(name).map(|bytes| bytes.to_string());
        report.fact(
            &format!("bytes of {name}"),
            &bytes.to_string(),
            theirs.as_deref(),
        );
    }
    for status in CODES.iter().flat_map(|(_, codes)| *codes) {
        report.number(status.name, status.code.into(), &headers);
    }
    Ok(report)
}

impl Report {
    fn declaration(&mut self, symbol: &Symbol, headers: &Headers) {
        let params = symbol.signature.params.iter();
        let params = params.map(|param| (param.name.to_owned(), param.of.to_string()));
        let ours = Function {
            params: params.collect(),
            result: symbol.signature.result.to_string(),
        };
        let named = symbol
            .names()
            .find_map(|name| Some((name, headers.functions.get(name)?)));
        let Some((name, theirs)) = named else {
            self.unknown
                .push(format!("{}: no declaration", symbol.name));
            return;
        };
        match difference(&ours, theirs) {
            Difference::None => self.verified += 1,
            Difference::Minor(what) => {
                self.verified += 1;
                self.warnings.push(format!("{name}: {what}"));
            }
            Difference::Major(what) => self.mismatches.push(format!("{name}: {what}")),
        }
    }

    /// A library that is there and lacks a name is of another release: what needs it is off.
    fn export(&mut self, symbol: &Symbol, exports: &Exports) {
        let file = symbol.library.file();
        match exports.get(file) {
            Some(names) if symbol.names().any(|name| names.contains(name)) => self.verified += 1,
            Some(_) => self
                .unknown
                .push(format!("{}: not exported by {file}", symbol.name)),
            None => self.unknown.push(format!("{}: no {file}", symbol.name)),
        }
    }

    fn number(&mut self, name: &str, ours: i128, headers: &Headers) {
        let theirs = headers.values.get(name).map(i128::to_string);
        self.fact(name, &ours.to_string(), theirs.as_deref());
    }

    fn fact(&mut self, name: &str, ours: &str, theirs: Option<&str>) {
        match theirs {
            None => self.unknown.push(name.to_owned()),
            Some(theirs) if theirs == ours => self.verified += 1,
            Some(theirs) => {
                let text = format!("{name}: {ours}, {theirs} in the header");
                self.mismatches.push(text);
            }
        }
    }

    pub(crate) fn show(&self) {
        for name in &self.unknown {
            eprintln!("not verified: {name}");
        }
        for warning in &self.warnings {
            eprintln!("warning: {warning}");
        }
        for mismatch in &self.mismatches {
            eprintln!("mismatch: {mismatch}");
        }
        let (verified, unknown, wrong) = (self.verified, self.unknown.len(), self.mismatches.len());
        eprintln!("{verified} verified, {unknown} not verified, {wrong} mismatches");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What bindgen writes of headers as the table has them, by hand.
    const BINDINGS: &str = r#"
        pub type cnrtRet_t = ::std::os::raw::c_uint;
        pub type cnrtQueue_t = *mut cnrtQueue;
        pub type cnnlDataType_t = ::std::os::raw::c_uint;
        pub const CNNL_DTYPE_FLOAT: cnnlDataType_t = 2;
        pub const cnrtErrorNoMem: cnrtRet_t = 100100;
        pub struct cnrtDim3_t { pub x: u32 }
        const _: () = {
            ["Size of cnrtDim3_t"][::std::mem::size_of::<cnrtDim3_t>() - 12usize];
        };
        unsafe extern "C" {
            pub fn cnrtQueueSync(queue: cnrtQueue_t) -> cnrtRet_t;
            pub fn cnrtMalloc(pPtr: *mut *mut ::std::os::raw::c_void, bytes: usize) -> cnrtRet_t;
            pub fn cnrtMemcpyAsync_V2(
                dst: *mut ::std::os::raw::c_void,
                src: *mut ::std::os::raw::c_void,
                bytes: usize,
                queue: cnrtQueue_t,
                dir: cnrtMemTransDir_t,
            ) -> cnrtRet_t;
        }
        pub type cnrtMemTransDir_t = ::std::os::raw::c_uint;
    "#;

    fn report(text: &str, names: &[&str]) -> Report {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        verify(text, &Exports::from([("libcnrt.so", names)])).expect("bindings")
    }

    #[test]
    fn what_equals_the_headers_and_what_is_exported_is_verified() {
        let report = report(BINDINGS, &["cnrtMalloc", "cnrtMemcpyAsync"]);
        assert_eq!(report.mismatches, [] as [&str; 0]);
        // Three declarations, one by another of its names; two names; two enumerations, a value, a size and a code.
        assert_eq!(report.verified, 3 + 2 + 2 + 1 + 1 + 1);
        let is_told = |what: &str| report.unknown.iter().any(|told| told == what);
        assert!(is_told("cnrtFree: no declaration"));
        assert!(is_told("cnrtQueueSync: not exported by libcnrt.so"));
        assert!(is_told("cnnlCreate: no libcnnl.so"));
    }

    #[test]
    fn planted_mistakes_are_found() {
        for (right, wrong, what) in [
            ("bytes: usize)", "bytes: u32)", "cnrtMalloc: bytes: usize"),
            (
                "queue: cnrtQueue_t) ->",
                "queue: u64) ->",
                "cnrtQueueSync: queue",
            ),
            (
                "CNNL_DTYPE_FLOAT: cnnlDataType_t = 2",
                "CNNL_DTYPE_FLOAT: cnnlDataType_t = 3",
                "CNNL_DTYPE_FLOAT: 2, 3",
            ),
            (
                "cnrtErrorNoMem: cnrtRet_t = 100100",
                "cnrtErrorNoMem: cnrtRet_t = 1",
                "cnrtErrorNoMem: 100100, 1",
            ),
            ("- 12usize", "- 16usize", "bytes of cnrtDim3_t: 12, 16"),
        ] {
            let planted = BINDINGS.replace(right, wrong);
            assert_ne!(planted, BINDINGS, "{right}");
            let found = report(&planted, &[]).mismatches;
            assert!(
                matches!(&found[..], [told] if told.contains(what)),
                "{found:?}"
            );
        }
    }
}
