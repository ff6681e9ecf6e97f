//! Which engine a server has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;

use super::UsageError;
use super::options::{ModelArgs, open};
use super::several_models::SeveralModelsArgs;
use crate::engine::scripted::{Gates, Script, serve_control};
use crate::engine::{BatchLimits, Engines, LoadFailure, LocalEngine, PictureSource, QueueLimits, ScriptedEngine};
use crate::models::ModelRequest;
use crate::models::auto::Asked;

/// For tests: what answers in place of a model. `--help` does not list it.
#[derive(Args)]
pub struct EngineArgs {
    /// `local`, a model on this machine; or `scripted` or `scripted:FILE`, answers from a script
    #[arg(
        long,
        env = "GLIMPSE_ENGINE",
        default_value = "local",
        value_name = "ENGINE",
        hide = true
    )]
    engine: EngineChoice,

    /// Where the gates of a script are opened, as 127.0.0.1:7999
    #[arg(long, env = "GLIMPSE_SCRIPT_CONTROL", value_name = "ADDRESS:PORT", hide = true)]
    script_control: Option<SocketAddr>,
}

#[derive(Clone)]
enum EngineChoice {
    Local,
    Scripted(Option<PathBuf>),
}

impl FromStr for EngineChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "local" => Ok(Self::Local),
            None if text == "scripted" => Ok(Self::Scripted(None)),
            Some(("scripted", file)) => Ok(Self::Scripted(Some(file.into()))),
            _ => Err("use local, scripted or scripted:FILE"),
        }
    }
}

impl EngineArgs {
    /// The models that are to answer, if any do.
    ///
    /// # Errors
    /// As [`ModelArgs::requests`].
    pub fn requests(&self, models: &ModelArgs) -> Result<Vec<ModelRequest>, LoadFailure> {
        match self.engine {
            EngineChoice::Local => models.requests(Asked::Anything),
            EngineChoice::Scripted(_) => Ok(Vec::new()),
        }
    }

    /// Loads what answers. It takes as long as a model takes to load. A model encodes `pictures` while
    /// nobody asks anything.
    ///
    /// # Errors
    /// There is no such model or script, or it cannot be controlled there.
    pub fn start(
        self,
        models: StartedModels,
        limits: QueueLimits,
        batches: BatchLimits,
        pictures: PictureSource,
    ) -> Result<Engines, LoadFailure> {
        match (self.engine, self.script_control) {
            (EngineChoice::Local, None) => models.start(limits, batches, pictures),
            (EngineChoice::Local, Some(_)) => {
                let sentence = "--script-control (GLIMPSE_SCRIPT_CONTROL) is for a script. Add --engine scripted, or leave it out.";
                Err(UsageError(sentence.into()).into())
            }
            (EngineChoice::Scripted(file), control) => {
                tracing::warn!("answers come from a script, not from a model (--engine)");
                let script = file.map_or(Ok(Script::default()), |file| Script::open(&file))?;
                let gates = match control {
                    Some(address) => controlled(address)?,
                    None => Gates::opened(),
                };
                Ok(Arc::new(ScriptedEngine::start(script, limits, gates)?).into())
            }
        }
    }
}

/// The models of a server.
pub struct StartedModels {
    pub requests: Vec<ModelRequest>,
    pub several: SeveralModelsArgs,
    /// Bytes that several may take together, where the system says it.
    pub memory: Option<u64>,
}

impl StartedModels {
    fn start(self, limits: QueueLimits, batches: BatchLimits, pictures: PictureSource) -> Result<Engines, LoadFailure> {
        let memory = self.several.model_memory.map(|size| size.0).or(self.memory);
        let mut requests = self.requests;
        if requests.len() > 1 {
            return self
                .several
                .start(requests, memory.unwrap_or(u64::MAX), limits, batches, pictures);
        }
        // There is always one.
        let mut request = requests.pop().ok_or("no model is named")?;
        request.max_memory = request.max_memory.or(self.several.model_memory.map(|size| size.0));
        let mut model = open(request)?;
        model.keep_packed_in_background();
        let engine = LocalEngine::start_with(model, limits, batches, pictures())?;
        Ok(Arc::new(engine).into())
    }
}

/// Gates that are closed, and opened by who is on this machine.
fn controlled(address: SocketAddr) -> Result<Gates, Box<dyn std::error::Error + Send + Sync>> {
    let gates = Gates::closed();
    let address = serve_control(address, gates.clone())?;
    tracing::warn!("the script is controlled at http://{address}");
    Ok(gates)
}
