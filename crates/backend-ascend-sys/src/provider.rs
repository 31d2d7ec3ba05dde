//! Whose declarations a table holds, and which file exports them.

/// Who declares a symbol. One name may stand for different functions of different providers, so a
/// symbol is known by its provider, the provider's version and its name together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    /// Its name.
    pub name: &'static str,
    /// The version that the declarations are of; empty where releases only add to them.
    pub version: &'static str,
    /// Whether headers are published that the declarations can be held against.
    pub has_headers: bool,
}

/// Huawei's toolkit, from 8.1 on.
pub const CANN: Provider = Provider {
    name: "cann",
    version: "",
    has_headers: true,
};
/// The custom operators of vllm-ascend for DeepSeek-V4.
pub const VLLM_ASCEND_0_23_0: Provider = Provider {
    name: "vllm_ascend",
    version: "0.23.0",
    has_headers: true,
};
/// The custom operators of vllm-ascend for DeepSeek-V4.1, of which there is no built package.
pub const VLLM_ASCEND_0_30_0RC2: Provider = Provider {
    name: "vllm_ascend",
    version: "0.30.0rc2",
    has_headers: false,
};
/// An emulator of the others, which has functions of its own.
pub const EMULATOR: Provider = Provider {
    name: "emulator",
    version: "",
    has_headers: false,
};

impl Provider {
    /// What an emulator puts before the names of this provider, because it exports several providers
    /// from one file: `emu_vllm_ascend_0_23_0_`. Nothing for those without a version.
    #[must_use]
    pub fn emulator_prefix(&self) -> String {
        if self.version.is_empty() {
            return String::new();
        }
        format!("emu_{}_{}_", self.name, self.version.replace('.', "_"))
    }
}

/// A group of files of which one exports a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// The runtime.
    Ascendcl,
    /// Operands and executors.
    NnopBase,
    /// The operators that CANN brings.
    Opapi,
    /// Collectives.
    Hccl,
    /// Custom operators.
    CustOpapi,
    /// An emulator.
    Emulator,
}

impl Library {
    /// The files of the group, in the order in which they are asked. Of the tensor layer one is enough;
    /// operators and collectives are taken from whichever exports them.
    #[must_use]
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Self::Ascendcl => &["libascendcl.so"],
            Self::NnopBase => &["libnnopbase.so", "libopapi.so"],
            // One file before CANN 8.5, several since.
            Self::Opapi => &[
                "libopapi.so",
                "libopapi_nn.so",
                "libopapi_math.so",
                "libopapi_transformer.so",
                "libopapi_cv.so",
            ],
            // CANN 9 moves communicators to a file of their own.
            Self::Hccl => &["libhccl.so", "libhcomm.so"],
            Self::CustOpapi => &["libcust_opapi.so"],
            Self::Emulator => &["libascend_emu.so"],
        }
    }
}
