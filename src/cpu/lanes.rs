//! What the kernels need of a processor: sixteen f32 lanes at a time.

/// Numbers that a kernel handles at a time.
pub const LANES: usize = 16;

/// The sum of numbers, in as many parts as there are lanes: fast, and closer than one part.
#[inline(always)]
pub fn sum(numbers: &[f32]) -> f32 {
    let (whole, rest) = numbers.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for numbers in whole {
        for i in 0..LANES {
            sums[i] += numbers[i];
        }
    }
    for (sum, number) in sums.iter_mut().zip(rest) {
        *sum += number;
    }
    reduce(sums, |a, b| a + b)
}

/// So many numbers, a power of two, made one: half with half.
#[inline(always)]
pub fn reduce<T: Copy, const N: usize>(mut numbers: [T; N], two: impl Fn(T, T) -> T) -> T {
    let mut width = N / 2;
    while width > 0 {
        for i in 0..width {
            numbers[i] = two(numbers[i], numbers[i + width]);
        }
        width /= 2;
    }
    numbers[0]
}

/// The maximum of numbers; NaNs are passed over.
#[inline(always)]
pub fn maximum(numbers: &[f32]) -> f32 {
    let (whole, rest) = numbers.as_chunks::<LANES>();
    let mut maximum = [f32::NEG_INFINITY; LANES];
    for numbers in whole {
        for i in 0..LANES {
            maximum[i] = if numbers[i] > maximum[i] {
                numbers[i]
            } else {
                maximum[i]
            };
        }
    }
    let all = maximum.iter().chain(rest);
    all.fold(f32::NEG_INFINITY, |maximum, x| maximum.max(*x))
}

/// `e^x` for `x <= 0` within two units of the last place: a power of two by the exponent's
/// bits times a polynomial on half a power to either side (Cephes' coefficients).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    /// ln 2 in two parts, the first short enough to be exact when it is multiplied.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // Below, the result is not a normal number any more: it is taken for zero.
    let clamped = x.max(-87.0);
    let power = (clamped * std::f32::consts::LOG2_E - 0.5) as i32 as f32;
    let rest = clamped - power * LN_2.0 - power * LN_2.1;
    let mut polynomial = 0.0;
    for coefficient in COEFFICIENTS {
        polynomial = polynomial * rest + coefficient;
    }
    let scale = f32::from_bits((((power as i32) + 127) as u32) << 23);
    let value = (polynomial * rest * rest + rest + 1.0) * scale;
    // A NaN stays one: what is added is zero elsewhere.
    if x < -87.0 { 0.0 } else { value + (x - clamped) }
}

/// Sixteen f32 numbers.
///
/// # Safety
/// Of every method: pointers are good for sixteen numbers (or pairs, or bytes: see each), in
/// any alignment, and the caller was compiled for the instruction set of the implementor, as
/// `compiled_for_each` sees to.
#[expect(
    clippy::missing_safety_doc,
    reason = "one contract holds for all methods, and stands above"
)]
pub trait Lanes: Copy {
    /// Rows of a product whose sums stay in registers, beside the weights that they are summed
    /// with: at most 12.
    const TILE_ROWS: usize;

    /// Whether those are the sums of a panel's 32 outputs; of sixteen where not.
    const WHOLE_PANEL: bool;

    /// Rows of tokens that are multiplied at once with weights as they are stored: as many
    /// as keep all multipliers busy, at most 12 and a divisor of 32.
    const TOKENS: usize;

    /// Whether converting weights to f32 is a matter of few instructions.
    const CONVERTS: bool;

    /// Has the cache line at this place fetched, which may be anywhere; nothing where the
    /// processor cannot be asked.
    unsafe fn fetch(_from: *const u8) {}
    /// The same number in all lanes.
    unsafe fn splat(x: f32) -> Self;
    /// Sixteen numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Sixteen numbers.
    unsafe fn store(self, to: *mut f32);
    /// Lane by lane.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + sum`
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self;
    /// The bits of sixteen f16, as f32: exact.
    unsafe fn load_f16(from: *const u16) -> Self;
    /// Rounds to the nearest, ties to even.
    unsafe fn store_f16(self, to: *mut u16);
    /// Sixteen bytes with their sign, as f32.
    unsafe fn load_i8(from: *const i8) -> Self;
    /// Sixteen bytes: their low halves, then their high halves.
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self);
    /// Sixteen pairs of bf16: the first of each, then the second of each.
    unsafe fn load_pairs(from: *const u32) -> (Self, Self);
    /// Rounds to bf16 and stores as pairs.
    unsafe fn store_pairs(first: Self, second: Self, to: *mut u32);
    /// Thirty-two numbers rounded to bf16, each with its neighbour, as sixteen pairs.
    #[inline(always)]
    unsafe fn neighbours_as_pairs(from: *const f32, to: *mut u32) {
        for index in 0..LANES {
            unsafe {
                to.add(index)
                    .write(pair(*from.add(2 * index), *from.add(2 * index + 1)))
            };
        }
    }
    /// Thirty-two bytes with their sign and another thirty-two behind them, as that many pairs of bf16,
    /// one of each a pair: exact. None is -128, which `q8_0` does not have.
    #[inline(always)]
    unsafe fn i8_as_pairs(from: *const i8, to: *mut u32) {
        for half in [0, LANES] {
            unsafe {
                let (first, second) = (Self::load_i8(from.add(half)), Self::load_i8(from.add(2 * LANES + half)));
                Self::store_pairs(first, second, to.add(half));
            }
        }
    }
    /// Thirty-two bytes as that many pairs of bf16, of their low halves and their high halves: exact.
    #[inline(always)]
    unsafe fn nibbles_as_pairs(from: *const u8, to: *mut u32) {
        for half in [0, LANES] {
            unsafe {
                let (first, second) = Self::load_nibbles(from.add(half));
                Self::store_pairs(first, second, to.add(half));
            }
        }
    }
    /// `self + a.first * b.first + a.second * b.second` on pairs of bf16: `a` is one pair
    /// for all lanes, `b` sixteen.
    unsafe fn dot_pairs(self, a: u32, b: *const u32) -> Self;
}

/// Sixteen lanes in plain Rust, which the compiler turns into what it is compiled for.
/// `FUSED` says whether that has a fused multiply-add.
#[derive(Clone, Copy)]
pub struct Portable<const FUSED: bool>([f32; LANES]);

impl<const FUSED: bool> Portable<FUSED> {
    #[inline(always)]
    fn from_fn(f: impl Fn(usize) -> f32) -> Self {
        Self(std::array::from_fn(f))
    }
}

impl<const FUSED: bool> Lanes for Portable<FUSED> {
    /// On ARM twenty-four of NEON's thirty-two registers, elsewhere eight of SSE's sixteen.
    const TILE_ROWS: usize = if FUSED { 6 } else { 2 };
    const WHOLE_PANEL: bool = false;
    const TOKENS: usize = if FUSED { 4 } else { 2 };
    const CONVERTS: bool = false;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self::from_fn(|i| self.0[i] * other.0[i])
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        Self::from_fn(|i| {
            if FUSED {
                self.0[i].mul_add(factor.0[i], sum.0[i])
            } else {
                self.0[i] * factor.0[i] + sum.0[i]
            }
        })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        let halves = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        Self::from_fn(|i| f16_to_f32(halves[i]))
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16) {
        let halves = self.0.map(|x| half::f16::from_f32(x).to_bits());
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(halves) }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        let bytes = unsafe { from.cast::<[i8; LANES]>().read_unaligned() };
        Self::from_fn(|i| f32::from(bytes[i]))
    }

    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
        let bytes = unsafe { from.cast::<[u8; LANES]>().read_unaligned() };
        (
            Self::from_fn(|i| f32::from(bytes[i] & 15)),
            Self::from_fn(|i| f32::from(bytes[i] >> 4)),
        )
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> (Self, Self) {
        let pairs = unsafe { from.cast::<[u32; LANES]>().read_unaligned() };
        (
            Self::from_fn(|i| f32::from_bits(pairs[i] << 16)),
            Self::from_fn(|i| f32::from_bits(pairs[i] & 0xffff_0000)),
        )
    }

    #[inline(always)]
    unsafe fn store_pairs(first: Self, second: Self, to: *mut u32) {
        let pairs: [u32; LANES] = std::array::from_fn(|i| pair(first.0[i], second.0[i]));
        unsafe { to.cast::<[u32; LANES]>().write_unaligned(pairs) }
    }

    #[inline(always)]
    unsafe fn dot_pairs(self, a: u32, b: *const u32) -> Self {
        let (first, second) = unsafe { Self::load_pairs(b) };
        let (a_first, a_second) = (f32::from_bits(a << 16), f32::from_bits(a & 0xffff_0000));
        Self::from_fn(|i| self.0[i] + a_first * first.0[i] + a_second * second.0[i])
    }
}

/// The lanes of what the program was built for.
pub type BaselineLanes = Portable<{ cfg!(target_arch = "aarch64") }>;

/// Half precision to single without a table or a branch: scaling by a power of two
/// normalises what is subnormal; infinities stay beyond every finite number.
#[inline(always)]
fn f16_to_f32(half: u16) -> f32 {
    let magnitude = u32::from(half & 0x7fff) << 13;
    let sign = u32::from(half & 0x8000) << 16;
    let value = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000); // 2^112
    let value = if half & 0x7c00 == 0x7c00 {
        f32::from_bits(magnitude | 0x7f80_0000)
    } else {
        value
    };
    f32::from_bits(value.to_bits() | sign)
}

/// Two numbers rounded to bf16 (nearest, ties to even), the first in the low half.
#[inline(always)]
pub fn pair(first: f32, second: f32) -> u32 {
    (bf16_bits(second) << 16) | bf16_bits(first)
}

#[inline(always)]
fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    // A NaN must not round to infinity.
    if x.is_nan() {
        return (bits >> 16) | 0x40;
    }
    (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2Lanes, Avx512Lanes};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes, pair};

    /// Sixteen lanes in two AVX registers.
    #[derive(Clone, Copy)]
    pub struct Avx2Lanes([__m256; 2]);

    /// How many numbers one of them has.
    const HALF: usize = LANES / 2;

    // SAFETY of every method: see the trait; loads and stores are the unaligned ones.
    impl Lanes for Avx2Lanes {
        /// Twelve of the sixteen registers; two more for weights, one for a row's number.
        const TILE_ROWS: usize = 6;
        const WHOLE_PANEL: bool = false;
        const TOKENS: usize = 4;
        const CONVERTS: bool = true;

        #[inline(always)]
        unsafe fn fetch(from: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Self([unsafe { _mm256_set1_ps(x) }; 2])
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self([_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(HALF))]) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                _mm256_storeu_ps(to, self.0[0]);
                _mm256_storeu_ps(to.add(HALF), self.0[1]);
            }
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            let ([a, b], [c, d]) = (self.0, other.0);
            unsafe { Self([_mm256_mul_ps(a, c), _mm256_mul_ps(b, d)]) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            let ([a, b], [c, d], [e, f]) = (self.0, factor.0, sum.0);
            unsafe { Self([_mm256_fmadd_ps(a, c, e), _mm256_fmadd_ps(b, d, f)]) }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            unsafe {
                let first = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
                let second = _mm256_cvtph_ps(_mm_loadu_si128(from.add(HALF).cast()));
                Self([first, second])
            }
        }

        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16) {
            unsafe {
                let [first, second] = self.0;
                let first = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(first);
                let second = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(second);
                _mm_storeu_si128(to.cast(), first);
                _mm_storeu_si128(to.add(HALF).cast(), second);
            }
        }

        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> Self {
            unsafe {
                let first = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()));
                let second = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(HALF).cast()));
                Self([_mm256_cvtepi32_ps(first), _mm256_cvtepi32_ps(second)])
            }
        }

        #[inline(always)]
        unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
            unsafe {
                let first = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
                let second = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(HALF).cast()));
                let fifteen = _mm256_set1_epi32(15);
                let low = [_mm256_and_si256(first, fifteen), _mm256_and_si256(second, fifteen)];
                let high = [_mm256_srli_epi32::<4>(first), _mm256_srli_epi32::<4>(second)];
                (
                    Self([_mm256_cvtepi32_ps(low[0]), _mm256_cvtepi32_ps(low[1])]),
                    Self([_mm256_cvtepi32_ps(high[0]), _mm256_cvtepi32_ps(high[1])]),
                )
            }
        }

        #[inline(always)]
        unsafe fn load_pairs(from: *const u32) -> (Self, Self) {
            unsafe {
                let left = _mm256_loadu_si256(from.cast());
                let right = _mm256_loadu_si256(from.add(HALF).cast());
                let upper = _mm256_set1_epi32(-0x1_0000);
                let first = [_mm256_slli_epi32::<16>(left), _mm256_slli_epi32::<16>(right)];
                let second = [_mm256_and_si256(left, upper), _mm256_and_si256(right, upper)];
                (
                    Self([_mm256_castsi256_ps(first[0]), _mm256_castsi256_ps(first[1])]),
                    Self([_mm256_castsi256_ps(second[0]), _mm256_castsi256_ps(second[1])]),
                )
            }
        }

        #[inline(always)]
        unsafe fn store_pairs(first: Self, second: Self, to: *mut u32) {
            // Nothing is rounded to pairs where there is no instruction for them.
            let (mut firsts, mut seconds) = ([0.0; LANES], [0.0; LANES]);
            unsafe {
                first.store(firsts.as_mut_ptr());
                second.store(seconds.as_mut_ptr());
                for i in 0..LANES {
                    to.add(i).write_unaligned(pair(firsts[i], seconds[i]));
                }
            }
        }

        #[inline(always)]
        unsafe fn dot_pairs(self, a: u32, b: *const u32) -> Self {
            unsafe {
                let (first, second) = Self::load_pairs(b);
                let sum = first.mul_add(Self::splat(f32::from_bits(a << 16)), self);
                second.mul_add(Self::splat(f32::from_bits(a & 0xffff_0000)), sum)
            }
        }
    }

    /// The bytes of whole numbers in bf16, which has eight bits for them: up to 127 they are exact.
    struct WholeAsBf16 {
        low: Aligned<128>,
        high: Aligned<128>,
        /// Sixteen low bytes, sixteen high ones; nobody asks for the rest.
        of_nibbles: Aligned<64>,
    }

    #[repr(align(64))]
    struct Aligned<const N: usize>([u8; N]);

    static WHOLE_AS_BF16: WholeAsBf16 = {
        let (mut low, mut high, mut of_nibbles) = ([0; 128], [0; 128], [0; 64]);
        let mut number = 0;
        while number < 128 {
            let [.., third, fourth] = (number as f32).to_le_bytes();
            (low[number], high[number]) = (third, fourth);
            if number < 16 {
                (of_nibbles[number], of_nibbles[16 + number]) = (third, fourth);
            }
            number += 1;
        }
        WholeAsBf16 {
            low: Aligned(low),
            high: Aligned(high),
            of_nibbles: Aligned(of_nibbles),
        }
    };

    /// Of two rows of 32 bytes, four from each by turns for the lower half of a lane of sixteen, and the same
    /// sixteen columns further on for its upper half.
    static INTERLEAVED: Aligned<64> = {
        let mut order = [0; 64];
        let mut place = 0;
        while place < 64 {
            let (lane, upper, column) = (place / 16, place % 16 / 8, place % 8 / 2);
            order[place] = (place % 2 * 32 + upper * LANES + lane * 4 + column) as u8;
            place += 1;
        }
        Aligned(order)
    };

    /// The bytes of a table at the low seven bits of each byte.
    ///
    /// # Safety
    /// The processor has AVX512_VBMI.
    #[inline(always)]
    unsafe fn look_up(table: &Aligned<128>, index: __m512i) -> __m512i {
        unsafe {
            let first = _mm512_loadu_si512(table.0.as_ptr().cast());
            let second = _mm512_loadu_si512(table.0.as_ptr().add(64).cast());
            _mm512_permutex2var_epi8(first, index, second)
        }
    }

    /// Sixteen lanes in one AVX-512 register. Pairs need AVX512_BF16 and AVX512_VBMI.
    #[derive(Clone, Copy)]
    pub struct Avx512Lanes(__m512);

    // SAFETY of every method: see the trait; loads and stores are the unaligned ones.
    impl Lanes for Avx512Lanes {
        const TILE_ROWS: usize = 12;
        const WHOLE_PANEL: bool = true;
        const TOKENS: usize = 8;
        const CONVERTS: bool = true;

        #[inline(always)]
        unsafe fn fetch(from: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
        }

        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16) {
            unsafe {
                let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
                _mm256_storeu_si256(to.cast(), halves);
            }
        }

        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> Self {
            Self(unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) })
        }

        #[inline(always)]
        unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
            unsafe {
                let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
                let low = _mm512_and_si512(bytes, _mm512_set1_epi32(15));
                let high = _mm512_srli_epi32::<4>(bytes);
                (Self(_mm512_cvtepi32_ps(low)), Self(_mm512_cvtepi32_ps(high)))
            }
        }

        #[inline(always)]
        unsafe fn load_pairs(from: *const u32) -> (Self, Self) {
            unsafe {
                let pairs = _mm512_loadu_si512(from.cast());
                let first = _mm512_slli_epi32::<16>(pairs);
                let second = _mm512_and_si512(pairs, _mm512_set1_epi32(-0x1_0000));
                (Self(_mm512_castsi512_ps(first)), Self(_mm512_castsi512_ps(second)))
            }
        }

        #[inline(always)]
        unsafe fn store_pairs(first: Self, second: Self, to: *mut u32) {
            unsafe {
                let first: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(first.0));
                let second: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(second.0));
                let second = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(second));
                _mm512_storeu_si512(to.cast(), _mm512_or_si512(_mm512_cvtepu16_epi32(first), second));
            }
        }

        #[inline(always)]
        unsafe fn neighbours_as_pairs(from: *const f32, to: *mut u32) {
            unsafe {
                let (first, second) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(LANES)));
                let pairs: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(second, first));
                _mm512_storeu_si512(to.cast(), pairs);
            }
        }

        #[inline(always)]
        unsafe fn i8_as_pairs(from: *const i8, to: *mut u32) {
            unsafe {
                // Sixteen bytes of outputs that one register of pairs has, and sixteen of the other, in each lane.
                let order = _mm512_loadu_si512(INTERLEAVED.0.as_ptr().cast());
                let bytes = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(from.cast()));
                let magnitude = _mm512_abs_epi8(bytes);
                let low = look_up(&WHOLE_AS_BF16.low, magnitude);
                let high = look_up(&WHOLE_AS_BF16.high, magnitude);
                // high | (bytes & sign)
                let sign = _mm512_set1_epi8(i8::MIN);
                let high = _mm512_ternarylogic_epi32::<0xf8>(high, bytes, sign);
                _mm512_storeu_si512(to.cast(), _mm512_unpacklo_epi8(low, high));
                _mm512_storeu_si512(to.add(LANES).cast(), _mm512_unpackhi_epi8(low, high));
            }
        }

        #[inline(always)]
        unsafe fn nibbles_as_pairs(from: *const u8, to: *mut u32) {
            unsafe {
                // Sixteen numbers' low bytes, and then their high ones.
                let table = _mm512_loadu_si512(WHOLE_AS_BF16.of_nibbles.0.as_ptr().cast());
                let shifts = _mm512_set1_epi64(0x0c0c_0808_0404_0000);
                let (fifteen, high) = (_mm512_set1_epi8(15), _mm512_set1_epi16(0x1000));
                for half in [0, LANES] {
                    let bytes = _mm512_cvtepu16_epi64(_mm_loadu_si128(from.add(half).cast()));
                    let each = _mm512_multishift_epi64_epi8(shifts, bytes);
                    // (each & fifteen) | high
                    let index = _mm512_ternarylogic_epi32::<0xf8>(high, each, fifteen);
                    _mm512_storeu_si512(to.add(half).cast(), _mm512_permutexvar_epi8(index, table));
                }
            }
        }

        #[inline(always)]
        unsafe fn dot_pairs(self, a: u32, b: *const u32) -> Self {
            unsafe {
                let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(a.cast_signed()));
                let b: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.cast()));
                Self(_mm512_dpbf16_ps(self.0, a, b))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::{Isa, compiled_for_each};
    use super::*;

    #[test]
    fn the_exponential_is_libms_within_rounding() {
        for step in 0..=90_000 {
            let x = -step as f32 * 1e-3;
            let (ours, libm) = (exp(x), x.exp());
            assert!(
                (ours - libm).abs() <= 3e-7 * libm + 1e-37,
                "exp({x}) = {ours}, libm says {libm}"
            );
        }
    }

    #[test]
    fn half_precision_is_read_as_ieee_says() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(f16_to_f32(bits), value, "{bits:#06x}");
        }
        assert!(f16_to_f32(0x7e00).is_nan());
    }

    struct AsPairs {
        bytes: [u8; 64],
        whole: [u32; 32],
        nibbles: [u32; 32],
        numbers: [u32; 16],
    }

    /// # Safety
    /// Compiled for the instruction set of `L`.
    #[inline(always)]
    unsafe fn as_pairs<L: Lanes>(task: &mut AsPairs) {
        let numbers = task.bytes.map(|byte| f32::from(byte) / 3.0);
        unsafe {
            L::i8_as_pairs(task.bytes.as_ptr().cast(), task.whole.as_mut_ptr());
            L::nibbles_as_pairs(task.bytes.as_ptr(), task.nibbles.as_mut_ptr());
            L::neighbours_as_pairs(numbers.as_ptr(), task.numbers.as_mut_ptr());
        }
    }

    compiled_for_each!(as_pairs_on, as_pairs, &mut AsPairs);

    #[test]
    fn all_whole_numbers_become_pairs_of_themselves_on_every_instruction_set() {
        for isa in Isa::all().into_iter().filter(|isa| isa.has_pairs()) {
            for first in (0..=255u8).step_by(32) {
                let bytes = std::array::from_fn(|place| match first.wrapping_add((place * 5) as u8) {
                    0x80 => 0x81, // there is no -128
                    byte => byte,
                });
                let (whole, nibbles, numbers) = ([0; 32], [0; 32], [0; 16]);
                let mut got = AsPairs {
                    bytes,
                    whole,
                    nibbles,
                    numbers,
                };
                as_pairs_on(isa, &mut got);
                for place in 0..32 {
                    let [one, two] = [bytes[place], bytes[place + 32]].map(|byte| f32::from(byte.cast_signed()));
                    assert_eq!(got.whole[place], pair(one, two), "{isa:?}");
                    let [low, high] = [bytes[place] & 15, bytes[place] >> 4].map(f32::from);
                    assert_eq!(got.nibbles[place], pair(low, high), "{isa:?}");
                }
                for (two, got) in bytes.as_chunks::<2>().0[..16].iter().zip(got.numbers) {
                    let [one, two] = two.map(|byte| f32::from(byte) / 3.0);
                    assert_eq!(got, pair(one, two), "{isa:?}");
                }
            }
        }
    }

    #[test]
    fn bf16_rounds_ties_to_even() {
        assert_eq!(pair(1.0, -2.0), 0xc000_3f80);
        assert_eq!(bf16_bits(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(bf16_bits(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert!(f32::from_bits(bf16_bits(f32::NAN) << 16).is_nan());
    }
}
