//! Undoes what distributions compress kernels and modules with, told by the first bytes, and takes the kernel proper out
//! of a bzImage.

use std::io::{self, ErrorKind, Read};

/// Linux compresses with the old form of LZ4, whose blocks hold up to this many bytes each.
const LZ4_LEGACY_BLOCK: usize = 8 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const LZ4_LEGACY: &[u8] = &[0x02, 0x21, 0x4c, 0x18];

/// First bytes of an ELF file: a `vmlinux`, a module.
pub const ELF: &[u8] = b"\x7fELF";

/// Decompresses `bytes` (gzip, xz, zstd, LZ4 as Linux writes it); what follows the compressed stream is ignored.
///
/// # Errors
/// `Unsupported` for any other form, and the decoder's own.
pub fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if bytes.starts_with(GZIP) {
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)?;
    } else if bytes.starts_with(XZ) {
        lzma_rust2::XzReader::new(bytes, false).read_to_end(&mut out)?;
    } else if bytes.starts_with(ZSTD) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(bytes);
        decoder.map_err(|e| io::Error::new(ErrorKind::InvalidData, e.to_string()))?.read_to_end(&mut out)?;
    } else if bytes.starts_with(LZ4_LEGACY) {
        out = lz4_legacy(&bytes[LZ4_LEGACY.len()..])?;
    } else {
        let message = "neither gzip, xz, zstd nor LZ4 as Linux writes it";
        return Err(io::Error::new(ErrorKind::Unsupported, message));
    }
    Ok(out)
}

/// Blocks of `u32` length and data. A kernel's last four bytes are its unpacked size and no block.
fn lz4_legacy(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut block = vec![0; LZ4_LEGACY_BLOCK];
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        if rest.is_empty() {
            break;
        }
        let data = rest.get(..u32::from_le_bytes(*len) as usize).ok_or(ErrorKind::UnexpectedEof)?;
        let n = lz4_flex::block::decompress_into(data, &mut block)
            .map_err(|e| io::Error::new(ErrorKind::InvalidData, e.to_string()))?;
        out.extend_from_slice(&block[..n]);
        bytes = &rest[data.len()..];
    }
    Ok(out)
}

/// Takes the ELF kernel out of a bzImage. QEMU starts it by the PVH entry, without the unpacking that the bzImage's own
/// stub would do on the guest's processor: 1.67 against 1.88 s under emulation.
///
/// # Errors
/// `InvalidData` where `image` is no bzImage, and those of [`decompress`].
pub fn vmlinux(image: &[u8]) -> io::Result<Vec<u8>> {
    let not_one = || io::Error::new(ErrorKind::InvalidData, "not a bzImage that says where its kernel lies");
    // The setup header (Documentation/arch/x86/boot.rst): `HdrS` at 0x202, the protocol's version at 0x206 (the payload
    // is known from 2.08 on), setup sectors at 0x1f1 (0 means 4), the payload's offset and length at 0x248 and 0x24c.
    let header = image.get(..0x250).ok_or_else(not_one)?;
    if &header[0x202..0x206] != b"HdrS" || u16::from_le_bytes([header[0x206], header[0x207]]) < 0x0208 {
        return Err(not_one());
    }
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let sectors = if header[0x1f1] == 0 { 4 } else { usize::from(header[0x1f1]) };
    let start = (sectors + 1) * 512 + u32_at(0x248);
    let payload = image.get(start..start + u32_at(0x24c)).ok_or_else(not_one)?;
    let kernel = decompress(payload)?;
    if kernel.starts_with(ELF) { Ok(kernel) } else { Err(not_one()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Compresses with the program that kernel builds use.
    fn compressed(program: &str, args: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
        let mut command = Command::new(program);
        let Ok(mut child) = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
            isobench_runner::testing::skip(format!("{program} is not installed"));
            return None;
        };
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&bytes));
        let out = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap().unwrap();
        Some(out)
    }

    #[test]
    fn every_compression_of_kernels_and_modules_is_undone() {
        // Longer than one block of LZ4, and compressible in parts only.
        let text: Vec<u8> = (0..9_000_000_u32).map(|i| (i.wrapping_mul(i) >> 13) as u8).collect();
        let programs: [(&str, &[&str]); 5] = [
            ("gzip", &["-1"]),
            ("xz", &["-0", "--check=crc32"]),
            ("xz", &["--check=crc32", "--x86", "--lzma2=preset=0"]),
            ("zstd", &["-3", "--long=27"]),
            ("lz4", &["-l"]),
        ];
        for (program, args) in programs {
            let Some(mut bytes) = compressed(program, args, &text) else { continue };
            // Kernels carry their unpacked size behind the stream, except that gzip's own trailer holds it.
            if program != "gzip" {
                bytes.extend(u32::to_le_bytes(text.len() as u32));
            }
            assert!(decompress(&bytes).unwrap() == text, "{program} {args:?}");
        }
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        assert_eq!(decompress(b"BZh9").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(vmlinux(b"MZ").unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(vmlinux(&[0; 4096]).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
