//! Unified kernel images: sections appended to systemd's EFI stub (UAPI group, Unified Kernel Image).

use anyhow::{Context as _, Result, bail};
use layout::Partition;

use crate::erofs::RootImage;

/// Sectors of 512 bytes in a block of 4096.
const BLOCK_SECTORS: u64 = 8;
/// Longest `dm-mod.create=` that the kernel takes (DM_MAX_STR_SIZE).
const DM_CREATE_MAX_BYTES: usize = 4095;

/// What `dm-mod.create=` is told: the verity device over a root image that lies on `device`. It has no option for
/// corrupted blocks: they end in EIO for whoever reads them.
pub fn verity_device(root: &RootImage, device: &str) -> String {
    let sectors = root.data_blocks * BLOCK_SECTORS;
    let (data, start, hash, salt) = (root.data_blocks, root.hash_start_block, &root.root_hash, &root.salt);
    // Name, no uuid, no minor, read-only; then version, devices, block sizes, data blocks, hash start, algorithm.
    format!("root,,,ro,0 {sectors} verity 1 {device} {device} 4096 4096 {data} {start} sha256 {hash} {salt}")
}

/// The kernel command line of a slot whose root lies on `partition`.
pub fn command_line(root: &RootImage, partition: &Partition, extra: &[&str]) -> Result<String> {
    let guid = partition.guid.context("a root partition has a fixed GUID")?;
    let device = format!("PARTUUID={guid}");
    let create = verity_device(root, &device);
    if create.len() > DM_CREATE_MAX_BYTES {
        bail!("dm-mod.create would have {} bytes; the kernel takes {DM_CREATE_MAX_BYTES}", create.len());
    }
    let mut words = vec![
        "console=tty0".to_owned(),
        // Last, so that it is /dev/console.
        "console=ttyS0,115200".into(),
        // Notice and more urgent reach the console: PID 1 speaks at notice.
        "loglevel=6".into(),
        "root=/dev/dm-0 ro rootfstype=erofs init=/sbin/init".into(),
        format!("dm-mod.waitfor={device}"),
        format!("dm-mod.create=\"{create}\""),
        // A power cut at first boot may leave the primary partition table torn: the backup serves, whatever firmware does.
        "gpt".into(),
        "panic=10 random.trust_cpu=on".into(),
        // Built-in drivers otherwise make devices of their own.
        "dummy.numdummies=0 bonding.max_bonds=0 fb_tunnels=none".into(),
        "lockdown=integrity proc_mem.force_override=never page_alloc.shuffle=1".into(),
        "reserve_mem=2M:4096:oops ramoops.mem_name=oops".into(),
    ];
    words.extend(extra.iter().map(|word| (*word).to_owned()));
    Ok(words.join(" "))
}

/// Parts of a UKI.
pub struct Uki<'a> {
    /// systemd's stub, a PE32+ file.
    pub stub: &'a [u8],
    /// Content of os-release.
    pub os_release: &'a str,
    /// Kernel command line.
    pub command_line: &'a str,
    /// `uname -r`.
    pub kernel_release: &'a str,
    /// Kernel with EFI stub.
    pub kernel: &'a [u8],
}

const SECTION_HEADER_BYTES: usize = 40;
/// IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ.
const SECTION_FLAGS: u32 = 0x4000_0040;
const PAGE_BYTES: u32 = 4096;

impl Uki<'_> {
    /// The PE file.
    pub fn build(&self) -> Result<Vec<u8>> {
        let mut image = self.stub.to_vec();
        let header = PeHeader::parse(&image)?;
        let sections: [(&str, &[u8]); 4] = [
            (".osrel", self.os_release.as_bytes()),
            (".cmdline", self.command_line.as_bytes()),
            (".uname", self.kernel_release.as_bytes()),
            (".linux", self.kernel),
        ];
        let room = header.first_data.saturating_sub(header.sections_end(header.section_count));
        if room < sections.len() * SECTION_HEADER_BYTES {
            bail!("the stub's headers have no room for {} more sections", sections.len());
        }
        let mut address = header.memory_end.next_multiple_of(PAGE_BYTES);
        let mut initialized = 0;
        for (count, (name, content)) in (header.section_count..).zip(sections) {
            let size = u32::try_from(content.len())?;
            // On whole blocks, so that a kernel that stays the same is not fetched again when a word before it changes.
            image.resize(image.len().next_multiple_of(PAGE_BYTES as usize), 0);
            let raw_size = size.next_multiple_of(header.file_alignment);
            let section =
                SectionHeader { name, size, address, raw_size, raw_at: u32::try_from(image.len())? };
            let at = header.sections_end(count);
            image[at..at + SECTION_HEADER_BYTES].copy_from_slice(&section.encode());
            image.extend_from_slice(content);
            image.resize(section.raw_at as usize + raw_size as usize, 0);
            address = (address + size).next_multiple_of(PAGE_BYTES);
            initialized += raw_size;
        }
        let count = u16::try_from(header.section_count + sections.len())?;
        put(&mut image, header.coff + 2, &count.to_le_bytes())?;
        let data_size = get_u32(&image, header.optional + 8)? + initialized;
        put(&mut image, header.optional + 8, &data_size.to_le_bytes())?;
        put(&mut image, header.optional + 56, &address.to_le_bytes())?;
        // Not used for EFI applications; a stale checksum would only mislead.
        put(&mut image, header.optional + 64, &0_u32.to_le_bytes())?;
        Ok(image)
    }
}

/// Where things are in a PE32+ file (Microsoft PE format, COFF header and optional header).
struct PeHeader {
    coff: usize,
    optional: usize,
    sections: usize,
    section_count: usize,
    file_alignment: u32,
    /// End of the last section in memory, relative to the image base.
    memory_end: u32,
    /// First byte of section data in the file.
    first_data: usize,
}

impl PeHeader {
    fn parse(image: &[u8]) -> Result<Self> {
        let pe = get_u32(image, 0x3c)? as usize;
        if image.get(..2) != Some(b"MZ") || image.get(pe..pe + 4) != Some(b"PE\0\0") {
            bail!("the stub is no PE file");
        }
        let coff = pe + 4;
        let optional = coff + 20;
        if get_u16(image, optional)? != 0x20b {
            bail!("the stub is no PE32+ file");
        }
        let section_count = usize::from(get_u16(image, coff + 2)?);
        let sections = optional + usize::from(get_u16(image, coff + 16)?);
        let mut header = Self {
            coff,
            optional,
            sections,
            section_count,
            file_alignment: get_u32(image, optional + 36)?,
            memory_end: 0,
            first_data: usize::MAX,
        };
        for index in 0..section_count {
            let at = header.sections_end(index);
            let (size, address) = (get_u32(image, at + 8)?, get_u32(image, at + 12)?);
            header.memory_end = header.memory_end.max(address + size);
            let raw_at = get_u32(image, at + 20)? as usize;
            if raw_at != 0 {
                header.first_data = header.first_data.min(raw_at);
            }
        }
        Ok(header)
    }

    fn sections_end(&self, count: usize) -> usize {
        self.sections + count * SECTION_HEADER_BYTES
    }
}

struct SectionHeader<'a> {
    name: &'a str,
    size: u32,
    address: u32,
    raw_size: u32,
    raw_at: u32,
}

impl SectionHeader<'_> {
    fn encode(&self) -> [u8; SECTION_HEADER_BYTES] {
        let mut bytes = [0; SECTION_HEADER_BYTES];
        bytes[..self.name.len()].copy_from_slice(self.name.as_bytes());
        for (at, value) in
            [(8, self.size), (12, self.address), (16, self.raw_size), (20, self.raw_at), (36, SECTION_FLAGS)]
        {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

fn get_u16(image: &[u8], at: usize) -> Result<u16> {
    let bytes = image.get(at..at + 2).context("the stub is cut short")?;
    Ok(u16::from_le_bytes(bytes.try_into()?))
}

fn get_u32(image: &[u8], at: usize) -> Result<u32> {
    let bytes = image.get(at..at + 4).context("the stub is cut short")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    image.get_mut(at..at + bytes.len()).context("the stub is cut short")?.copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> RootImage {
        RootImage {
            root_hash: "ab".repeat(32),
            salt: "cd".repeat(32),
            data_blocks: 100,
            hash_start_block: 100,
            size_bytes: 0,
        }
    }

    #[test]
    fn the_verity_table_has_no_comma_and_names_the_slot() {
        let line = command_line(&facts(), &layout::ROOT_B, &["cairn.test_hooks=1"]).unwrap();
        let table = line.split("root,,,ro,").nth(1).unwrap().split('"').next().unwrap();
        assert!(!table.contains(','), "{table}");
        assert!(table.starts_with("0 800 verity 1 PARTUUID=ca120006-"), "{table}");
        assert!(line.ends_with(" cairn.test_hooks=1"));
        assert!(line.len() < 2048, "the kernel's limit for a whole command line on x86");
    }

    #[test]
    fn garbage_is_no_stub() {
        let uki = Uki { stub: b"MZ", os_release: "", command_line: "", kernel_release: "", kernel: b"" };
        assert!(uki.build().is_err());
    }
}
