//! The KV cache: keys and values of the positions that a decoder has read already.

use candle_core::{Result, Tensor};

/// The fewest positions that a cache grows by when it is full.
const ROOM: usize = 16;

/// The most positions that a cache has room for before they come.
const MOST_ROOM: usize = 2048;

/// Keys and values of the positions that were read already, one entry a layer. Each row is
/// a sequence of its own; all are of the same length.
pub struct KvCache {
    pub layers: Vec<LayerCache>,
    pub length: usize,
}

impl KvCache {
    /// An empty cache with room for `positions`, in one piece; it grows where more come.
    pub fn new(layers: usize, positions: usize) -> Self {
        let layer = |_| LayerCache {
            room: positions.min(MOST_ROOM),
            keys_and_values: None,
        };
        Self {
            layers: (0..layers).map(layer).collect(),
            length: 0,
        }
    }

    /// The first positions of the first row, as a cache of their own.
    pub fn prefix(&self, positions: usize) -> Result<Self> {
        let copy = |tensor: &Tensor| tensor.narrow(0, 0, 1)?.narrow(2, 0, positions)?.contiguous();
        let layer = |layer: &LayerCache| {
            let filled = layer.keys_and_values.as_ref();
            let copied = filled.map(|(keys, values)| Ok::<_, candle_core::Error>((copy(keys)?, copy(values)?)));
            Ok(LayerCache {
                room: positions,
                keys_and_values: copied.transpose()?,
            })
        };
        Ok(Self {
            layers: self.layers.iter().map(layer).collect::<Result<_>>()?,
            length: positions,
        })
    }

    /// A cache that goes on from this one, with room for `positions` in one piece; this one
    /// must be full (as [`KvCache::prefix`] makes it), and stays as it is.
    pub fn extended(&self, positions: usize) -> Self {
        let layer = |layer: &LayerCache| LayerCache {
            // Appending to a full cache copies it first.
            room: positions.max(self.length),
            keys_and_values: layer.keys_and_values.clone(),
        };
        Self {
            layers: self.layers.iter().map(layer).collect(),
            length: self.length,
        }
    }

    /// Row `i` becomes a copy of the row `rows[i]` that was; rows that are not named are gone.
    pub fn reorder(&mut self, rows: &[usize]) -> Result<()> {
        let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        self.layers.iter_mut().try_for_each(|layer| layer.reorder(&rows))
    }
}

/// A layer's keys and values, `[rows, heads, room, size]`, of which the first positions are filled.
pub struct LayerCache {
    room: usize,
    keys_and_values: Option<(Tensor, Tensor)>,
}

impl LayerCache {
    /// Appends positions to the `filled` ones of every row, and gives all of them.
    pub fn append(&mut self, filled: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let length = filled + k.dim(2)?;
        if length > self.room {
            // By half, so that each position is copied a few times however long an answer gets.
            self.room = length + (length / 2).max(ROOM);
        }
        let (keys, values) = match self.keys_and_values.take() {
            Some((keys, values)) => (self.with_room(keys)?, self.with_room(values)?),
            None => (self.with_room(k.narrow(2, 0, 0)?)?, self.with_room(v.narrow(2, 0, 0)?)?),
        };
        keys.slice_set(&k.contiguous()?, 2, filled)?;
        values.slice_set(&v.contiguous()?, 2, filled)?;
        let all = (keys.narrow(2, 0, length)?, values.narrow(2, 0, length)?);
        self.keys_and_values = Some((keys, values));
        Ok(all)
    }

    fn with_room(&self, tensor: Tensor) -> Result<Tensor> {
        let (rows, heads, room, size) = tensor.dims4()?;
        if room == self.room {
            return Ok(tensor);
        }
        let more = Tensor::zeros((rows, heads, self.room - room, size), tensor.dtype(), tensor.device())?;
        if room == 0 {
            Ok(more)
        } else {
            Tensor::cat(&[&tensor, &more], 2)
        }
    }

    fn reorder(&mut self, rows: &[u32]) -> Result<()> {
        if let Some((keys, values)) = &mut self.keys_and_values {
            let rows = Tensor::new(rows, keys.device())?;
            (*keys, *values) = (keys.index_select(&rows, 0)?, values.index_select(&rows, 0)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn a_long_answer_copies_its_cache_a_few_times_only() -> Result<()> {
        let mut cache = KvCache::new(1, 1);
        let token = Tensor::ones((1, 1, 1, 1), DType::F32, &Device::Cpu)?;
        let (mut copies, mut room) = (0, 1);
        for filled in 0..4000 {
            let (keys, values) = cache.layers[0].append(filled, &token, &token)?;
            assert_eq!((keys.dim(2)?, values.dim(2)?), (filled + 1, filled + 1));
            copies += usize::from(cache.layers[0].room != room);
            room = cache.layers[0].room;
        }
        let (keys, _) = cache.layers[0].append(4000, &token, &token)?;
        assert_eq!(keys.sum_all()?.to_scalar::<f32>()?, 4001.0);
        assert!(copies < 20, "{copies} copies");
        Ok(())
    }
}
