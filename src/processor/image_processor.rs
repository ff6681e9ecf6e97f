//! From an 8-bit picture to pixel values: resize, rescale, normalise.
//!
//! The reference is transformers' `BlipImageProcessorPil`. Its settings come
//! from the checkpoint's `processor_config.json` (under `image_processor`,
//! where transformers 5 writes them) or, where that has none, from
//! `preprocessor_config.json`.

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use super::resize::{Resample, resize};
use super::{Picture, ProcessorError};

/// The longest side that a processor may ask for, in pixels. The published
/// checkpoints have 224 to 384.
const MAX_SIDE: u64 = 8192;

/// The size that pictures are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSize {
    /// Exactly this size, whatever the proportions.
    Exact {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// The shorter side gets this length, and the proportions are kept.
    ShortestEdge(usize),
}

impl TargetSize {
    /// Width and height of the result for a picture of that size.
    fn of(self, width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::Exact { height, width } => (width, height),
            Self::ShortestEdge(edge) => {
                // In floating point and cut off, as `int(size * long / short)` in Python.
                let long = |long: usize, short: usize| ((edge * long) as f64 / short as f64) as usize;
                if width <= height {
                    (edge, long(height, width))
                } else {
                    (long(width, height), edge)
                }
            }
        }
    }
}

/// What is done to a picture before the vision model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    /// The size to resize to, and how; `None` leaves pictures as they are.
    pub size: Option<(TargetSize, Resample)>,
    /// What 8-bit values are multiplied with; `None` leaves 0 to 255.
    pub rescale_factor: Option<f64>,
    /// Mean and standard deviation of each channel; `None` does not normalise.
    pub normalization: Option<([f64; 3], [f64; 3])>,
}

impl Default for ImageProcessor {
    /// The defaults of the reference class: bicubic to 384 x 384, CLIP's means
    /// and standard deviations.
    fn default() -> Self {
        Self {
            size: Some((
                TargetSize::Exact {
                    height: 384,
                    width: 384,
                },
                Resample::Bicubic,
            )),
            rescale_factor: Some(1.0 / 255.0),
            normalization: Some((
                [0.48145466, 0.4578275, 0.40821073],
                [0.26862954, 0.26130258, 0.27577711],
            )),
        }
    }
}

impl ImageProcessor {
    /// Reads the settings from a `preprocessor_config.json`, or from a
    /// `processor_config.json` that has them under `image_processor`. Missing
    /// keys, and keys that are null, have the defaults of the reference class.
    ///
    /// Pictures are always converted to RGB, whatever `do_convert_rgb` says:
    /// the vision model has no other input.
    ///
    /// # Errors
    ///
    /// A [`ProcessorError`] that names the key whose value cannot be used.
    pub fn from_json(preprocessor: &Value) -> Result<Self, ProcessorError> {
        let settings = preprocessor.get("image_processor").unwrap_or(preprocessor);
        let settings = Settings(settings.as_object().ok_or(ProcessorError::NotAnObject)?);
        if settings.flag("do_center_crop", false)? {
            return Err(settings.error("do_center_crop", "false (pictures are not cropped for BLIP-2)"));
        }
        let default = Self::default();
        let size = (settings.size()?, settings.resample()?);
        let factor = settings.rescale_factor()?;
        let (mean, std) = default.normalization.unwrap_or_default();
        let normalization = (
            settings.channels("image_mean", mean)?,
            settings.channels("image_std", std)?,
        );
        if normalization.1.contains(&0.0) {
            return Err(settings.error("image_std", "values other than 0"));
        }
        Ok(Self {
            size: settings.flag("do_resize", true)?.then_some(size),
            rescale_factor: settings.flag("do_rescale", true)?.then_some(factor),
            normalization: settings.flag("do_normalize", true)?.then_some(normalization),
        })
    }

    /// The picture at the size of the vision model, in 8 bits.
    pub fn resize(&self, picture: &Picture) -> Picture {
        match self.size {
            Some((size, filter)) => {
                let (width, height) = size.of(picture.width, picture.height);
                resize(picture, width, height, filter)
            }
            None => picture.clone(),
        }
    }

    /// Pixel values `[1, 3, height, width]` in f32 on the CPU of a picture that
    /// [`resize`](Self::resize) returned.
    ///
    /// # Errors
    ///
    /// Those of building the tensor, if `rgb` does not fit width and height.
    pub fn normalise(&self, resized: &Picture) -> candle_core::Result<Tensor> {
        let tables = [0, 1, 2].map(|channel| self.value_table(channel));
        let pixels = resized.rgb.as_chunks::<3>().0;
        let plane = |channel: usize| pixels.iter().map(move |pixel| usize::from(pixel[channel]));
        let values: Vec<f32> = (0..3)
            .flat_map(|channel| plane(channel).map(move |value| (channel, value)))
            .map(|(c, v)| tables[c][v])
            .collect();
        Tensor::from_vec(values, (1, 3, resized.height, resized.width), &Device::Cpu)
    }

    /// Pixel values `[1, 3, height, width]` in f32 on the CPU:
    /// [`resize`](Self::resize), then [`normalise`](Self::normalise).
    ///
    /// # Errors
    ///
    /// As [`normalise`](Self::normalise).
    pub fn pixel_values(&self, picture: &Picture) -> candle_core::Result<Tensor> {
        self.normalise(&self.resize(picture))
    }

    /// The pixel value of each byte in a channel, with the reference's
    /// roundings: scaled in double precision, rounded to f32, normalised in f32.
    fn value_table(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|byte| {
            let value = match self.rescale_factor {
                Some(factor) => (byte as f64 * factor) as f32,
                None => byte as f32,
            };
            match self.normalization {
                Some((mean, std)) => (value - mean[channel] as f32) / std[channel] as f32,
                None => value,
            }
        })
    }
}

/// The JSON object, with typed access.
struct Settings<'a>(&'a Map<String, Value>);

impl Settings<'_> {
    /// A value that is there and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn error(&self, key: &'static str, expected: &'static str) -> ProcessorError {
        let value = self.0.get(key).map_or_else(String::new, Value::to_string);
        ProcessorError::Value { key, value, expected }
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, ProcessorError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.error(key, "true or false")),
        }
    }

    fn rescale_factor(&self) -> Result<f64, ProcessorError> {
        match self.get("rescale_factor") {
            None => Ok(1.0 / 255.0),
            Some(value) => value.as_f64().ok_or_else(|| self.error("rescale_factor", "a number")),
        }
    }

    fn resample(&self) -> Result<Resample, ProcessorError> {
        let Some(value) = self.get("resample") else {
            return Ok(Resample::Bicubic);
        };
        let filter = value.as_u64().and_then(Resample::from_number);
        filter.ok_or_else(|| self.error("resample", "one of Pillow's filters, 0 to 5"))
    }

    /// A number for all three channels, or a list of three.
    fn channels(&self, key: &'static str, default: [f64; 3]) -> Result<[f64; 3], ProcessorError> {
        let values = match self.get(key) {
            None => return Ok(default),
            Some(Value::Array(values)) => values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>(),
            Some(value) => value.as_f64().map(|value| vec![value; 3]),
        };
        let values = values.and_then(|values| values.try_into().ok());
        values.ok_or_else(|| self.error(key, "a number, or a list of three"))
    }

    /// `{"height", "width"}`, a number for both, a list of both, or
    /// `{"shortest_edge"}`.
    fn size(&self) -> Result<TargetSize, ProcessorError> {
        const EXPECTED: &str =
            "{\"height\": …, \"width\": …}, a number, or {\"shortest_edge\": …}, each from 1 to 8192 pixels";
        let exact = |height: Option<usize>, width: Option<usize>| {
            Some(TargetSize::Exact {
                height: height?,
                width: width?,
            })
        };
        let size = match self.get("size") {
            None => exact(Some(384), Some(384)),
            Some(Value::Array(sides)) if sides.len() == 2 => exact(side(sides.first()), side(sides.last())),
            Some(Value::Object(sides)) if sides.contains_key("height") => {
                exact(side(sides.get("height")), side(sides.get("width")))
            }
            // With a longest edge too, the reference limits the other side; no BLIP-2 does.
            Some(Value::Object(sides)) if !sides.contains_key("longest_edge") => {
                side(sides.get("shortest_edge")).map(TargetSize::ShortestEdge)
            }
            Some(value) if self.flag("default_to_square", true)? => exact(side(Some(value)), side(Some(value))),
            Some(value) => side(Some(value)).map(TargetSize::ShortestEdge),
        };
        size.ok_or_else(|| self.error("size", EXPECTED))
    }
}

/// A side's length in pixels, if the value is one.
fn side(value: Option<&Value>) -> Option<usize> {
    let length = value?.as_u64().filter(|length| (1..=MAX_SIDE).contains(length))?;
    usize::try_from(length).ok()
}
