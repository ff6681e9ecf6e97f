//! Transparent pixels over a white ground.

/// One 8-bit channel of a pixel of opacity `alpha`, over white.
///
/// Pillow's `alpha_composite` onto an opaque white picture, in its fixed-point
/// arithmetic (7 fractional bits, division by 255 as two shifts), so that the
/// last bit agrees too.
pub(super) fn over_white(channel: u8, alpha: u8) -> u8 {
    const FRACTION_BITS: u32 = 7;
    let source_weight = u32::from(alpha) << FRACTION_BITS;
    let ground_weight = (255 << FRACTION_BITS) - source_weight;
    let sum = u32::from(channel) * source_weight + 255 * ground_weight + (0x80 << FRACTION_BITS);
    // The result is at most 255: the weights add up to 255 << FRACTION_BITS.
    ((((sum >> 8) + sum) >> 8) >> FRACTION_BITS) as u8
}

/// How the colours of transparent pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    /// As if the pixel were opaque.
    Straight,
    /// Multiplied with the opacity already.
    Premultiplied,
}

impl Alpha {
    /// One 8-bit channel of a pixel of opacity `alpha`, over white.
    pub(super) fn over_white(self, channel: u8, alpha: u8) -> u8 {
        match self {
            Self::Straight => over_white(channel, alpha),
            Self::Premultiplied => channel.saturating_add(255 - alpha),
        }
    }
}
