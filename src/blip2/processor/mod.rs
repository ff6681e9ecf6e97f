//! From the bytes of a picture file to pixel values.
