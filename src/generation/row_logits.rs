//! The logits behind a pass, as much of them as answers need.
//!
//! A greedy answer whose rules change nothing needs one id and its probability. On a GPU both are
//! found where the logits lie: a vocabulary of 50,000 in f32 would be 200 KB a row and a step.

use std::sync::OnceLock;

use candle_core::{D, DType, Device, Result, Tensor};

/// What an answer needs to know of the logits behind each of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Every one: rules change them, a token is drawn, or beams compare them.
    AllLogits,
    /// The likeliest token and its probability.
    BestToken,
}

/// The logits behind a row, or what is needed of them.
#[derive(Clone, Debug, PartialEq)]
pub enum RowLogits {
    /// `[vocabulary]`, before any rule.
    All(Vec<f32>),
    /// The first of the tokens with the greatest logit, and the natural logarithm of its probability.
    BestToken { id: u32, logprob: f32 },
}

/// Brings logits to the host, as much of them as is needed.
pub struct LogitsReader {
    is_on_host: bool,
    /// How far each token is from the end of the vocabulary, `[vocabulary]` in f32, which is exact below
    /// 2^24; on the device since the first time it was needed.
    countdown: OnceLock<Tensor>,
}

impl LogitsReader {
    /// Of a model whose logits are in the host's memory anyway, or not.
    pub fn new(is_on_host: bool) -> Self {
        Self {
            is_on_host,
            countdown: OnceLock::new(),
        }
    }

    /// What is needed of logits `[rows, vocabulary]`, of each row its own.
    ///
    /// # Errors
    /// The device's, or another number of rows.
    pub fn read(&self, logits: &Tensor, needs: &[Needs]) -> Result<Vec<RowLogits>> {
        if logits.dim(0)? != needs.len() {
            candle_core::bail!("logits of {} rows for {}", logits.dim(0)?, needs.len());
        }
        if self.is_on_host {
            return all(logits);
        }
        let mut rows = Vec::with_capacity(needs.len());
        for alike in needs.chunk_by(PartialEq::eq) {
            let logits = logits.narrow(0, rows.len(), alike.len())?;
            rows.extend(match alike[0] {
                Needs::AllLogits => all(&logits)?,
                Needs::BestToken => self.best_tokens(&logits)?,
            });
        }
        Ok(rows)
    }

    /// In operations for which it does not matter in what order they look: an argmax on a GPU may give
    /// any of equal ones.
    fn best_tokens(&self, logits: &Tensor) -> Result<Vec<RowLogits>> {
        let logits = logits.to_dtype(DType::F32)?.contiguous()?;
        let vocabulary = logits.dim(D::Minus1)?;
        let from_end = self.countdown(vocabulary, logits.device())?;
        let greatest = logits.max_keepdim(D::Minus1)?;
        let is_greatest = logits.broadcast_eq(&greatest)?.to_dtype(DType::F32)?;
        let first = is_greatest.broadcast_mul(&from_end)?.max(D::Minus1)?;
        let exponentials = logits.broadcast_sub(&greatest)?.exp()?.sum(D::Minus1)?;
        let both = Tensor::stack(&[first, exponentials.log()?.neg()?], 1)?;
        let best = |pair: Vec<f32>| RowLogits::BestToken {
            id: vocabulary as u32 - pair[0] as u32,
            logprob: pair[1],
        };
        Ok(both.to_vec2()?.into_iter().map(best).collect())
    }

    fn countdown(&self, vocabulary: usize, device: &Device) -> Result<Tensor> {
        if let Some(known) = self.countdown.get().filter(|known| known.elem_count() == vocabulary) {
            return Ok(known.clone());
        }
        let numbers: Vec<f32> = (1..=vocabulary).rev().map(|number| number as f32).collect();
        let from_end = Tensor::from_vec(numbers, vocabulary, device)?;
        Ok(self.countdown.get_or_init(|| from_end).clone())
    }
}

/// Logits `[rows, vocabulary]` in f32 on the host, all of them.
fn all(logits: &Tensor) -> Result<Vec<RowLogits>> {
    let rows = logits.to_dtype(DType::F32)?.to_vec2()?;
    Ok(rows.into_iter().map(RowLogits::All).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> LogitsReader {
        LogitsReader::new(false)
    }

    #[test]
    fn the_first_of_equal_tokens_is_found_on_the_device() -> Result<()> {
        let logits = Tensor::new(&[[1f32, 3.0, 3.0, 0.0], [-2.0, -3.0, -2.0, -9.0]], &Device::Cpu)?;
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let logits = logits.to_dtype(dtype)?;
            let best = reader().read(&logits, &[Needs::BestToken; 2])?;
            for (row, expected) in best
                .iter()
                .zip([(1, [1f64, 3.0, 3.0, 0.0]), (0, [-2.0, -3.0, -2.0, -9.0])])
            {
                let RowLogits::BestToken { id, logprob } = *row else {
                    panic!("{row:?}")
                };
                let (first, logits) = expected;
                let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
                assert_eq!(id, first);
                assert!((f64::from(logprob) - (logits[first as usize] - sum.ln())).abs() < 1e-6);
            }
        }
        Ok(())
    }

    #[test]
    fn each_row_gets_what_it_needs() -> Result<()> {
        let logits = Tensor::new(&[[1f32, 2.0], [4.0, 3.0], [5.0, 6.0]], &Device::Cpu)?;
        let needs = [Needs::AllLogits, Needs::BestToken, Needs::AllLogits];
        let rows = reader().read(&logits, &needs)?;
        assert_eq!(rows[0], RowLogits::All(vec![1.0, 2.0]));
        assert!(matches!(rows[1], RowLogits::BestToken { id: 0, .. }), "{rows:?}");
        assert_eq!(rows[2], RowLogits::All(vec![5.0, 6.0]));
        assert!(reader().read(&logits, &needs[..2]).is_err());
        Ok(())
    }

    #[test]
    fn what_is_not_a_number_has_no_probability() -> Result<()> {
        for broken in [f32::NAN, f32::INFINITY] {
            let logits = Tensor::new(&[[1f32, broken, 0.0]], &Device::Cpu)?;
            let rows = reader().read(&logits, &[Needs::BestToken])?;
            assert!(
                matches!(rows[..], [RowLogits::BestToken { logprob, .. }] if !logprob.is_finite()),
                "{rows:?}"
            );
        }
        Ok(())
    }
}
