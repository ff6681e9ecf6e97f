//! For whoever runs the server: whether it lives, and whether the model answers.

pub mod health;
