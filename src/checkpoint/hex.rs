//! Hashes in words.

/// Bytes as hexadecimal digits, two each, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
