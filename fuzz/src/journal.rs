//! Reads bytes as the record of a conversion, and writes it again.

use deepseek_convert::journal::Journal;

/// Whether the bytes were a good record.
pub(crate) fn read(bytes: &[u8]) -> bool {
    match Journal::parse(bytes) {
        Ok(journal) => {
            let again = Journal::parse(journal.to_json().as_bytes());
            assert_eq!(again.as_ref(), Ok(&journal));
            true
        }
        Err(why) => {
            assert!(!why.is_empty());
            false
        }
    }
}
