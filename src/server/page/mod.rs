//! The page's own way in: the server's side of its server functions, the form of a browser
//! without JavaScript, its examples, and the pictures that it shows.

pub mod examples;
pub mod form;
pub mod functions;
pub mod pictures;
