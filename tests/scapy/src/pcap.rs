//! Capture files of Ethernet frames, in libpcap's own format.

/// The words of a file header: magic, version, time zone, accuracy, snap length, LINKTYPE_ETHERNET.
const HEADER: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];

/// A file of these frames.
pub fn write<F: AsRef<[u8]>>(frames: impl IntoIterator<Item = F>) -> Vec<u8> {
    let mut file: Vec<u8> = HEADER.iter().flat_map(|word| word.to_ne_bytes()).collect();
    for frame in frames {
        let frame = frame.as_ref();
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        file.extend([0, 0, len, len].iter().flat_map(|word| word.to_ne_bytes()));
        file.extend(frame);
    }
    file
}

/// The frames of a file in this machine's order of octets; `None` where it is cut off.
#[must_use]
pub fn read(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut rest, mut frames) = (file.get(HEADER.len() * 4..)?, Vec::new());
    while !rest.is_empty() {
        let (header, behind) = rest.split_first_chunk::<16>()?;
        let [.., a, b, c, d, _, _, _, _] = *header;
        let len = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
        let (frame, behind) = behind.split_at_checked(len)?;
        frames.push(frame.to_vec());
        rest = behind;
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_a_file() {
        let frames = [vec![1, 2, 3], vec![], vec![4; 1500]];
        let file = write(&frames);
        assert_eq!(read(&file).as_deref(), Some(&frames[..]));
        assert_eq!(read(&file[..file.len() - 1]), None);
    }
}
