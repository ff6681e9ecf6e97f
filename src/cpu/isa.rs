//! Instruction sets: which of them this processor has, and functions compiled for each.
//!
//! One generic source, compiled once for each instruction set and chosen at run time, so
//! that a program built anywhere is fast everywhere.

use std::sync::LazyLock;

use super::format::WeightFormat;
use super::lanes::{self, Lanes};
use super::tile_product::{self, Unit};

/// The variable that names an instruction set in place of the best one.
pub const VARIABLE: &str = "GLIMPSE_ISA";

/// An instruction set that this processor has.
///
/// There is no other way to one than [`Isa::all`], which asks the processor: whoever holds an
/// `Isa` may run what was compiled for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

/// The instruction sets that kernels are compiled for, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Tiles of bf16 beside the next one (Intel's servers, Sapphire Rapids and later).
    AmxBf16,
    /// AVX-512 with dot products of bf16 pairs and permutations of bytes (Zen 4, Sapphire Rapids and later).
    Avx512Bf16,
    Avx512,
    Avx2,
    /// Whatever the program was built for; NEON on ARM.
    Baseline,
}

impl Level {
    const ALL: [Self; 5] = [
        Self::AmxBf16,
        Self::Avx512Bf16,
        Self::Avx512,
        Self::Avx2,
        Self::Baseline,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AmxBf16 => "amx-bf16",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Baseline => "baseline",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_here(self) -> bool {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        match self {
            Self::AmxBf16 => Self::Avx512Bf16.is_here() && has_tiles(),
            Self::Avx512Bf16 => {
                avx512 && is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vbmi")
            }
            Self::Avx512 => avx512,
            Self::Avx2 => avx2,
            Self::Baseline => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_here(self) -> bool {
        self == Self::Baseline
    }
}

/// Why an instruction set that was asked for cannot be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IsaError {
    #[error("{VARIABLE} is {0}, which is no instruction set that Glimpse knows. Use {here}, or unset it for the best.", here = Isa::names())]
    Unknown(String),
    #[error("{VARIABLE} is {0}, which this machine's processor does not have. Use {here}, or unset it for the best.", here = Isa::names())]
    NotHere(String),
}

impl Isa {
    /// All that this processor has, the best first.
    pub fn all() -> Vec<Self> {
        Level::ALL
            .into_iter()
            .filter(|level| level.is_here())
            .map(Self)
            .collect()
    }

    /// The one that `GLIMPSE_ISA` names, or the best that this processor has.
    ///
    /// # Errors
    /// The variable names none, or one that this processor does not have.
    pub fn from_env() -> Result<Self, IsaError> {
        match std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) {
            Some(name) => Self::named(&name.to_string_lossy()),
            None => Ok(Self::all()[0]), // the baseline is everywhere
        }
    }

    fn named(name: &str) -> Result<Self, IsaError> {
        let wanted = name.to_ascii_lowercase();
        let level = Level::ALL.into_iter().find(|level| level.name() == wanted);
        let level = level.ok_or_else(|| IsaError::Unknown(name.into()))?;
        if level.is_here() {
            Ok(Self(level))
        } else {
            Err(IsaError::NotHere(name.into()))
        }
    }

    /// What all kernels of this process run on.
    ///
    /// # Panics
    /// `GLIMPSE_ISA` cannot be followed: a run that was to be on one instruction set must not
    /// pass on another. The program has checked [`Isa::from_env`] before.
    pub fn current() -> Self {
        static CURRENT: LazyLock<Isa> = LazyLock::new(|| Isa::from_env().unwrap_or_else(|error| panic!("{error}")));
        *CURRENT
    }

    /// What `GLIMPSE_ISA` calls it.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether weights of this format are multiplied as pairs of bf16: where such products are faster than
    /// those of f32. They are twice as fast on AMD's, and half as fast on Intel's.
    pub fn multiplies_pairs(self, format: WeightFormat) -> bool {
        self.0 == Level::Avx512Bf16 && !is_intel() && tile_product::suits(format)
    }

    /// Whether its lanes can multiply pairs of bf16 at all, however fast.
    #[cfg(test)]
    pub(super) fn has_pairs(self) -> bool {
        self.0 != Level::Avx512
    }

    /// What multiplies weights of this format in tiles, if anything does.
    pub(super) fn tile_unit(self, format: WeightFormat) -> Option<Unit> {
        (self.0 == Level::AmxBf16 && tile_product::suits(format)).then_some(Unit::Amx)
    }

    /// [`Lanes::TILE_ROWS`] and [`Lanes::TOKENS`].
    pub(super) fn rows_at_once(self) -> (usize, usize) {
        fn of<L: Lanes>() -> (usize, usize) {
            (L::TILE_ROWS, L::TOKENS)
        }
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::AmxBf16 | Level::Avx512Bf16 | Level::Avx512 => of::<lanes::Avx512Lanes>(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => of::<lanes::Avx2Lanes>(),
            _ => of::<lanes::BaselineLanes>(),
        }
    }

    pub(super) fn level(self) -> Level {
        self.0
    }

    /// What `GLIMPSE_ISA` may be on this machine.
    fn names() -> String {
        let names: Vec<&str> = Self::all().into_iter().map(Self::name).collect();
        names.join(" or ")
    }
}

/// Whether the kernel lets this process use tiles, and they multiply as they should.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    static HAS_TILES: LazyLock<bool> = LazyLock::new(|| {
        if let Err(why) = super::tile_unit::enable() {
            tracing::debug!("no tiles: {why}");
            return false;
        }
        let is_right = tile_product::is_right(Isa(Level::AmxBf16), Unit::Amx);
        if !is_right {
            tracing::warn!("this processor's tiles (AMX) multiply wrongly, and are not used");
        }
        is_right
    });
    *HAS_TILES
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn has_tiles() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    // Asked once: in a virtual machine the question takes longer than a small product.
    static IS_INTEL: LazyLock<bool> = LazyLock::new(|| {
        // EBX, EDX and ECX spell the vendor's name.
        let vendor = std::arch::x86_64::__cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
    });
    *IS_INTEL
}

#[cfg(not(target_arch = "x86_64"))]
fn is_intel() -> bool {
    false
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One function for each instruction set, so that a generic one and what is
/// inlined into it is compiled for each.
///
/// The generic function is an `unsafe fn` over [`Lanes`], because it must
/// be compiled for the instruction set of its lanes. Where that is all that it asks of its
/// caller, the function made here is safe: an [`Isa`] is there by its existence. Where it asks
/// more (`unsafe` in front of the name), so does the function made here.
macro_rules! compiled_for_each {
    ($visibility:vis $name:ident, $generic:ident, $task:ty) => {
        /// Runs the task on an instruction set that this processor has.
        $visibility fn $name(isa: $crate::cpu::Isa, task: $task) {
            // SAFETY: the generic function asks for the instruction set alone, and an `Isa` is
            // of this processor.
            unsafe { compiled_for_each!(@dispatch isa, task, $generic, $task) }
        }
    };
    ($visibility:vis unsafe $name:ident, $generic:ident, $task:ty) => {
        /// Runs the task on an instruction set that this processor has.
        ///
        /// # Safety
        /// As the generic function asks, but for the instruction set: an `Isa` is of this processor.
        $visibility unsafe fn $name(isa: $crate::cpu::Isa, task: $task) {
            // SAFETY: handed on to the caller.
            unsafe { compiled_for_each!(@dispatch isa, task, $generic, $task) }
        }
    };
    (@dispatch $isa:ident, $value:ident, $generic:ident, $task:ty) => {{
        #[cfg(target_arch = "x86_64")]
        mod compiled {
            use super::*;

            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx512vbmi,avx2,fma,f16c")]
            pub unsafe fn avx512_bf16(task: $task) {
                unsafe { $generic::<$crate::cpu::lanes::Avx512Lanes>(task) }
            }

            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
            pub unsafe fn avx512(task: $task) {
                unsafe { $generic::<$crate::cpu::lanes::Avx512Lanes>(task) }
            }

            #[target_feature(enable = "avx2,fma,f16c")]
            pub unsafe fn avx2(task: $task) {
                unsafe { $generic::<$crate::cpu::lanes::Avx2Lanes>(task) }
            }
        }
        match $isa.level() {
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::isa::Level::AmxBf16 | $crate::cpu::isa::Level::Avx512Bf16 => compiled::avx512_bf16($value),
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::isa::Level::Avx512 => compiled::avx512($value),
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::isa::Level::Avx2 => compiled::avx2($value),
            _ => $generic::<$crate::cpu::lanes::BaselineLanes>($value),
        }
    }};
}

pub(super) use compiled_for_each;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_set_is_had_by_its_name_only_where_the_processor_has_it() {
        let all = Isa::all();
        for level in Level::ALL {
            match Isa::named(&level.name().to_uppercase()) {
                Ok(isa) => assert!(all.contains(&isa), "{isa:?}"),
                Err(error) => assert!(
                    matches!(&error, IsaError::NotHere(_)) && !all.iter().any(|isa| isa.level() == level),
                    "{error}"
                ),
            }
        }
        let error = Isa::named("sse9").expect_err("there is none").to_string();
        assert!(
            error.contains("GLIMPSE_ISA is sse9") && error.contains("baseline"),
            "{error}"
        );
    }
}
