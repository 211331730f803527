//! PEM (RFC 7468): writing, with buffers that are wiped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const LINE_CHARACTERS: usize = 64;

/// `der` as one PEM block. The buffers that held the text are wiped when dropped.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Room for everything from the start: growing would leave copies behind.
    let body_bytes = base64::encoded_len(der.len(), true).unwrap_or(0);
    let mut body = Zeroizing::new(String::with_capacity(body_bytes));
    STANDARD.encode_string(der, &mut body);
    let mut text = Zeroizing::new(String::with_capacity(
        body_bytes + body_bytes / LINE_CHARACTERS + 1 + 2 * (label.len() + 18),
    ));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARACTERS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    proptest! {
        #[test]
        fn what_is_written_reads_back(der in proptest::collection::vec(any::<u8>(), 1..400)) {
            let text = encode("CERTIFICATE", &der);
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            prop_assert_eq!(read.as_ref(), der.as_slice());
            prop_assert!(text.lines().all(|line| line.len() <= LINE_CHARACTERS));
        }
    }
}
