//! Declarations of C headers, as bindgen writes them in Rust, with every alias resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};
use syn::{
    Expr, FnArg, ForeignItem, GenericArgument, Item, Lit, Pat, PathArguments, PointerMutability,
    ReturnType, Signature, Stmt, Type, UnOp,
};

/// What headers declare.
#[derive(Default)]
pub struct Headers {
    /// Functions by name.
    pub functions: BTreeMap<String, Function>,
    /// Values of enumerations and constants.
    pub values: BTreeMap<String, i128>,
    /// What bindgen asserts of structures: `Size of X`, `Alignment of X`, `Offset of field: X::y`.
    layouts: BTreeMap<String, usize>,
    aliases: BTreeMap<String, Type>,
    /// Names that stand for themselves, whatever they are aliases of: structures and handles of the table.
    kept: BTreeSet<&'static str>,
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (functions, values) = (self.functions.len(), self.values.len());
        write!(f, "Headers({functions} functions, {values} values)")
    }
}

/// A function, its types resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Names and types.
    pub params: Vec<(String, String)>,
    /// The type that is returned.
    pub result: String,
}

impl Headers {
    /// Reads what bindgen wrote. Some names are kept as they are, because the table has them.
    ///
    /// # Errors
    /// If it is no Rust.
    pub fn parse(text: &str, kept: impl IntoIterator<Item = &'static str>) -> Result<Self> {
        let file = syn::parse_file(text).context("what bindgen wrote")?;
        let mut headers = Self {
            kept: kept.into_iter().collect(),
            ..Self::default()
        };
        let mut signatures = Vec::new();
        for item in file.items {
            match item {
                Item::Type(alias) => {
                    headers.aliases.insert(alias.ident.to_string(), *alias.ty);
                }
                Item::Const(constant) if constant.ident == "_" => headers.layouts(&constant.expr),
                Item::Const(constant) => {
                    if let Some(value) = integer(&constant.expr) {
                        headers.values.insert(constant.ident.to_string(), value);
                    }
                }
                Item::ForeignMod(foreign) => {
                    signatures.extend(foreign.items.into_iter().filter_map(|item| match item {
                        ForeignItem::Fn(function) => Some(function.sig),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        for signature in signatures {
            let function = headers.function(&signature);
            headers
                .functions
                .insert(signature.ident.to_string(), function);
        }
        Ok(headers)
    }

    /// Bytes of a structure.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<usize> {
        self.layouts
            .get(&format!("Size of {}", self.canonical(name)))
            .copied()
    }

    /// What the address of a structure is a multiple of.
    #[must_use]
    pub fn alignment(&self, name: &str) -> Option<usize> {
        self.layouts
            .get(&format!("Alignment of {}", self.canonical(name)))
            .copied()
    }

    /// Where a field of a structure begins.
    #[must_use]
    pub fn offset(&self, name: &str, field: &str) -> Option<usize> {
        let field = format!("Offset of field: {}::{field}", self.canonical(name));
        self.layouts.get(&field).copied()
    }

    /// What an alias stands for, resolved.
    #[must_use]
    pub fn alias(&self, name: &str) -> Option<String> {
        self.aliases.get(name).map(|of| self.resolve(of))
    }

    /// The structure that a name stands for: `typedef struct XDef { … } X`.
    fn canonical(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while let Some(Type::Path(path)) = self.aliases.get(&name)
            && let Some(last) = path.path.segments.last()
        {
            name = last.ident.to_string();
        }
        name
    }

    /// `["Size of X"][size_of::<X>() - 8usize];` and its like.
    fn layouts(&mut self, block: &Expr) {
        let Expr::Block(block) = block else {
            return;
        };
        for statement in &block.block.stmts {
            if let Stmt::Expr(Expr::Index(index), _) = statement
                && let Expr::Array(what) = &*index.expr
                && let Some(Expr::Lit(what)) = what.elems.first()
                && let Lit::Str(what) = &what.lit
                && let Expr::Binary(difference) = &*index.index
                && let Some(value) = integer(&difference.right)
                && let Ok(value) = usize::try_from(value)
            {
                self.layouts.insert(what.value(), value);
            }
        }
    }

    fn function(&self, signature: &Signature) -> Function {
        let params = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(input) => {
                let name = match &*input.pat {
                    Pat::Ident(name) => name.ident.to_string(),
                    _ => String::new(),
                };
                Some((name, self.resolve(&input.ty)))
            }
            FnArg::Receiver(_) => None,
        });
        Function {
            params: params.collect(),
            result: self.result(&signature.output),
        }
    }

    fn result(&self, output: &ReturnType) -> String {
        match output {
            ReturnType::Default => "void".to_owned(),
            ReturnType::Type(_, of) => self.resolve(of),
        }
    }

    /// A type in the spelling of the tables.
    fn resolve(&self, of: &Type) -> String {
        match of {
            Type::Ptr(pointer) => {
                let mark = match pointer.mutability {
                    PointerMutability::Const(_) => "const",
                    PointerMutability::Mut(_) => "mut",
                };
                format!("*{mark} {}", self.resolve(&pointer.elem))
            }
            Type::Path(path) => {
                let Some(last) = path.path.segments.last() else {
                    return "?".to_owned();
                };
                match (&last.arguments, last.ident.to_string().as_str()) {
                    (PathArguments::AngleBracketed(of), "Option") => match of.args.first() {
                        Some(GenericArgument::Type(of)) => self.resolve(of),
                        _ => "?".to_owned(),
                    },
                    (_, name) => self.named(name),
                }
            }
            Type::FnPtr(function) => {
                let inputs = function.inputs.iter().map(|input| self.resolve(&input.ty));
                let inputs: Vec<_> = inputs.collect();
                format!(
                    "fn({}) -> {}",
                    inputs.join(", "),
                    self.result(&function.output)
                )
            }
            _ => "?".to_owned(),
        }
    }

    fn named(&self, name: &str) -> String {
        let primitive = match name {
            "c_void" => "void",
            "c_char" => "char",
            "c_schar" => "i8",
            "c_int" => "i32",
            "c_uint" => "u32",
            "c_long" | "c_longlong" => "i64",
            "c_ulong" | "c_ulonglong" => "u64",
            "c_float" => "f32",
            "c_double" => "f64",
            _ => "",
        };
        if !primitive.is_empty() {
            return primitive.to_owned();
        }
        // The tables name structures as the headers do, whatever these stand for.
        match self.aliases.get(name) {
            Some(of) if !self.kept.contains(name) => self.resolve(of),
            _ => name.to_owned(),
        }
    }
}

/// The number that an expression is.
fn integer(expr: &Expr) -> Option<i128> {
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => Some(-integer(&unary.expr)?),
        _ => None,
    }
}

/// How a declaration differs from its header.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// Not at all.
    None,
    /// In what no call depends on: constness, names of parameters.
    Minor(String),
    /// In what one does.
    Major(String),
}

/// How a declaration of a table differs from its header.
#[must_use]
pub fn difference(table: &Function, header: &Function) -> Difference {
    let (ours, theirs) = (table.params.len(), header.params.len());
    if ours != theirs {
        return Difference::Major(format!("{ours} parameters, {theirs} in the header"));
    }
    let loose = |of: &str| of.replace("*const ", "*mut ");
    let pairs = || table.params.iter().zip(&header.params);
    for ((name, ours), (other, theirs)) in pairs() {
        if loose(ours) != loose(theirs) {
            return Difference::Major(format!("{name}: {ours}, {other}: {theirs} in the header"));
        }
    }
    if loose(&table.result) != loose(&header.result) {
        let (ours, theirs) = (&table.result, &header.result);
        return Difference::Major(format!("returns {ours}, {theirs} in the header"));
    }
    let name = |param: &(String, String)| param.0.trim_end_matches('_').to_owned();
    let (ours, theirs): (Vec<_>, Vec<_>) = pairs().map(|(a, b)| (name(a), name(b))).unzip();
    let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    if ours != theirs && sorted(&ours) == sorted(&theirs) {
        return Difference::Major(format!(
            "({}), ({}) in the header",
            ours.join(", "),
            theirs.join(", ")
        ));
    }
    let renamed = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    if let Some((ours, theirs)) = renamed {
        return Difference::Minor(format!("{ours} is {theirs} in the header"));
    }
    match pairs().find(|((_, ours), (_, theirs))| ours != theirs) {
        Some(((name, ours), (_, theirs))) => {
            Difference::Minor(format!("{name}: {ours}, {theirs} in the header"))
        }
        None => Difference::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EXAMPLE;

    const KEPT: [&str; 2] = ["HcclRootInfo", "aclTensor"];

    #[test]
    fn aliases_are_resolved_and_structures_keep_their_names() -> Result<()> {
        let headers = Headers::parse(EXAMPLE, KEPT)?;
        let copy = &headers.functions["aclrtMemcpyAsync"];
        assert_eq!(copy.params[4], ("kind".to_owned(), "u32".to_owned()));
        assert_eq!(
            copy.params[5],
            ("stream".to_owned(), "*mut void".to_owned())
        );
        assert_eq!(copy.result, "i32");
        let launch = &headers.functions["aclrtLaunchHostFunc"];
        assert_eq!(launch.params[1].1, "fn(*mut void) -> void");
        let plan = &headers.functions["aclnnHcPreGetWorkspaceSize"];
        assert_eq!(plan.params[0].1, "*const aclTensor");
        assert_eq!(plan.params[12].1, "*mut *mut aclOpExecutor");
        Ok(())
    }

    #[test]
    fn layouts_and_values_are_read() -> Result<()> {
        let headers = Headers::parse(EXAMPLE, KEPT)?;
        assert_eq!(headers.size("HcclRootInfo"), Some(4108));
        assert_eq!(headers.alignment("HcclRootInfo"), Some(1));
        assert_eq!(headers.offset("HcclRootInfo", "internal"), Some(0));
        assert_eq!(headers.offset("HcclRootInfo", "external"), None);
        assert_eq!(headers.values.get("ACL_DT_UNDEFINED"), Some(&-1));
        assert_eq!(headers.alias("aclDataType").as_deref(), Some("i32"));
        Ok(())
    }
}
