//! What multiplies tiles: the unit of Intel's AMX, and a plain one that does the same.
//!
//! A tile of rows is 16 rows of 32 inputs, a tile of weights 16 pairs of inputs of 16 outputs, both
//! bf16; a tile of sums is 16 rows of 16 outputs, f32. All are 16 lines of 64 bytes.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, and
//! `TDPBF16PS` in volume 2; Linux, Documentation/arch/x86/xstate.rst.

/// Rows that go into a tile.
pub const TILE_ROWS: usize = 16;

/// Bytes of a tile.
pub const TILE_BYTES: usize = 1024;

/// Blocks of 16 rows that are multiplied at once, at most.
pub const MOST_BLOCKS: usize = 3;

/// Where the sums of blocks of 16 rows by 32 outputs lie: row after row, `stride` bytes apart. With
/// a stride of 0 all rows are the same one, which is how sums begin with a bias.
#[derive(Clone, Copy)]
pub struct SumsAt {
    pub start: *mut f32,
    pub stride: usize,
}

impl SumsAt {
    /// Those of the block of this index.
    fn block(self, index: usize) -> *mut f32 {
        self.start.wrapping_byte_add(index * TILE_ROWS * self.stride)
    }
}

/// Multiplies tiles. Between [`TileUnit::load_sums`] and [`TileUnit::store_sums`] the sums of
/// `BLOCKS` (1, 2 or 3) blocks of 16 rows by 32 outputs are in the unit.
///
/// # Safety
/// Of every method: the processor has the unit, and pointers are good for what is said at each.
pub trait TileUnit {
    /// The unit as this thread has it, made ready.
    unsafe fn new() -> Self;
    /// Reads the sums of `BLOCKS` blocks.
    unsafe fn load_sums<const BLOCKS: usize>(&mut self, from: SumsAt);
    /// Adds what 32 inputs bring: a tile of rows for each block, the tiles `apart` bytes from each
    /// other, times two tiles of weights, `[16 pairs of inputs][32 outputs]`.
    unsafe fn step<const BLOCKS: usize>(&mut self, rows: *const u8, apart: usize, weights: *const u8);
    /// Writes the sums of `BLOCKS` blocks.
    unsafe fn store_sums<const BLOCKS: usize>(&mut self, to: SumsAt);
    /// Has a cache line brought into the second cache; it may be anywhere.
    unsafe fn fetch_far(_from: *const u8) {}
    /// Has a cache line brought that is to be written; it may be anywhere.
    unsafe fn fetch_to_write(_from: *const u8) {}
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use amx::{Amx, enable};

/// Tiles without a unit, for tests on any processor.
#[cfg(test)]
pub struct Emulated {
    sums: [[[f32; 32]; TILE_ROWS]; MOST_BLOCKS],
}

#[cfg(test)]
impl TileUnit for Emulated {
    unsafe fn new() -> Self {
        // Whatever is not loaded shows.
        Self {
            sums: [[[f32::NAN; 32]; TILE_ROWS]; MOST_BLOCKS],
        }
    }

    unsafe fn load_sums<const BLOCKS: usize>(&mut self, from: SumsAt) {
        for (index, block) in self.sums[..BLOCKS].iter_mut().enumerate() {
            for (row, sums) in block.iter_mut().enumerate() {
                // SAFETY: says the caller.
                *sums = unsafe {
                    from.block(index)
                        .byte_add(row * from.stride)
                        .cast::<[f32; 32]>()
                        .read_unaligned()
                };
            }
        }
    }

    unsafe fn step<const BLOCKS: usize>(&mut self, rows: *const u8, apart: usize, weights: *const u8) {
        let number = |bits: u16| f32::from_bits(u32::from(bits) << 16);
        // SAFETY: says the caller.
        let weights = unsafe { weights.cast::<[[[u16; 2]; 32]; 16]>().read_unaligned() };
        for (index, block) in self.sums[..BLOCKS].iter_mut().enumerate() {
            // SAFETY: as above.
            let rows = unsafe {
                rows.add(index * apart)
                    .cast::<[[[u16; 2]; 16]; TILE_ROWS]>()
                    .read_unaligned()
            };
            for (row, sums) in rows.iter().zip(block) {
                for ([x0, x1], weights) in row.iter().zip(&weights) {
                    for (sum, [w0, w1]) in sums.iter_mut().zip(weights) {
                        *sum += number(*x0) * number(*w0);
                        *sum += number(*x1) * number(*w1);
                    }
                }
            }
        }
    }

    unsafe fn store_sums<const BLOCKS: usize>(&mut self, to: SumsAt) {
        for (index, block) in self.sums[..BLOCKS].iter().enumerate() {
            for (row, sums) in block.iter().enumerate() {
                // SAFETY: says the caller.
                unsafe {
                    to.block(index)
                        .byte_add(row * to.stride)
                        .cast::<[f32; 32]>()
                        .write_unaligned(*sums)
                };
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    use super::{SumsAt, TileUnit};

    /// The feature of the processor's state that tiles are, and the call that asks for it.
    const TILE_DATA: u64 = 18;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const SYS_ARCH_PRCTL: i64 = 158;

    /// Asks the kernel for tiles, once for the whole process.
    ///
    /// # Errors
    /// Why there are none: the processor, the hypervisor or the kernel does not have them.
    pub fn enable() -> Result<(), String> {
        has_tiles()?;
        let result: i64;
        // SAFETY: the call asks for a permission and touches no memory.
        unsafe {
            asm!("syscall", inlateout("rax") SYS_ARCH_PRCTL => result,
                in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") TILE_DATA,
                lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        match result {
            0 => Ok(()),
            -28 => Err("a thread's signal stack is too small for tiles (ENOSPC)".to_owned()),
            -22 => Err("the kernel is older than Linux 5.16 (EINVAL)".to_owned()),
            other => Err(format!("the kernel refuses tiles (error {})", -other)),
        }
    }

    /// What has to be there before the kernel can be asked.
    fn has_tiles() -> Result<(), String> {
        let check = |is_there: bool, why: &str| is_there.then_some(()).ok_or_else(|| why.to_owned());
        check(__cpuid(0).eax >= 0x1d, "the processor is older than tiles")?;
        let features = __cpuid_count(7, 0).edx;
        check(
            features >> 24 & 1 == 1,
            "the processor or the hypervisor has no amx_tile",
        )?;
        check(
            features >> 22 & 1 == 1,
            "the processor or the hypervisor has no amx_bf16",
        )?;
        check(__cpuid(1).ecx >> 27 & 1 == 1, "the kernel has not enabled XSAVE")?;
        let (low, _high): (u32, u32);
        // SAFETY: XSAVE is enabled, says the check before.
        unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _high, options(nomem, nostack)) };
        check(low >> 17 & 3 == 3, "the kernel does not save tiles")?;
        let shape = __cpuid_count(0x1d, 1);
        let tiles_of_16_lines = (shape.ebx >> 16, shape.ebx & 0xffff, shape.ecx & 0xffff) == (8, 64, 16);
        check(tiles_of_16_lines, "its tiles are not eight of 16 lines of 64 bytes")
    }

    /// As `ldtilecfg` reads it.
    #[repr(C, align(64))]
    struct TileConfig {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// All eight tiles 16 lines of 64 bytes.
    static CONFIG: TileConfig = TileConfig {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    /// The unit of this processor, from [`TileUnit::new`] to its drop.
    ///
    /// Sums stay in tiles between one `asm!` and the next. The compiler does not know tiles: this
    /// program is compiled without the target feature, so that nothing but this file touches
    /// them; the kernel saves them across everything else.
    pub struct Amx(());

    impl Drop for Amx {
        fn drop(&mut self) {
            // SAFETY: tiles are there, as this was made. Empty ones cost no time to save.
            unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
        }
    }

    impl TileUnit for Amx {
        #[inline(always)]
        unsafe fn fetch_far(from: *const u8) {
            // SAFETY: a fetch cannot fault.
            unsafe { asm!("prefetcht1 [{}]", in(reg) from, options(nostack, preserves_flags, readonly)) };
        }

        #[inline(always)]
        unsafe fn fetch_to_write(from: *const u8) {
            // SAFETY: as above.
            unsafe { asm!("prefetchw [{}]", in(reg) from, options(nostack, preserves_flags, readonly)) };
        }

        #[inline(always)]
        unsafe fn new() -> Self {
            // SAFETY: tiles are there, says the caller; the configuration is 64 bytes.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, preserves_flags)) };
            Self(())
        }

        #[inline(always)]
        unsafe fn load_sums<const BLOCKS: usize>(&mut self, from: SumsAt) {
            // SAFETY: says the caller.
            unsafe {
                asm!("tileloadd tmm0, [{at} + {stride}]", "tileloadd tmm1, [{at} + {stride} + 64]",
                    at = in(reg) from.block(0), stride = in(reg) from.stride, options(nostack, preserves_flags));
                if BLOCKS > 1 {
                    asm!("tileloadd tmm2, [{at} + {stride}]", "tileloadd tmm3, [{at} + {stride} + 64]",
                        at = in(reg) from.block(1), stride = in(reg) from.stride, options(nostack, preserves_flags));
                }
                if BLOCKS > 2 {
                    asm!("tileloadd tmm4, [{at} + {stride}]", "tileloadd tmm5, [{at} + {stride} + 64]",
                        at = in(reg) from.block(2), stride = in(reg) from.stride, options(nostack, preserves_flags));
                }
            }
        }

        /// Rows are read past the first cache, so that the weights stay in it.
        #[inline(always)]
        unsafe fn step<const BLOCKS: usize>(&mut self, rows: *const u8, apart: usize, weights: *const u8) {
            let (second, third) = (rows.wrapping_add(apart), rows.wrapping_add(2 * apart));
            // SAFETY: says the caller.
            unsafe {
                match BLOCKS {
                    1 => asm!(
                        "tileloaddt1 tmm2, [{a} + {line}]",
                        "tileloadd tmm6, [{b} + 2*{line}]",
                        "tileloadd tmm7, [{b} + 2*{line} + 64]",
                        "tdpbf16ps tmm0, tmm2, tmm6",
                        "tdpbf16ps tmm1, tmm2, tmm7",
                        a = in(reg) rows, b = in(reg) weights, line = in(reg) 64usize,
                        options(nostack, preserves_flags)),
                    2 => asm!(
                        "tileloaddt1 tmm4, [{a0} + {line}]",
                        "tileloaddt1 tmm5, [{a1} + {line}]",
                        "tileloadd tmm6, [{b} + 2*{line}]",
                        "tileloadd tmm7, [{b} + 2*{line} + 64]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                        a0 = in(reg) rows, a1 = in(reg) second, b = in(reg) weights, line = in(reg) 64usize,
                        options(nostack, preserves_flags)),
                    // With sums in six tiles each operand has one, and rows are read twice.
                    _ => asm!(
                        "tileloadd tmm6, [{b} + 2*{line}]",
                        "tileloadd tmm7, [{a0} + {line}]",
                        "tdpbf16ps tmm0, tmm7, tmm6",
                        "tileloadd tmm7, [{a1} + {line}]",
                        "tdpbf16ps tmm2, tmm7, tmm6",
                        "tileloadd tmm7, [{a2} + {line}]",
                        "tdpbf16ps tmm4, tmm7, tmm6",
                        "tileloadd tmm6, [{b} + 2*{line} + 64]",
                        "tdpbf16ps tmm5, tmm7, tmm6",
                        "tileloadd tmm7, [{a0} + {line}]",
                        "tdpbf16ps tmm1, tmm7, tmm6",
                        "tileloadd tmm7, [{a1} + {line}]",
                        "tdpbf16ps tmm3, tmm7, tmm6",
                        a0 = in(reg) rows, a1 = in(reg) second, a2 = in(reg) third,
                        b = in(reg) weights, line = in(reg) 64usize,
                        options(nostack, preserves_flags)),
                }
            }
        }

        #[inline(always)]
        unsafe fn store_sums<const BLOCKS: usize>(&mut self, to: SumsAt) {
            // SAFETY: says the caller.
            unsafe {
                asm!("tilestored [{at} + {stride}], tmm0", "tilestored [{at} + {stride} + 64], tmm1",
                    at = in(reg) to.block(0), stride = in(reg) to.stride, options(nostack, preserves_flags));
                if BLOCKS > 1 {
                    asm!("tilestored [{at} + {stride}], tmm2", "tilestored [{at} + {stride} + 64], tmm3",
                        at = in(reg) to.block(1), stride = in(reg) to.stride, options(nostack, preserves_flags));
                }
                if BLOCKS > 2 {
                    asm!("tilestored [{at} + {stride}], tmm4", "tilestored [{at} + {stride} + 64], tmm5",
                        at = in(reg) to.block(2), stride = in(reg) to.stride, options(nostack, preserves_flags));
                }
            }
        }
    }
}
