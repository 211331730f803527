//! How long a PE file is by its own headers, for the one case in which no record tells.
//!
//! Source: Microsoft's PE/COFF specification; UEFI 2.11, section 2.1.1.

/// As much of a PE file's beginning as [`pe_length_bytes`] looks at.
pub const PE_HEADERS_MAX_BYTES: usize = 4096;

const PE_OFFSET_AT: usize = 0x3c;
const COFF_HEADER_BYTES: usize = 24;
const SECTION_HEADER_BYTES: usize = 40;
const MAGIC_PE32_PLUS: u16 = 0x20b;
const SUBSYSTEM_EFI_APPLICATION: u16 = 10;
/// Position of the certificate table's entry in the optional header, and the entries before it and including it.
const CERTIFICATE_TABLE_AT: usize = 144;
const CERTIFICATE_TABLE_ENTRIES: u32 = 5;

/// Length of the EFI application that begins with `headers`, as far as sections and signatures reach; `None`
/// for anything else. It is plausible, not verified.
pub fn pe_length_bytes(headers: &[u8]) -> Option<u64> {
    let headers = headers.get(..PE_HEADERS_MAX_BYTES).unwrap_or(headers);
    if headers.get(..2)? != b"MZ" {
        return None;
    }
    let pe = headers.get(usize::try_from(u32_at(headers, PE_OFFSET_AT)?).ok()?..)?;
    if pe.get(..4)? != b"PE\0\0" {
        return None;
    }
    let section_count = usize::from(u16_at(pe, 6)?);
    let optional = pe.get(COFF_HEADER_BYTES..)?;
    let sections = optional.get(usize::from(u16_at(pe, 20)?)..)?;
    if u16_at(optional, 0)? != MAGIC_PE32_PLUS || u16_at(optional, 68)? != SUBSYSTEM_EFI_APPLICATION {
        return None;
    }
    let headers_end = u64::from(u32_at(optional, 60)?);
    let mut end = headers_end.max(certificates_end(optional)?);
    for section in
        sections.get(..section_count.checked_mul(SECTION_HEADER_BYTES)?)?.chunks(SECTION_HEADER_BYTES)
    {
        end = end.max(range_end(section, 20, 16)?);
    }
    (section_count > 0 && headers_end > 0).then_some(end)
}

fn certificates_end(optional: &[u8]) -> Option<u64> {
    if u32_at(optional, 108)? < CERTIFICATE_TABLE_ENTRIES {
        return Some(0);
    }
    range_end(optional, CERTIFICATE_TABLE_AT, CERTIFICATE_TABLE_AT + 4)
}

/// End of a range of the file, given where its start and its size are stored.
fn range_end(bytes: &[u8], start_at: usize, size_at: usize) -> Option<u64> {
    u64::from(u32_at(bytes, start_at)?).checked_add(u64::from(u32_at(bytes, size_at)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Headers of an EFI application with these sections (file offset, size) and certificate table.
    fn headers(sections: &[(u32, u32)], certificates: (u32, u32)) -> Vec<u8> {
        let mut bytes = std::vec![0; 0x40 + COFF_HEADER_BYTES + 240];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let optional = 0x40 + COFF_HEADER_BYTES;
        put(0, b"MZ");
        put(PE_OFFSET_AT, &0x40u32.to_le_bytes());
        put(0x40, b"PE\0\0");
        put(0x40 + 6, &u16::try_from(sections.len()).unwrap().to_le_bytes());
        put(0x40 + 20, &240u16.to_le_bytes());
        put(optional, &MAGIC_PE32_PLUS.to_le_bytes());
        put(optional + 60, &0x400u32.to_le_bytes());
        put(optional + 68, &SUBSYSTEM_EFI_APPLICATION.to_le_bytes());
        put(optional + 108, &16u32.to_le_bytes());
        put(optional + CERTIFICATE_TABLE_AT, &certificates.0.to_le_bytes());
        put(optional + CERTIFICATE_TABLE_AT + 4, &certificates.1.to_le_bytes());
        for (offset, size) in sections {
            let mut section = [0; SECTION_HEADER_BYTES];
            section[16..20].copy_from_slice(&size.to_le_bytes());
            section[20..24].copy_from_slice(&offset.to_le_bytes());
            bytes.extend(section);
        }
        bytes
    }

    #[test]
    fn reaches_to_the_last_section_or_signature() {
        let sections = [(0x1000, 0x200), (0x400, 0xc00)];
        assert_eq!(pe_length_bytes(&headers(&sections, (0, 0))), Some(0x1200));
        assert_eq!(pe_length_bytes(&headers(&sections, (0x1200, 0x88))), Some(0x1288));
        assert_eq!(pe_length_bytes(&headers(&[(u32::MAX, u32::MAX)], (0, 0))), Some(2 * u64::from(u32::MAX)));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(pe_length_bytes(&[]), None);
        assert_eq!(pe_length_bytes(&[0; PE_HEADERS_MAX_BYTES]), None);
        assert_eq!(pe_length_bytes(&headers(&[], (0, 0))), None);
        let good = headers(&[(0x400, 0x200)], (0, 0));
        for end in 0..good.len() {
            assert_eq!(pe_length_bytes(&good[..end]), None, "cut at {end}");
        }
        let mut driver = good;
        driver[0x40 + COFF_HEADER_BYTES + 68] = 11;
        assert_eq!(pe_length_bytes(&driver), None);
    }

    proptest! {
        #[test]
        fn damaged_headers_do_not_panic(
            damage in prop::collection::vec((0..400usize, any::<u8>()), 0..8), cut in 0..400usize,
        ) {
            let mut bytes = headers(&[(0x400, 0x200), (0x600, 0x200)], (0, 0));
            bytes.truncate(cut);
            for (at, value) in damage {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let _ = pe_length_bytes(&bytes);
        }
    }
}
