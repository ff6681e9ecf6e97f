//! The vision tower of the family: a ViT that turns pixel values into one embedding a patch.
//!
//! Source: `Blip2VisionModel` (ViT-g/14 of EVA-CLIP in the published models) and `BlipVisionModel`
//! (ViT-B/16 and ViT-L/16), which compute the same.

use candle_core::{DType, Module, Result, Tensor};

use serde::Deserialize;

use super::{Activation, Attention as Heads, Kernels, LayerNorm, Linear, WeightMatrix, Weights};

/// The shape of a vision tower: `Blip2VisionConfig`, `BlipVisionConfig`. What a config leaves out is as in
/// BLIP-2's class; BLIP's own defaults are filled in before it is read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    pub hidden_size: usize,
    /// The inner width of a feed-forward layer (MLP).
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Side of the (square) picture in pixels.
    pub image_size: usize,
    /// Side of a (square) patch in pixels.
    pub patch_size: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
    /// Whether queries, keys and values have a bias, `qkv.bias` of all three.
    pub qkv_bias: bool,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 1408,
            intermediate_size: 6144,
            num_hidden_layers: 39,
            num_attention_heads: 16,
            image_size: 224,
            patch_size: 14,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-6,
            qkv_bias: true,
        }
    }
}

impl VisionConfig {
    /// Patches along one side of the picture.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Rows of the position embedding: every patch and the class token.
    pub fn num_positions(&self) -> usize {
        self.grid() * self.grid() + 1
    }

    /// Bytes of a picture's hidden states in this dtype.
    pub fn states_bytes(&self, dtype: DType) -> u64 {
        (self.num_positions() * self.hidden_size * dtype.size_in_bytes()) as u64
    }
}

/// Pixel values in, image embeddings out.
pub struct VisionModel {
    embeddings: Embeddings,
    layers: Vec<EncoderLayer>,
    post_layernorm: LayerNorm,
}

impl VisionModel {
    /// Takes the tensors below `vb`, which is `vision_model` in a checkpoint.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape, or whatever the device says.
    pub fn new(config: &VisionConfig, vb: Weights) -> Result<Self> {
        let layers = (0..config.num_hidden_layers)
            .map(|index| EncoderLayer::new(config, vb.pp("encoder.layers").pp(index)))
            .collect::<Result<_>>()?;
        Ok(Self {
            embeddings: Embeddings::new(config, vb.pp("embeddings"))?,
            layers,
            post_layernorm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("post_layernorm"))?,
        })
    }

    /// `[batch, 3, height, width]`, in any dtype on any device, to `[batch, 1 + patches, hidden]`: the class
    /// token, then the patches row by row (`last_hidden_state`).
    ///
    /// # Errors
    /// The device's.
    pub fn forward(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let mut encoding = self.begin(pixel_values)?;
        loop {
            if let Some(hidden) = self.look_on(&mut encoding)? {
                return Ok(hidden);
            }
        }
    }

    /// Begins what [`VisionModel::forward`] does.
    ///
    /// # Errors
    /// The device's.
    pub fn begin(&self, pixel_values: &Tensor) -> Result<PictureEncoding> {
        let own = &self.embeddings.class_embedding;
        let pixel_values = pixel_values.to_device(own.device())?.to_dtype(own.dtype())?;
        Ok(PictureEncoding {
            x: self.embeddings.forward(&pixel_values)?,
            layer: 0,
        })
    }

    /// Goes one layer on; behind the last one gives what [`VisionModel::forward`] does.
    pub fn look_on(&self, picture: &mut PictureEncoding) -> Result<Option<Tensor>> {
        let Some(layer) = self.layers.get(picture.layer) else {
            return self.post_layernorm.forward(&picture.x).map(Some);
        };
        picture.x = layer.forward(&picture.x)?;
        picture.layer += 1;
        Ok(None)
    }
}

/// A picture on its way through the layers.
pub struct PictureEncoding {
    x: Tensor,
    layer: usize,
}

/// Cuts the picture into patches, embeds them, and adds class token and positions.
struct Embeddings {
    /// The patch convolution's weight as a matrix: `[hidden, 3 * patch * patch]`.
    patch: Linear,
    patch_size: usize,
    class_embedding: Tensor,
    position_embedding: Tensor,
}

impl Embeddings {
    fn new(config: &VisionConfig, vb: Weights) -> Result<Self> {
        let (hidden, side) = (config.hidden_size, config.patch_size);
        let conv = vb.pp("patch_embedding");
        let weight = WeightMatrix::of_shape((hidden, 3, side, side), "weight", &conv)?;
        Ok(Self {
            patch: Linear::from_parts(weight, Some(conv.get(hidden, "bias")?))?,
            patch_size: side,
            class_embedding: vb.get((1, 1, hidden), "class_embedding")?,
            position_embedding: vb.get((1, config.num_positions(), hidden), "position_embedding")?,
        })
    }

    fn forward(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let patches = self.patch.forward(&self.unfold(pixel_values)?)?;
        let batch = patches.dim(0)?;
        let hidden = patches.dim(2)?;
        let class = self.class_embedding.broadcast_as((batch, 1, hidden))?;
        Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.position_embedding)
    }

    /// A convolution whose stride is its kernel is a matrix product over unfolded
    /// patches: `[batch, 3, h, w]` to `[batch, patches, 3 * patch * patch]`.
    fn unfold(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = pixel_values.dims4()?;
        let side = self.patch_size;
        let (rows, columns) = (height / side, width / side);
        pixel_values
            .narrow(2, 0, rows * side)?
            .narrow(3, 0, columns * side)?
            .reshape(&[batch, channels, rows, side, columns, side][..])?
            .permute([0, 2, 4, 1, 3, 5])?
            .reshape((batch, rows * columns, channels * side * side))
    }
}

/// A pre-norm transformer block.
struct EncoderLayer {
    layer_norm1: LayerNorm,
    self_attn: Attention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
    kernels: Kernels,
}

impl EncoderLayer {
    fn new(config: &VisionConfig, vb: Weights) -> Result<Self> {
        let norm = |name| LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp(name));
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            self_attn: Attention::new(config, vb.pp("self_attn"))?,
            layer_norm2: norm("layer_norm2")?,
            mlp: Mlp::new(config, vb.pp("mlp"))?,
            kernels: vb.kernels(),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let attended = self.self_attn.forward(&self.layer_norm1.forward(x)?)?;
        let x = self.kernels.add(&attended, x)?;
        self.kernels.add(&self.mlp.forward(&self.layer_norm2.forward(&x)?)?, &x)
    }
}

/// Self-attention with one fused projection for queries, keys and values.
struct Attention {
    qkv: Linear,
    projection: Linear,
    attention: Heads,
}

impl Attention {
    fn new(config: &VisionConfig, vb: Weights) -> Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            qkv: Linear::new(hidden, 3 * hidden, config.qkv_bias, vb.pp("qkv"))?,
            projection: Linear::new(hidden, hidden, true, vb.pp("projection"))?,
            attention: Heads::new(config.num_attention_heads, hidden, &vb),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = x.dim(2)?;
        let qkv = self.qkv.forward(x)?;
        let part = |index: usize| self.attention.split_heads(&qkv.narrow(2, index * hidden, hidden)?);
        let attended = self.attention.forward(&part(0)?, &part(1)?, &part(2)?, None)?;
        self.projection.forward(&attended)
    }
}

struct Mlp {
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
}

impl Mlp {
    fn new(config: &VisionConfig, vb: Weights) -> Result<Self> {
        Ok(Self {
            fc1: Linear::new(config.hidden_size, config.intermediate_size, true, vb.pp("fc1"))?,
            activation: config.hidden_act,
            fc2: Linear::new(config.intermediate_size, config.hidden_size, true, vb.pp("fc2"))?,
        })
    }
}

impl Module for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&self.fc1.forward_activated(x, self.activation)?)
    }
}
